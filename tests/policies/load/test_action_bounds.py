"""Actions in other bounds than the environment's: moved, or left as they are, because the user says so."""

import os
from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import check, export
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.load import load_checkpoint, load_policy
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy

RNG = np.random.default_rng(0)
SEEN = spaces.Box((3,), np.asarray(-np.inf), np.asarray(np.inf))
OBSERVATIONS = RNG.normal(size=(200, 3)).astype(np.float32)


def actor(path: Path, n: int = 1) -> Path:
    """A file of an actor that ends in tanh, as Stable-Baselines3's page on ONNX exports one."""
    stack = (
        layers.Dense(RNG.normal(size=(8, 3)).astype(np.float32), np.zeros(8, np.float32)),
        layers.Relu(),
        layers.Dense(RNG.normal(size=(n, 8)).astype(np.float32), None),
        layers.SquashAction(),
    )
    unit = spaces.Box((n,), np.asarray(-1.0), np.asarray(1.0))
    policy_file.write(Checkpoint(Policy(SEEN, unit, stack), Learner(action_std=(0.5,) * n)), path)
    return path


@pytest.mark.parametrize("format_", ["onnx", "c"])
def test_actions_are_moved_to_the_bounds_of_the_environment(format_: str, tmp_path: Path) -> None:
    path = actor(tmp_path / "actor.lilliput")
    plain = load_policy(path)
    with pytest.raises(LilliputError, match=r"lie in \[-1, 1\], those of Pendulum-v1 in \[-2, 2\]"):
        episode_returns(plain, "Pendulum-v1", [0])
    read = load_checkpoint(path, environment="Pendulum-v1", rescale_action=True)
    moved = read.policy
    np.testing.assert_allclose(reference.act(moved, OBSERVATIONS), 2 * reference.act(plain, OBSERVATIONS), rtol=1e-6)
    assert read.learner.action_std == (1.0,)
    kept = load_policy(path, environment="Pendulum-v1", rescale_action=False)
    np.testing.assert_array_equal(reference.act(kept, OBSERVATIONS), reference.act(plain, OBSERVATIONS))
    for policy in (moved, kept):
        assert np.isfinite(episode_returns(policy, "Pendulum-v1", [0])).all()
        assert isinstance(policy.action_space, spaces.Box)
        assert policy.action_space.high.tolist() == [2.0]
    assert check(export(moved, format_, tmp_path / "artifact").folder).ok
    policy_file.write(moved, tmp_path / "moved.lilliput")
    assert np.isfinite(episode_returns(load_policy(tmp_path / "moved.lilliput"), "Pendulum-v1", [0])).all()


@pytest.mark.parametrize(("moved", "option"), [(True, "--rescale-action"), (False, "--no-rescale-action")])
def test_what_is_missing_is_the_environment_where_the_file_has_bounds(moved: bool, option: str, tmp_path: Path) -> None:
    path = actor(tmp_path / "actor.lilliput")
    asked = rf"gives actions in Box\(-1, 1, .*, and {option} needs the bounds of the environment's actions.*--env"
    with pytest.raises(LilliputError, match=asked) as caught:
        load_policy(path, rescale_action=moved)
    assert "does not hold" not in str(caught.value)


def test_bounds_of_each_action_and_narrower_ones(tmp_path: Path) -> None:
    path = actor(tmp_path / "actor.lilliput", 2)
    plain = reference.act(load_policy(path), OBSERVATIONS)
    moved = load_policy(path, action_low=(0.0, -4.0), action_high=(1.0, 2.0), rescale_action=True)
    np.testing.assert_allclose(reference.act(moved, OBSERVATIONS), plain * [0.5, 3] + [0.5, -1], atol=1e-6)
    kept = load_policy(path, action_low=-0.5, action_high=0.5, rescale_action=False)
    np.testing.assert_array_equal(reference.act(kept, OBSERVATIONS), np.clip(plain, -0.5, 0.5))
    assert np.abs(plain).max() > 0.5


def test_what_cannot_be_moved_is_refused(tmp_path: Path) -> None:
    path = actor(tmp_path / "actor.lilliput")
    with pytest.raises(LilliputError, match="name the environment with --env, or give"):
        load_policy(path, rescale_action=True)
    with pytest.raises(
        LilliputError, match=r"gives its actions in Box\(-1, 1, .* already; leave --rescale-action away"
    ):
        load_policy(path, action_low=-1.0, action_high=1.0, rescale_action=True)
    stack = (layers.Dense(np.ones((2, 3), np.float32), None),)
    unbounded = spaces.Box((2,), np.asarray(-np.inf), np.asarray(np.inf))
    policy_file.write(Policy(SEEN, unbounded, stack), tmp_path / "open.lilliput")
    with pytest.raises(LilliputError, match="has no bounds to move them from"):
        load_policy(tmp_path / "open.lilliput", action_low=-1.0, action_high=1.0, rescale_action=True)
    choice = Policy(SEEN, spaces.Discrete(2), (*stack, layers.ArgmaxAction((2,))))
    policy_file.write(choice, tmp_path / "choice.lilliput")
    with pytest.raises(LilliputError, match="gives choices"):
        load_policy(tmp_path / "choice.lilliput", action_low=-1.0, action_high=1.0, rescale_action=True)


@pytest.mark.skipif("LILLIPUT_POLICIES" not in os.environ, reason="LILLIPUT_POLICIES names no folder")
def test_the_documented_onnx_of_a_public_actor_earns_what_its_zip_does(tmp_path: Path) -> None:
    whole = load_policy(Path(os.environ["LILLIPUT_POLICIES"], "sac/Pendulum-v1_1"))
    *actor, last = whole.layers
    assert isinstance(last, layers.RescaleAction)
    unit = spaces.Box((1,), np.asarray(-1.0), np.asarray(1.0))
    artifact = export(Policy(whole.observation_space, unit, tuple(actor)), "onnx", tmp_path / "onnx")
    file = artifact.folder / "model.onnx"
    with pytest.raises(LilliputError, match="--rescale-action"):
        episode_returns(load_policy(file), "Pendulum-v1", range(2))
    moved = load_policy(file, environment="Pendulum-v1", rescale_action=True)
    np.testing.assert_array_equal(
        episode_returns(moved, "Pendulum-v1", range(2)), episode_returns(whole, "Pendulum-v1", range(2))
    )
