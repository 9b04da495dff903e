"""GGUF files: what is read is what their codes stand for, and is saved, compressed and exported as any model is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.gguf_file import gguf_file
from tests.models.made import small_folder

from lilliput.errors import LilliputError
from lilliput.models import file
from lilliput.models.compress import compress
from lilliput.models.export import export
from lilliput.models.load import load_model
from lilliput.models.model import Model, Module

pytestmark = pytest.mark.frameworks
gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def module_of(model: Model) -> Any:
    assert isinstance(model.network, Module)
    return model.network.module


def assert_same(model: Model, folder: Path, tokens: Any) -> None:
    """The model answers as the folder's does whose matrices were rounded to 8 bits."""
    from transformers import AutoModelForCausalLM

    oracle = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weights in {id(w): w for w in oracle.parameters() if w.ndim == 2}.values():
            codes = gguf.quants.quantize(weights.numpy(), gguf.GGMLQuantizationType.Q8_0)
            weights.copy_(torch.from_numpy(gguf.quants.dequantize(codes, gguf.GGMLQuantizationType.Q8_0)))
        wanted = oracle(tokens).logits.numpy()
        found = module_of(model)(tokens).logits.numpy()[..., : wanted.shape[-1]]
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


def test_a_gguf_file_is_what_its_codes_stand_for_kept_and_exported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM

    folder = small_folder(tmp_path / "folder")
    path = gguf_file(folder, tmp_path / "small.gguf")
    capfd.readouterr()
    model = load_model(str(path))
    assert capfd.readouterr().err == ""  # no bar of a library's own
    (guess,) = model.provenance.guesses
    assert "quantized already" in guess
    assert "Q8_0" in guess

    tokens = torch.arange(1, 60)[None]
    assert_same(model, folder, tokens)
    assert file.read(file.write(model, tmp_path / "kept")).digest == model.digest
    smaller = compress(model, "quantize(weight_bits=4, group_size=32)")
    export(smaller, "transformers", tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert np.allclose(again(tokens).logits.numpy(), module_of(smaller)(tokens).logits.numpy(), atol=1e-4)


SCALINGS: dict[str, dict[str, Any]] = {
    "llama3": {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192},
    "linear": {"factor": 4.0},
}  # fmt: skip


def scaled_folder(folder: Path, kind: str, **more: Any) -> Path:
    """A Llama whose rotary positions are scaled so; its four frequencies are those below, between and above."""
    small_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_theta": 500000.0, "rope_type": kind, **SCALINGS[kind], **more}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", SCALINGS)
def test_a_file_s_scaling_of_rotary_positions_is_taken_over(tmp_path: Path, kind: str) -> None:
    """transformers leaves it out of all files but GPT-OSS's."""
    folder = scaled_folder(tmp_path / "folder", kind)
    model = load_model(str(gguf_file(folder, tmp_path / "small.gguf")))
    tokens = torch.from_numpy(np.random.default_rng(0).integers(1, 250, (1, 200)))
    assert_same(model, folder, tokens)
    export(compress(model, "half()"), "transformers", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["rope_parameters"]["rope_type"] == kind


def test_a_scaling_that_is_not_taken_over_is_refused(tmp_path: Path) -> None:
    other = scaled_folder(tmp_path / "folder", "llama3", original_max_position_embeddings=4096)
    with pytest.raises(LilliputError, match=r"scales its rotary positions \(rope_freqs.weight other than Llama 3's\)"):
        load_model(str(gguf_file(other, tmp_path / "small.gguf")))
    long = {"rope_factors_long.weight": np.full(4, 2, np.float32)}
    with pytest.raises(LilliputError, match=r"\(rope_factors_long.weight\), which transformers leaves out"):
        load_model(str(gguf_file(small_folder(tmp_path / "plain"), tmp_path / "long.gguf", **long)))
    ones = {"rope_freqs.weight": np.ones(4, np.float32)}
    load_model(str(gguf_file(tmp_path / "plain", tmp_path / "ones.gguf", **ones)))


def test_weights_that_transformers_leaves_out_of_a_file_are_found_missing(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "folder")
    more = {"blk.0.attn_q.bias": np.ones(32, np.float32)}
    with pytest.raises(LilliputError, match="numbers, of which transformers reads"):
        load_model(str(gguf_file(folder, tmp_path / "small.gguf", **more)))


def test_a_gguf_file_of_qwen2_has_its_biases(tmp_path: Path) -> None:
    import transformers

    small_folder(tmp_path)  # its tokenizer
    config = transformers.Qwen2Config(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    made = transformers.Qwen2ForCausalLM(config)
    for weight in made.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    made.save_pretrained(tmp_path)
    model = load_model(str(gguf_file(tmp_path, tmp_path / "small.gguf")))
    assert_same(model, tmp_path, torch.arange(1, 60)[None])
