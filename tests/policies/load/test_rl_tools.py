"""Checkpoints of rl_tools, against foundation-policy's own reader of them (fixtures/load/training/make_rl_tools.py)."""

import struct
from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy
from lilliput.policies.load.hdf5 import MAX_MEMBERS, Hdf5

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
REMEMBERS = (FOLDER / "rl_tools_gru.h5").read_bytes()
SHAPE = struct.pack("<3Q", 30, 2, 5)


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


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("key", ["input", "output"])
def test_an_example_of_no_finite_numbers_is_refused(tmp_path: Path, key: str, number: float) -> None:
    file = Hdf5(REMEMBERS, "checkpoint.h5")
    array = file.array(file.members(file.members(file.root)["example"])[key], key)
    found = array.reshape(-1)[:4].astype("<f4").tobytes()
    with pytest.raises(LilliputError, match="an example with numbers that are not finite"):
        load_policy(_changed(tmp_path, found, struct.pack("<f", number) + found[4:]))


def test_what_saves_nothing_is_td3_s_noise_behind_a_tanh_alone(tmp_path: Path) -> None:
    data = (FOLDER / "rl_tools_td3.h5").read_bytes()
    (tmp_path / "checkpoint.h5").write_bytes(data.replace(b"TANH", b"RELU"))
    with pytest.raises(LilliputError, match="actor/layers/2 has no weights, biases: no layer of rl_tools"):
        load_policy(tmp_path / "checkpoint.h5")


def test_a_text_that_is_too_long_is_left_out_and_no_damage(tmp_path: Path) -> None:
    (meta,) = (text for _, text in load_policy(FOLDER / "rl_tools_gru.h5").provenance.contract)
    place = struct.pack("<Q", REMEMBERS.index(b"GCOL"))
    old, new = (struct.pack("<I", length) + place for length in (len(meta), 1 << 21))
    assert load_policy(_changed(tmp_path, old, new)).provenance.contract == ()


def _group(names: list[int], leaves: int, times: int) -> Hdf5:
    """A group whose tree has so many leaves, each with one table of symbols so many times."""
    header, table, heap = 0, 40, 1 << 12
    symbols = b"".join(struct.pack("<QQI20x", name, header, 0) for name in names)
    node = b"SNOD" + struct.pack("<xxH", len(names)) + symbols
    below = table + len(node) + 32 + 16 * leaves
    tree = table + len(node)

    def level(number: int, child: int, used: int) -> bytes:
        return b"TREE" + struct.pack("<BBH24x", 0, number, used) + struct.pack("<QQ", child, 0) * used

    data = struct.pack("<BxHIIxxxx", 1, 1, 1, 24) + struct.pack("<HHBxxxQQ", 17, 16, 0, tree, heap)
    data += node + level(1, below, leaves) + level(0, table, times)
    return Hdf5(data.ljust(heap, b"\0") + b"HEAP" + struct.pack("<20xQ", heap + 32) + b"a\0b\0", "policy")


def test_groups_hold_each_name_once_and_so_many_tables() -> None:
    assert _group([0, 2], 1, 1).members(0) == {"a": 0, "b": 0}
    with pytest.raises(LilliputError, match="a group reaches outside"):
        _group([0, 0], 1, 1).members(0)
    assert MAX_MEMBERS < 90 * 90
    with pytest.raises(LilliputError, match="a group reaches outside"):
        _group([], 90, 90).members(0)


def test_a_text_is_looked_for_under_its_name_alone() -> None:
    """So a file of many texts is not walked for each of them."""
    lost = b"lost".ljust(8, b"\0") + struct.pack("<BBxxI", 0x19, 1, 16) + struct.pack("<IQI", 4, 1 << 40, 1)
    here = b"type".ljust(8, b"\0") + struct.pack("<BBxxI", 0x13, 0, 8) + b"mlp".ljust(8, b"\0")
    data = b""
    for attribute in (lost, here):
        data += struct.pack("<HHBxxx", 12, 8 + len(attribute), 0) + struct.pack("<BxHHH", 1, 5, 8, 0) + attribute
    file = Hdf5(struct.pack("<BxHIIxxxx", 1, 2, 1, len(data)) + data, "policy")
    assert (file.text(0, "type"), file.text(0, "typ"), file.text(0, "other")) == ("mlp", None, None)
    with pytest.raises(LilliputError, match="it is damaged"):
        file.text(0, "lost")


def test_a_checkpoint_without_an_example_is_read_and_that_is_said(tmp_path: Path) -> None:
    policy = load_policy(_changed(tmp_path, b"example\0", b"exampla\0"))
    assert any("no example of its own" in guess for guess in policy.provenance.guesses)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"RELU", b"FAST", "activation 'FAST', which no layer here computes; train it with another: IDENTITY, RELU"),
        (b"RELU", b"GELU", "activation 'GELU', which no layer here computes"),
        (b"gru\0", b"gry\0", "layer of the type 'gry'; supported: dense, mlp, gru"),
        (
            b"actor\0",
            b"model\0",
            "HDF5 file with model, example; .* rl_tools .*models of Keras; export the policy as ONNX",
        ),
        (b"weights_hidden\0", b"weights_hiddem\0", "actor/layers/1 has no weights_hidden: no layer of rl_tools"),
        (b"\x89HDF\r\n\x1a\n\0", b"\x89HDF\r\n\x1a\n\2", "HDF5 file of version 2; .*h5repack"),
        (b"TREE", b"TREF", "TREE reaches outside of the file or makes no sense; it is damaged"),
        (SHAPE, struct.pack("<3Q", 0, 1 << 63, 5), "example/input reaches outside of the file or makes no sense"),
        (SHAPE, struct.pack("<3Q", 30, 0, 5), "example/input reaches outside of the file or makes no sense"),
    ],
)
def test_what_no_policy_here_holds_is_refused(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(_changed(tmp_path, old, new))


def test_its_source_code_is_told_from_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.h").write_text("#include <rl_tools/containers/matrix/matrix.h>\n")
    with pytest.raises(LilliputError, match=r"source and no checkpoint; of rl_tools give the checkpoint.h5"):
        load_policy(tmp_path / "checkpoint.h")
