"""A transformers folder: plain from_pretrained reads it, and gives the weights that the codes stand for."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

from tests.models.made import small_folder, text_file  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.models.compress import compress  # noqa: E402
from lilliput.models.export import check, export, open_artifact, read_artifact  # noqa: E402
from lilliput.models.load import load_model  # noqa: E402
from lilliput.models.session import open_session  # noqa: E402


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(tmp_path_factory, request):
    return load_model(str(small_folder(tmp_path_factory.mktemp("model"), tied=request.param)))


@pytest.mark.parametrize(
    "recipe",
    [
        "",
        "half()",
        "quantize(weight_bits=4, group_size=16)",
        "quantize(weight_bits=3, group_size=32)",
        "quantize(weight_bits=8)",
        "quantize(weight_bits=4, group_size=16, symmetric=False)",
        'prune_weights(sparsity=0.5, pattern="2:4") | quantize(weight_bits=4, group_size=16)',
        "quantize(weight_bits=4, group_size=16) | half()",
        "prune_weights(sparsity=0.5)",
    ],
)
def test_from_pretrained_gives_the_same_answers(model, tmp_path, recipe, capsys):
    small = compress(model, recipe)
    artifact = export(small, "transformers", tmp_path / "out")
    assert capsys.readouterr().err == ""
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.arange(1, 41).reshape(2, 20)
    with torch.inference_mode():
        logits = theirs(input_ids=ids).logits.float().numpy()
    ours = open_session(small).answer({"input_ids": ids.numpy()})["logits"]
    np.testing.assert_allclose(
        logits, ours, rtol=1e-3 if "half" in recipe else 1e-5, atol=2e-3 if "half" in recipe else 1e-6
    )
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("a text")["input_ids"]
    assert small.tokenizer is not None
    assert encoded[-6:] == small.tokenizer.encode("a text").tolist()
    assert check(tmp_path / "out") <= 1e-3
    assert read_artifact(tmp_path / "out") == artifact
    packed = "quantize" in recipe and "symmetric" not in recipe
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert ("quantization_config" in config) == packed
    if packed:
        assert config["quantization_config"]["format"] == "pack-quantized"
        plain = export(model, "transformers", tmp_path / "plain")
        assert artifact.file_bytes < plain.file_bytes


def test_what_cannot_be_packed_is_written_as_it_is_and_said(model, tmp_path):
    text = text_file(tmp_path / "text.txt")
    small = compress(model, f'quantize(weight_bits=3, method="spqr", source="{text}", samples=4, tokens=32)')
    artifact = export(small, "transformers", tmp_path / "spqr")
    assert "SpQR's codes have no place" in artifact.notes[0]
    assert check(tmp_path / "spqr") == 0
    artifact = export(compress(model, "quantize(weight_bits=4, group_size=24)"), "transformers", tmp_path / "odd")
    assert "no whole number of groups of 24" in artifact.notes[0]
    pruned = export(compress(model, "prune_weights(sparsity=0.5)"), "transformers", tmp_path / "pruned")
    assert "the folder is not smaller for them" in pruned.notes[0]


def test_an_artifact_that_was_changed_is_found(model, tmp_path):
    from safetensors.torch import load_file, save_file

    export(model, "transformers", tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] *= 1.5
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(LilliputError, match="answers otherwise than it did"):
        check(tmp_path / "out")


def test_nothing_is_left_of_an_export_that_failed(model, tmp_path):
    export(model, "transformers", tmp_path / "out")
    with pytest.raises(LilliputError, match="exists; choose another name"):
        export(model, "transformers", tmp_path / "out")
    with pytest.raises(LilliputError, match="formats of models: transformers"):
        export(model, "gguf", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert open_artifact(tmp_path / "out")
