"""Checkpoints of Sample Factory, written by the program itself (fixtures/load/training/make_sample_factory.py)."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_checkpoint, load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training" / "sample_factory"
FILE = "checkpoint_p0/checkpoint_000000001_100.pth"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "mujoco": ({}, ["Standardize", "Dense", "Tanh", "Dense", "Tanh", "Dense"]),
    "adaptive": ({"action": "continuous"}, ["Dense", "Elu", "Dense", "Elu", "Dense"]),
    "gru": ({"action": "discrete"}, ["Standardize", "Dense", "Elu", "Gru", "Gru", "Dense", "ArgmaxAction"]),
    "lstm": ({"action": "discrete"}, ["Standardize", "Dense", "Elu", "Lstm", "Dense", "ArgmaxAction"]),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_checkpoint_acts_as_sample_factory(kind: str) -> None:
    said, wanted = CASES[kind]
    policy = load_policy(FOLDER / kind / FILE, **said)
    theirs = np.load(FOLDER / f"{kind}.npy")
    act = reference.act_episode if policy.has_memory else reference.act
    np.testing.assert_allclose(act(policy, OBSERVATIONS), theirs, rtol=1e-5, atol=4e-6)
    assert len(np.unique(theirs)) > 2
    assert [type(layer).__name__ for layer in policy.layers] == wanted
    name = "tanh" if kind == "mujoco" else "elu"
    assert f"the hidden activation is {name}, as config.json one folder up says" in policy.provenance.guesses
    assert load_policy(FOLDER / kind / FILE, **said, activation="relu").digest != policy.digest


def test_its_own_spread_teaches_and_bounds_clip() -> None:
    free = load_checkpoint(FOLDER / "mujoco" / FILE)
    assert free.learner.action_std == (1.0, 1.0)
    clipped = load_policy(FOLDER / "mujoco" / FILE, action_low=-0.1, action_high=0.1)
    wanted = np.clip(reference.act(free.policy, OBSERVATIONS), np.float32(-0.1), np.float32(0.1))
    np.testing.assert_array_equal(reference.act(clipped, OBSERVATIONS), wanted)


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("gru", {}, "does not say how its outputs become an action"),
        ("gru", {"action": "continuous"}, "gives 3 numbers, which are no means and spreads of real actions"),
        ("mujoco", {"action": "discrete"}, "gives no discrete action here"),
        ("adaptive", {"action": "tanh"}, "gives no tanh action here"),
    ],
)
def test_what_the_file_leaves_open_is_asked_and_what_it_says_is_not_overruled(
    kind: str, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(FOLDER / kind / FILE, **said)


@pytest.mark.parametrize("key", ["obs_subtract_mean", "obs_scale", "continuous_tanh_scale"])
def test_settings_that_show_in_no_weight_are_refused_or_said(key: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(FOLDER / "mujoco", run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, key: 2.0}))
    with pytest.raises(LilliputError, match=rf"config.json says that {key} is 2.0; export the whole policy"):
        load_policy(run / FILE)
    (run / "config.json").write_text("{")
    with pytest.raises(LilliputError, match=r"config.json beside it is no readable JSON"):
        load_policy(run / FILE)
    (run / "config.json").unlink()
    with pytest.raises(LilliputError, match=r"which activation .*elu by default, config.json of its run says it"):
        load_policy(run / FILE)
    policy = load_policy(run / FILE, activation="tanh")
    assert any("there is no config.json one folder up: obs_subtract_mean" in one for one in policy.provenance.guesses)
