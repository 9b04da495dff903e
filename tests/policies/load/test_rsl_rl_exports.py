"""What rsl_rl exports: an ONNX file with its weights in another one, and TorchScript; read without torch."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from lilliput.cli.show import summary, text
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import reference
from lilliput.policies.export import export
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "rsl_rl"


@pytest.mark.parametrize("name", ["policy.onnx", "policy.pt"])
def test_it_acts_as_the_framework(name: str) -> None:
    policy = load_policy(FOLDER / name)
    with np.load(FOLDER / "policy.npz") as file:
        expected = dict(file)
    assert (FOLDER / "policy.onnx.data").stat().st_size > 1000
    np.testing.assert_allclose(reference.act(policy, expected["observation"]), expected["action"], atol=1e-6)


def test_both_files_are_nearly_one_policy() -> None:
    one, other = (load_policy(FOLDER / name) for name in ("policy.onnx", "policy.pt"))
    assert [type(layer) for layer in one.layers] == [type(layer) for layer in other.layers]
    assert one.model_bytes == other.model_bytes


def test_without_the_file_beside_it_nothing_is_read(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "policy.onnx", tmp_path)
    with pytest.raises(LilliputError, match=r"'policy.onnx.data', which is not beside the model"):
        load_policy(tmp_path / "policy.onnx")


def test_its_metadata_is_the_contract_that_everything_made_of_it_carries(tmp_path: Path) -> None:
    """As mjlab and Isaac Lab write it: texts, which may hold anything."""
    model = onnx.ModelProto.FromString((FOLDER / "policy.onnx").read_bytes())
    said = {"joint_names": "hip,knee,ankle", "action_scale": "0.5,0.5,0.25", "odd\nkey": "a\x1b[31m" + "b" * 200}
    onnx.helper.set_model_props(model, said)
    (tmp_path / "policy.onnx").write_bytes(model.SerializeToString())
    shutil.copy(FOLDER / "policy.onnx.data", tmp_path)
    policy = load_policy(tmp_path / "policy.onnx")
    contract = dict(policy.provenance.contract)
    assert contract["joint_names"] == "hip,knee,ankle"
    assert all(part.isprintable() for pair in policy.provenance.contract for part in pair)
    assert "contract     action_scale: 0.5,0.5,0.25" in text(Checkpoint(policy))
    assert max(map(len, text(Checkpoint(policy)).splitlines())) < 120
    assert dict(summary(Checkpoint(policy))["contract"])["joint_names"] == "hip,knee,ankle"
    policy_file.write(policy, tmp_path / "policy.lilliput")
    again = load_policy(tmp_path / "policy.lilliput")
    assert again.provenance.contract == policy.provenance.contract
    assert export(again, "onnx", tmp_path / "out").manifest.contract == policy.provenance.contract
    assert load_policy(tmp_path / "out" / "model.onnx").provenance.contract == ()
