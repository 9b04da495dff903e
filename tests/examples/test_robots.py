"""The environments of the two robots: their public policies walk there, under the torques that are theirs."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.policies import reference
from lilliput.policies.load import load_policy
from lilliput.policies.play import EnvironmentSpec, Lockstep

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("LILLIPUT_ROBOTS", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("LILLIPUT_ROBOTS"), reason="LILLIPUT_ROBOTS is not set: the robots are not here"
)
POLICIES = {"robots:Go1-v0": "go1/policy.onnx", "robots:G1-v0": "g1/motion.pt"}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.syspath_prepend(ROOT / "examples")


@pytest.mark.parametrize("name", POLICIES)
def test_its_own_policy_walks(name: str) -> None:
    """15 is the most that an episode returns; one that falls after 8 s has lost more than a fifth of it."""
    policy, environment = load_policy(FOLDER / POLICIES[name]), EnvironmentSpec(name)
    lockstep = Lockstep(environment, policy.observation_space, 1, iter(range(1)))
    rows = reference.Rows(policy)
    try:
        returns = lockstep.returns(lambda x: rows(x, lockstep.begins), (7,))
    finally:
        lockstep.close()
    assert (returns > 12.5).all()
    assert (returns < 15).all()


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_remembers_its_last_action_walks_just_as_it_did(name: str) -> None:
    """To the bit: the environment hands over what the policy remembers."""
    path, where = FOLDER / POLICIES[name], (33, 45)
    handed, own = load_policy(path), load_policy(path, previous_action=where)
    environment: Any = EnvironmentSpec(name).make()
    observation, _ = environment.reset(seed=3)
    one, other, begins = reference.Rows(handed), reference.Rows(own), np.array([True])
    for _ in range(60):
        blind = observation.astype(np.float32)
        blind[slice(*where)] = np.nan
        action = one(observation.astype(np.float32)[None], begins)
        np.testing.assert_array_equal(other(blind[None], begins), action)
        observation, begins = environment.step(action[0])[0], np.array([False])
    environment.close()


@pytest.mark.parametrize("name", POLICIES)
def test_the_seed_alone_draws_commands_that_change_and_a_fall_ends_the_episode(name: str) -> None:
    environment: Any = EnvironmentSpec(name).make()
    told = []
    for seed, strength in ((1, 0.0), (1, 3.0), (2, 0.0)):
        environment.reset(seed=seed)
        rng = np.random.default_rng(0)
        commands, over, fallen, steps = [], False, False, 0
        while not (over or fallen):
            action = np.clip(
                strength * rng.normal(size=12), environment.action_space.low, environment.action_space.high
            )
            _, reward, fallen, over, info = environment.step(action)
            off = info["command"] - info["velocity"]
            expected = np.exp(-(off[0] ** 2 + off[1] ** 2) / 0.25) + 0.5 * np.exp(-(off[2] ** 2) / 0.25)
            assert reward == pytest.approx(0.02 * expected)
            commands.append(info["command"])
            steps += 1
        assert fallen == (steps < 500)
        if strength:
            assert fallen
        told.append(np.stack(commands))
    assert len(np.unique(told[0], axis=0)) > 1 or len(told[0]) < 200
    n = min(map(len, told))
    np.testing.assert_array_equal(told[0][:n], told[1][:n])
    assert not np.array_equal(told[0][:n], told[2][:n])


def test_the_g1_is_driven_by_the_torques_that_its_readme_says() -> None:
    """The motors of the model as it is, set at every step of the physics."""
    mujoco = pytest.importorskip("mujoco")
    g1 = importlib.import_module("robots.g1")
    environment = g1.G1(push=0.0, noise=0.05)
    environment.reset(seed=3)
    model = mujoco.MjModel.from_xml_path(str(FOLDER / "g1" / "scene.xml"))
    data = mujoco.MjData(model)
    data.qpos[:] = environment.data.qpos
    mujoco.mj_forward(model, data)
    kp = np.array([100, 100, 100, 150, 40, 40] * 2)
    kd = np.array([2, 2, 2, 4, 2, 2] * 2)
    zero = np.array([-0.1, 0, 0, 0.3, -0.2, 0] * 2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        output = rng.normal(size=12)
        environment.step(output)
        for _ in range(10):
            data.ctrl[:] = kp * (zero + 0.25 * output - data.qpos[7:]) - kd * data.qvel[6:]
            mujoco.mj_step(model, data)
        np.testing.assert_allclose(environment.data.qpos, data.qpos, atol=1e-8)


def test_pushes_and_payload_change_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    g1 = importlib.import_module("robots.g1")
    plain, pushed, loaded = g1.G1(push=0.0), g1.G1(push=3.0), g1.G1(push=0.0, payload=5.0)
    masses = [one.model.body_mass.sum() for one in (plain, pushed, loaded)]
    assert masses[1] == masses[0]
    assert masses[2] == pytest.approx(masses[0] + 5)
    ends = []
    for one in (plain, pushed, loaded):
        one.reset(seed=0)
        for _ in range(210):  # longer than until the first push
            one.step(np.zeros(12))
        ends.append(one.data.qpos.copy())
    assert not np.allclose(ends[0], ends[1])
    assert not np.allclose(ends[0], ends[2])


def test_without_the_folder_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lilliput.errors import LilliputError

    walk = importlib.import_module("robots.walk")
    walk._model.cache_clear()
    monkeypatch.delenv("LILLIPUT_ROBOTS")
    with pytest.raises(LilliputError, match="LILLIPUT_ROBOTS is not set"):
        EnvironmentSpec("robots:G1-v0").make()
