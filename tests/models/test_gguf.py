"""GGUF files: what is read is what their codes stand for, and is saved, compressed and exported as any model is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.gguf_file import gguf_file
from tests.models.made import small_folder

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

    oracle = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weights in {id(w): w for w in oracle.parameters() if w.ndim == 2}.values():
            codes = gguf.quants.quantize(weights.numpy(), gguf.GGMLQuantizationType.Q8_0)
            weights.copy_(torch.from_numpy(gguf.quants.dequantize(codes, gguf.GGMLQuantizationType.Q8_0)))
        tokens = torch.arange(1, 60)[None]
        wanted = oracle(tokens).logits.numpy()
        assert np.allclose(module_of(model)(tokens).logits.numpy()[..., : wanted.shape[-1]], wanted, atol=1e-5)

    assert file.read(file.write(model, tmp_path / "kept")).digest == model.digest
    smaller = compress(model, "quantize(weight_bits=4, group_size=32)")
    export(smaller, "transformers", tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert np.allclose(again(tokens).logits.numpy(), module_of(smaller)(tokens).logits.numpy(), atol=1e-4)
