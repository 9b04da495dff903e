"""GGUF files: what is read is what their codes stand for, and is saved, compressed and exported as any model is."""

import json
import math
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
        load_model(str(gguf_file(small_folder(tmp_path / "plain"), tmp_path / "long.gguf", more=long)))
    for said, told in (
        ({"rope.scaling.attn_factor": 2.0}, "attn_factor 2"), ({"rope.scaling.alpha": 3.0}, "alpha 3"),
        ({"rope.scaling.factor": math.inf}, "'linear', factor inf"), ({"rope.scaling.factor": -2.0}, "factor -2"),
    ):  # fmt: skip
        with pytest.raises(LilliputError, match=rf"scales its rotary positions \(rope.scaling.*{told}"):
            load_model(str(gguf_file(tmp_path / "plain", tmp_path / "said.gguf", said)))
    harmless = {"rope.scaling.original_context_length": 128, "rope.scaling.attn_factor": 1.0}
    load_model(str(gguf_file(tmp_path / "plain", tmp_path / "harmless.gguf", harmless)))
    untold = load_model(str(gguf_file(tmp_path / "plain", tmp_path / "untold.gguf", {"rope.scaling.factor": 4.0})))
    assert module_of(untold).config.rope_parameters["rope_type"] == "linear"  # as llama.cpp takes it
    ones = {"rope_freqs.weight": np.ones(4, np.float32)}
    load_model(str(gguf_file(tmp_path / "plain", tmp_path / "ones.gguf", more=ones)))


def test_weights_that_transformers_leaves_out_of_a_file_are_found_missing(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "folder")
    more = {"blk.0.attn_q.bias": np.ones(32, np.float32)}
    with pytest.raises(LilliputError, match="numbers, of which transformers reads"):
        load_model(str(gguf_file(folder, tmp_path / "small.gguf", more=more)))


def rule(theta: float = 1e4, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16, "tie_word_embeddings": True}
SCALED = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
          "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, wide heads": ("Llama", {"head_dim": 16, "rms_norm_eps": 0.01, **rule(5e4)}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, **rule(1e6)}),
    "qwen3": ("Qwen3", {"head_dim": 16, **rule(1e6)}),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 1.0, "final_logit_softcapping": 2.0}),
    "gemma2, 27b": ("Gemma2", {**GEMMA, "num_hidden_layers": 46, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3Text", {**GEMMA, "num_hidden_layers": 8}),
    "gemma3, scaled": ("Gemma3Text", {**GEMMA, "num_hidden_layers": 7, "rope_parameters": SCALED}),
    "phi3": ("Phi3", {"num_key_value_heads": 4, "sliding_window": 16, "original_max_position_embeddings": 256,
                      "pad_token_id": 0, **rule(5e4, partial_rotary_factor=0.5)}),
    "stablelm": ("StableLm", {"num_key_value_heads": 4, "use_qkv_bias": True, "layer_norm_eps": 0.01,
                              **rule(partial_rotary_factor=0.5)}),
    "starcoder2": ("Starcoder2", rule(1e6)),
    "nemotron": ("Nemotron", rule(1e5, partial_rotary_factor=0.25)),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_file_says_of_its_model_is_taken_over(tmp_path: Path, family: str) -> None:
    """transformers leaves a part of it out, and its own settings stood in its place."""
    folder = made(tmp_path, family)
    model = load_model(str(gguf_file(folder, tmp_path / "small.gguf")))
    tokens = torch.from_numpy(np.random.default_rng(0).integers(1, 250, (1, 100)))
    assert_same(model, folder, tokens)


def test_a_cap_of_zero_is_none(tmp_path: Path) -> None:
    """transformers would divide by it."""
    uncapped = {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    folder = made(tmp_path, "gemma2", **uncapped)
    model = load_model(str(gguf_file(folder, tmp_path / "small.gguf", dict.fromkeys(uncapped, 0.0))))
    assert_same(model, folder, torch.from_numpy(np.random.default_rng(0).integers(1, 250, (1, 40))))


def made(folder: Path, family: str, **more: Any) -> Path:
    """A small model of that family with random weights, in the folder."""
    import transformers

    small_folder(folder)  # its tokenizer
    kind, settings = FAMILIES[family]
    common = {
        "vocab_size": 257, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(common | settings | more))
    module = transformers.AutoModelForCausalLM.from_config(config)
    for weight in module.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    module.save_pretrained(folder)
    return folder


def test_a_length_of_keys_that_the_architecture_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"says attention.key_length 16, which transformers leaves out"):
        load_model(str(gguf_file(made(tmp_path, "qwen2"), tmp_path / "small.gguf", {"attention.key_length": 16})))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"attention.scale": 0.5}, r"says attention.scale 0.5, which transformers leaves out of a file of llama"),
        ({"attention.sliding_window": 16}, "says attention.sliding_window 16"),
        ({"final_logit_softcapping": 30.0}, "says final_logit_softcapping 30"),
        ({"rope.dimension_count": 4, "attention.key_length": 8}, "says rope.dimension_count 4"),
        ({"rope.freq_base": 0.0}, "says rope.freq_base 0.0, which no model has"),
        ({"rope.freq_base": math.inf}, "says rope.freq_base inf, which no model has"),
        ({"attention.layer_norm_rms_epsilon": math.nan}, "says attention.layer_norm_rms_epsilon nan"),
        ({"attention.head_count": 0, "attention.head_count_kv": 0}, "cannot be read: one of its settings is a number"),
        ({"rope.dimension_count": math.inf}, "cannot be read: "),
    ],
)
def test_a_setting_that_has_no_place_is_refused(tmp_path: Path, said: dict[str, Any], wanted: str) -> None:
    folder = small_folder(tmp_path / "folder")
    with pytest.raises(LilliputError, match=wanted):
        load_model(str(gguf_file(folder, tmp_path / "small.gguf", said)))
