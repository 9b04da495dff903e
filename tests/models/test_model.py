"""The noun of the second wing: what it counts, digests and refuses, on folders that the transformers library wrote."""

import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.models.made import small_folder  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.models.compress import compress  # noqa: E402
from lilliput.models.load import load_model  # noqa: E402
from lilliput.models.model import module_of  # noqa: E402
from lilliput.models.session import TorchSession, open_session  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_folder(tmp_path_factory.mktemp("model"))


def test_importing_the_wing_loads_no_framework():
    rooms = ", ".join(f"lilliput.models.{room}.table" for room in ("load", "compress", "export", "task"))
    code = f"import {rooms}, sys; print([m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_folder_answers_as_from_pretrained_does(folder):
    from transformers import AutoModelForCausalLM

    model = load_model(str(folder))
    ids = torch.arange(20).reshape(2, 10)
    theirs = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    ours = open_session(model).answer({"input_ids": ids.numpy()})["logits"]
    assert torch.equal(torch.from_numpy(ours), theirs)


def test_tied_weights_are_counted_once(folder):
    model = load_model(str(folder))
    module: Any = module_of(model, "tied")
    assert module.lm_head.weight is module.model.embed_tokens.weight
    assert model.n_parameters == sum(p.numel() for p in module.parameters())
    assert model.model_bytes == 4 * model.n_parameters


def test_half_counts_half_and_leaves_the_model_given_alone(folder):
    model = load_model(str(folder))
    before = model.digest
    small = compress(model, "half()")
    assert small.model_bytes * 2 == model.model_bytes == load_model(str(folder)).model_bytes
    assert model.digest == before != small.digest
    assert small.provenance.recipe == "half()"
    with pytest.raises(LilliputError, match="nothing to halve"):
        compress(small, "half()")


def test_the_digest_changes_with_one_weight(folder):
    one, other = load_model(str(folder)), load_model(str(folder))
    assert one.digest == other.digest
    with torch.no_grad():
        module: Any = module_of(other, "its norm")
        module.model.norm.weight[3] += 1e-3
    assert one.digest != other.digest


def test_a_weight_that_is_missing_is_not_made_up(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folder, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(LilliputError, match=r"1 weights are not in its files: model.layers.1.mlp.up_proj"):
        load_model(str(broken))


def test_a_pickle_is_refused_with_what_to_do(folder, tmp_path):
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(LilliputError, match="a pickle, which is not read; save it as safetensors"):
        load_model(str(pickled))


def test_what_does_not_exist_is_said_with_what_can_be_read(tmp_path):
    with pytest.raises(LilliputError, match=r"does not exist; it can be a hub id, or one of: .*GGUF files; .*Hugging"):
        load_model(str(tmp_path / "nothing"))


def test_places_that_a_module_does_not_have_are_a_line():
    class Places(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.where = torch.nn.Embedding(4, 2)

        def forward(self, tokens):
            return self.where(torch.arange(tokens.shape[1]))

    session = TorchSession(Places(), ("tokens",), ("logits",))
    assert session.answer({"tokens": np.zeros((1, 4), np.int64)})["logits"].shape == (4, 2)
    with pytest.raises(LilliputError, match="torch does not run the model: index out of range"):
        session.answer({"tokens": np.zeros((1, 5), np.int64)})
