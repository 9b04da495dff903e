"""Checkpoints of rl_tools, against foundation-policy's own reader of them (fixtures/load/training/make_rl_tools.py)."""

from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
REMEMBERS = (FOLDER / "rl_tools_gru.h5").read_bytes()


def _changed(folder: Path, old: bytes, new: bytes) -> Path:
    """The checkpoint with these bytes in place of others, each time."""
    assert REMEMBERS.count(old) > 0
    (folder / "checkpoint.h5").write_bytes(REMEMBERS.replace(old, new))
    return folder / "checkpoint.h5"


@pytest.mark.parametrize("name", ["rl_tools_gru", "rl_tools_td3", "rl_tools_sac"])
def test_a_checkpoint_acts_as_its_program(name: str) -> None:
    policy = load_policy(FOLDER / f"{name}.h5")
    wanted = np.load(FOLDER / f"{name}.npy")
    np.testing.assert_allclose(reference.act_episode(policy, OBSERVATIONS), wanted, atol=4e-6)
    assert wanted.std(axis=0).min() > 0.1
    bounded = name != "rl_tools_gru"
    assert np.isfinite(np.asarray([getattr(policy.action_space, end) for end in ("low", "high")])).all() == bounded


def test_its_memory_begins_as_the_file_says_and_what_it_observes_is_told() -> None:
    policy = load_policy(FOLDER / "rl_tools_gru.h5")
    (memory,) = (layer for layer in policy.layers if isinstance(layer, layers.Gru))
    assert memory.initial is not None
    assert np.abs(memory.initial).max() > 0.1
    ((key, text),) = policy.provenance.contract
    assert (key, "ActionHistory(1)" in text) == ("meta", True)


def test_what_was_read_is_held_to_the_example_in_the_file(tmp_path: Path) -> None:
    weights = np.concatenate(
        [layer.weight.reshape(-1) for layer in load_policy(FOLDER / "rl_tools_gru.h5").layers[:1]]  # type: ignore[union-attr]
    )
    found = weights[:4].astype("<f4").tobytes()
    with pytest.raises(LilliputError, match=r"gave other actions in rl_tools than what was read of it.*differ by"):
        load_policy(_changed(tmp_path, found, (weights[:4] + 1).astype("<f4").tobytes()))


def test_a_checkpoint_without_an_example_is_read_and_that_is_said(tmp_path: Path) -> None:
    policy = load_policy(_changed(tmp_path, b"example\0", b"exampla\0"))
    assert any("no example of its own" in guess for guess in policy.provenance.guesses)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"RELU", b"FAST", "activation 'FAST', which no layer here computes; train it with another: IDENTITY, RELU"),
        (b"gru\0", b"gry\0", "layer of the type 'gry'; supported: dense, mlp, gru"),
        (b"actor\0", b"model\0", "HDF5 file with model, example; .* rl_tools .*Keras as ONNX, with tf2onnx"),
        (b"weights_hidden\0", b"weights_hiddem\0", "actor/layers/1 has no weights_hidden: no layer of rl_tools"),
        (b"\x89HDF\r\n\x1a\n\0", b"\x89HDF\r\n\x1a\n\2", "HDF5 file of version 2; .*h5repack"),
        (b"TREE", b"TREF", "TREE reaches outside of the file or makes no sense; it is damaged"),
    ],
)
def test_what_no_policy_here_holds_is_refused(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(_changed(tmp_path, old, new))


def test_its_source_code_is_told_from_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.h").write_text("#include <rl_tools/containers/matrix/matrix.h>\n")
    with pytest.raises(LilliputError, match=r"source and no checkpoint; of rl_tools give the checkpoint.h5"):
        load_policy(tmp_path / "checkpoint.h")
