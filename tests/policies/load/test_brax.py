"""Brax's pickled parameters, written by brax itself (fixtures/load/training/make_others.py)."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
CASES = {"ppo": "silu", "normal": "silu", "dict": "silu", "sac": "relu"}


@pytest.mark.parametrize("name", CASES)
def test_parameters_act_as_brax_does(name: str) -> None:
    path, wanted = FOLDER / f"brax_{name}.params", np.load(FOLDER / f"brax_{name}.npy")
    policy = load_policy(path, activation=CASES[name])
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), wanted, atol=2e-6)
    assert wanted.std() > 0.1
    space = policy.action_space
    assert isinstance(space, spaces.Box)
    assert (space.high == (np.inf if name == "normal" else 1)).all()
    assert any(isinstance(layer, layers.LayerNorm) for layer in policy.layers) == (name == "sac")
    said = " ".join(policy.provenance.guesses)
    assert "taken as normalized; --no-normalizer if it did not" in said
    assert ("taken to see 'state', as by default in brax, not privileged_state" in said) == (name == "dict")
    with pytest.raises(
        LilliputError, match=r"which activation stands between its layers .swish, which is silu, by def"
    ):
        load_policy(path)


def test_a_run_that_did_not_normalize_has_statistics_all_the_same() -> None:
    path = FOLDER / "brax_ppo.params"
    normalized, bare = load_policy(path, activation="silu"), load_policy(path, activation="silu", normalizer=False)
    assert [type(one) for one in normalized.layers] == [layers.Standardize, *map(type, bare.layers)]
    front = normalized.layers[0]
    assert isinstance(front, layers.Standardize)
    seen = (OBSERVATIONS - front.mean) * front.scale
    np.testing.assert_allclose(reference.act(bare, seen), reference.act(normalized, OBSERVATIONS), atol=1e-6)


def changed(name: str, old: bytes, new: bytes) -> bytes:
    """The file with a name in it changed, of the same length so that it stays a pickle."""
    data = (FOLDER / f"brax_{name}.params").read_bytes()
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("ppo", b"hidden_1", b"gatedg_1"), r"has params.gatedg_1.kernel, .* no chain of brax's; rebuild it as"),
        (
            changed("dict", b"\x05state", b"\x05stats"),
            r"has statistics of privileged_state, stats, none of them of 'sta",
        ),
        (changed("sac", b"LayerNorm_1", b"LayerNorm_0"), "has 3 Dense layers and 1 norms: no chain of brax's"),
        (changed("ppo", b"\x04bias", b"\x04bais"), "has params.hidden_0.bais"),
        ((FOLDER / "brax_ppo.params").read_bytes()[:-400], "is not a readable pickle"),
        (pickle.dumps(["brax.training.acme.running_statistics", {}]), r"is no .statistics, policy, value. of brax"),
    ],
)
def test_what_is_nearly_brax_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.params"
    path.write_bytes(data)
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path, activation="silu")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_orbax_is_told_how_to_become_a_file(tmp_path: Path) -> None:
    folder: Any = tmp_path / "000000000003"
    folder.mkdir()
    (folder / "ppo_network_config.json").write_text("{}")
    for given in (folder, tmp_path):  # the run's has one for each step that was saved
        with pytest.raises(
            LilliputError, match=r"'0+3' is a checkpoint of brax's PPO .*ppo import checkpoint; .*save_p"
        ):
            load_policy(given)
