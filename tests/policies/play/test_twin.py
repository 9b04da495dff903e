"""Batched twins. Oracle: Gymnasium's own environments, to the last bit."""

import ctypes
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.export import export, open_artifact
from lilliput.policies.layers import Dense, Tanh
from lilliput.policies.play import (
    EnvironmentSpec,
    Lockstep,
    NoisyPolicy,
    OutOfTime,
    RandomPolicy,
    SameAct,
    Stage,
    collect,
    episodes,
    make_environment,
    twin,
)
from lilliput.policies.play.twin.tasks import TASKS
from lilliput.policies.policy import Policy

mujoco = pytest.importorskip("mujoco")
hopper_v5 = pytest.importorskip("gymnasium.envs.mujoco.hopper_v5")
reacher_v5 = pytest.importorskip("gymnasium.envs.mujoco.reacher_v5")
if int(mujoco.__version__.partition(".")[0]) < 4:
    pytest.skip("MuJoCo has batches from 4.0 on", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = sorted(
    spec.id
    for spec in gymnasium.registry.values()
    if str(spec.entry_point).removeprefix("gymnasium.envs.mujoco.") in TASKS
)

RUN = {"forward_reward_weight": 1.7, "ctrl_cost_weight": 0.3, "reset_noise_scale": 0.05}
SHOWN = {"exclude_current_positions_from_observation": False}
HEALTH = {"healthy_reward": 2, "terminate_when_unhealthy": False}
PARTS = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "Ant-v4": [
        {"use_contact_forces": True, "contact_cost_weight": 0.01, "contact_force_range": (-0.5, 2.0)},
        {"ctrl_cost_weight": 0.1, "healthy_z_range": (0.4, 0.9), "reset_noise_scale": 0.3, **HEALTH, **SHOWN},
        {"use_contact_forces": True, "healthy_z_range": (0.5, 0.7), **SHOWN},
    ],
    "Ant-v5": [
        {"frame_skip": 3, "main_body": "torso", "contact_cost_weight": 0.01, "contact_force_range": (-0.5, 2.0)},
        {"main_body": 3, "include_cfrc_ext_in_observation": False, **RUN, **HEALTH, **SHOWN},
        {"healthy_z_range": (0.5, 0.7), "healthy_reward": 0.3},
    ],
    "HalfCheetah-v4": [RUN, SHOWN],
    "HalfCheetah-v5": [{**RUN, "frame_skip": 2}, SHOWN],
    "Hopper-v4": [
        {**RUN, **HEALTH},
        {"healthy_state_range": (-3, 3), "healthy_z_range": (1.0, 1.4), "healthy_angle_range": (-0.1, 0.3), **SHOWN},
    ],
    "Hopper-v5": [
        {**RUN, **HEALTH, "frame_skip": 6},
        {"healthy_state_range": (-3, 3), "healthy_z_range": (1.0, 1.4), "healthy_angle_range": (-0.1, 0.3), **SHOWN},
    ],
    "Humanoid-v4": [{**RUN, **HEALTH}, {"healthy_z_range": (1.2, 1.5), **SHOWN}],
    "Humanoid-v5": [
        {**RUN, **HEALTH, "contact_cost_weight": 1e-3, "contact_cost_range": (0.5, 3.0)},
        {**{f"include_{part}_in_observation": False for part in PARTS[:3]}, "frame_skip": 2, **SHOWN},
        {f"include_{part}_in_observation": part == "qfrc_actuator" for part in PARTS},
        {"include_cvel_in_observation": False, "healthy_z_range": (1.2, 1.5)},
    ],
    "HumanoidStandup-v5": [
        {"impact_cost_weight": 1e-3, "impact_cost_range": (0.5, 3.0), "ctrl_cost_weight": 0.3, "uph_cost_weight": 2},
        {"include_cinert_in_observation": False, "reset_noise_scale": 0.1, "frame_skip": 3, **SHOWN},
    ],
    "InvertedDoublePendulum-v5": [{"healthy_reward": 3.5, "reset_noise_scale": 0.02, "frame_skip": 2}],
    "InvertedPendulum-v5": [{"reset_noise_scale": 0.1, "frame_skip": 3}],
    "Pusher-v5": [{"reward_near_weight": 0.7, "reward_dist_weight": 2, "reward_control_weight": 0.3, "frame_skip": 2}],
    "Reacher-v5": [{"reward_dist_weight": 0.3, "reward_control_weight": 2, "frame_skip": 4}],
    "Swimmer-v4": [RUN, SHOWN],
    "Swimmer-v5": [{**RUN, "frame_skip": 2}, SHOWN],
    "Walker2d-v4": [{**RUN, **HEALTH}, {"healthy_z_range": (1.0, 1.3), "healthy_angle_range": (-0.1, 0.3), **SHOWN}],
    "Walker2d-v5": [
        {**RUN, **HEALTH, "frame_skip": 2, "xml_file": "walker2d.xml"},
        {"healthy_z_range": (1.0, 1.3), "healthy_angle_range": (-0.1, 0.3), **SHOWN},
    ],
}
"""Of each task the arguments that Gymnasium documents."""

SETTINGS = [(name, arguments) for name in NAMES for arguments in ARGUMENTS.get(name, [])]


def compare(spec: EnvironmentSpec, steps: int, lanes: int = 4) -> None:
    """The same bits of everything, step by step, through ends and new beginnings."""
    found = twin.twin_of(spec, lanes)
    assert found is not None
    environments = [spec.make() for _ in range(lanes)]
    seeds, rng = itertools.count(7), np.random.default_rng(3)
    space: Any = found.action_space
    beginning, lengths = list(range(lanes)), [0] * lanes
    # Calm lanes last longer.
    strength = np.linspace(0.1, 1.0, lanes).reshape(-1, *[1] * len(space.shape))
    for step in range(steps):
        if beginning:
            chosen = list(itertools.islice(seeds, len(beginning)))
            found.begin(beginning, chosen)
            first = [environments[lane].reset(seed=seed)[0] for lane, seed in zip(beginning, chosen, strict=True)]
            assert found.seen.tobytes() == np.stack(first).tobytes(), f"first observation, step {step}"
        actions = (rng.uniform(space.low, space.high, (lanes, *space.shape)) * strength).astype(np.float32)
        found.step(range(lanes), actions)
        expected = [one.step(action) for one, action in zip(environments, actions, strict=True)]
        assert found.seen.tobytes() == np.stack([one[0] for one in expected]).tobytes(), f"observations, step {step}"
        rewards = np.array([float(one[1]) for one in expected])
        assert np.asarray(found.rewards, np.float64).tobytes() == rewards.tobytes(), f"rewards, step {step}"
        assert found.terminated.tolist() == [bool(one[2]) for one in expected], f"ends, step {step}"
        cut = [
            bool(one[3]) or length + 1 >= (spec.max_steps or 10**9)
            for one, length in zip(expected, lengths, strict=True)
        ]
        assert found.over.tolist() == [bool(one[2]) or late for one, late in zip(expected, cut, strict=True)], (
            f"over, step {step}"
        )
        beginning = np.flatnonzero(found.over).tolist()
        lengths = [0 if lane in beginning else length + 1 for lane, length in enumerate(lengths)]
        assert found.lengths[~found.over].tolist() == [
            n for n, over in zip(lengths, found.over, strict=True) if not over
        ]
    found.close()
    for environment in environments:
        environment.close()


def test_every_task_that_runs_has_a_twin() -> None:
    elsewhere = {"Pusher-v4"}  # needs MuJoCo before 3
    known = {
        spec.id
        for spec in gymnasium.registry.values()
        if str(spec.entry_point).startswith("gymnasium.envs.mujoco.") and spec.id not in elsewhere
    }
    assert set(NAMES) == known
    assert len(NAMES) == len(TASKS) == 21
    assert all(twin.has_twin(EnvironmentSpec(name)) for name in NAMES if name.endswith("v5"))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_steps_are_the_same_to_the_last_bit(name: str) -> None:
    compare(EnvironmentSpec(name), 40)


@pytest.mark.parametrize(("name", "arguments"), SETTINGS)
def test_under_every_documented_argument_too(name: str, arguments: dict[str, Any]) -> None:
    compare(EnvironmentSpec(name, (), arguments), 30, lanes=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hundreds_of_steps_are_the_same_to_the_last_bit(name: str) -> None:
    """Of those that nothing but the time ends, and that are quick, past their end."""
    compare(EnvironmentSpec(name), 1_020 if name.startswith(("HalfCheetah", "Swimmer")) else 300, lanes=2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), SETTINGS)
def test_a_hundred_steps_under_every_documented_argument(name: str, arguments: dict[str, Any]) -> None:
    compare(EnvironmentSpec(name, (), arguments), 120, lanes=2)


@pytest.mark.parametrize(
    ("name", "wrappers"),
    [
        ("Hopper-v4", ("time_feature", "frame_stack(3)")),
        ("HalfCheetah-v4", ("clip_action", "rescale_action(low=-2.0, high=0.5)", "time_feature(test_mode=True)")),
        ("Ant-v4", ("zero_contact_forces", "frame_stack(2)", "time_feature")),
        ("Humanoid-v4", ("zero_contact_forces",)),
    ],
)
def test_behind_wrappers_too(name: str, wrappers: tuple[str, ...]) -> None:
    compare(EnvironmentSpec(name, wrappers, max_steps=17), 40)


def policy_for(name: str) -> Policy:
    """A fixed network of the environment's sizes."""
    made = make_environment(name)
    seen: Any = made.observation_space
    done: Any = made.action_space
    rng = np.random.default_rng(5)
    n, k = seen.shape[0], done.shape[0]
    box = spaces.Box((n,), np.full(n, -np.inf), np.full(n, np.inf))
    hidden = Dense(rng.normal(0, 0.3, (16, n)).astype(np.float32), np.zeros(16, np.float32))
    last = Dense(rng.normal(0, 0.3, (k, 16)).astype(np.float32), np.zeros(k, np.float32))
    return Policy(box, spaces.Box((k,), done.low, done.high), (hidden, Tanh(), last, Tanh()))


def alone(name: str, act: Any, seeds: list[int], max_steps: int) -> list[tuple[float, int, bool]]:
    """The episodes one by one."""
    found = []
    with Stage(EnvironmentSpec(name, max_steps=max_steps)) as stage:
        for seed in seeds:
            played = stage.play(seed, act)
            found.append((played.episode_return, played.length, played.terminated))
            assert played.wall_time_s is not None
    return found


@pytest.mark.parametrize("format_", ["reference", "c", "onnx"])
def test_episodes_are_those_played_one_by_one_in_every_format(format_: str, tmp_path: Path) -> None:
    policy, seeds = policy_for("Hopper-v4"), [5, 9, 5, *range(60, 100)]
    act: Any = policy if format_ == "reference" else open_artifact(export(policy, format_, tmp_path / "a").folder)
    told: list[tuple[int, int]] = []
    played = episodes(act, "Hopper-v4", seeds, max_steps=40, progress=lambda done, of: told.append((done, of)))
    assert [one.seed for one in played] == seeds
    assert all(one.wall_time_s is None for one in played)
    assert told[-1] == (43, 43)
    assert told == sorted(set(told))
    # Also while none is over.
    assert len(told) > 2
    one_by_one = episodes(lambda x: act_of(act)(x), "Hopper-v4", seeds, max_steps=40)
    assert [(one.episode_return, one.length) for one in played] == [
        (one.episode_return, one.length) for one in one_by_one
    ]
    assert all(one.wall_time_s is not None for one in one_by_one)


def act_of(act: Any) -> Any:
    from lilliput.policies.play import PolicyAct

    return PolicyAct(act) if isinstance(act, Policy) else act


def test_random_and_noisy_episodes_are_those_played_one_by_one() -> None:
    from lilliput.policies.play import PolicyAct

    policy, seeds = policy_for("Walker2d-v5"), [3, 1, 4, 1, 5]
    for act in (RandomPolicy(), NoisyPolicy(PolicyAct(policy)), SameAct(PolicyAct(policy))):
        with Stage(EnvironmentSpec("Walker2d-v5", max_steps=30)) as stage:
            assert stage.plays_together(act)
            together = [one for one, _ in stage.play_all(seeds, act)]
        assert [(one.episode_return, one.length, one.terminated) for one in together] == alone(
            "Walker2d-v5", act, seeds, 30
        )


def test_what_is_collected_is_what_was_seen_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from lilliput.policies.play import episode

    policy = policy_for("Hopper-v5")

    def collected() -> np.ndarray:
        return collect(policy, "Hopper-v5", 150, itertools.count(40), np.random.default_rng(1), max_steps=25)

    found = collected()
    monkeypatch.setattr(episode, "twin_of", lambda *_: None)
    np.testing.assert_array_equal(found, collected())


def test_lockstep_goes_on_as_environments_side_by_side_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from lilliput.policies.play import player

    policy = policy_for("Hopper-v4")

    def seen() -> list[np.ndarray]:
        lockstep = Lockstep(EnvironmentSpec("Hopper-v4"), policy.observation_space, 4, itertools.count(9))
        rng, found = np.random.default_rng(0), []
        for _ in range(60):
            lockstep.step(rng.uniform(-1, 1, (4, 3)))
            found += [lockstep.observations.copy(), lockstep.begins.copy()]
        found.append(lockstep.returns(lambda x: np.tanh(x[:, :3]), [1, 2, 3]))
        lockstep.close()
        return found

    ours = seen()
    monkeypatch.setattr(player, "twin_of", lambda *_: None)
    assert all(np.array_equal(one, other) for one, other in zip(ours, seen(), strict=True))


def test_what_is_not_finite_and_what_is_late_is_refused_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EnvironmentSpec("HalfCheetah-v4")
    lanes = twin.twin_of(spec, 2)
    assert lanes is not None
    lanes.begin([0, 1], [4, 5])
    lanes.step([0, 1], np.zeros((2, 6), np.float32))
    actions = np.zeros((2, 6), np.float32)
    actions[1, 2] = np.nan
    with pytest.raises(LilliputError, match=r"HalfCheetah-v4, episode seed 5, step 1: the action is not finite: \[0.0"):
        lanes.step([0, 1], actions)
    with pytest.raises(LilliputError, match=r"seed 5, step 1: the action has the shape \[3\]; the environment takes"):
        lanes.step([1], [np.zeros(3)])
    lanes._simulations.state["qvel"][1] = 1e39
    monkeypatch.setattr(lanes._simulations, "step", lambda *_: None)
    with pytest.raises(LilliputError, match="seed 5, step 2: the observation is not finite: 9 of 17 numbers, inf at 8"):
        lanes.step([1], np.zeros((1, 6), np.float32))
    late = twin.twin_of(spec, 2, deadline=0.0)
    assert late is not None
    late.begin([0, 1], [4, 5])
    with pytest.raises(OutOfTime):
        late.step([0, 1], np.zeros((2, 6), np.float32))


def test_another_bit_is_said_once_and_the_environment_itself_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EnvironmentSpec("Reacher-v5", (), {"reward_dist_weight": 1.25})
    monkeypatch.setattr(twin, "_agreed", {})
    real = reacher_v5.ReacherEnv._get_rew

    def other(self: Any, action: Any) -> Any:
        reward, told = real(self, action)
        return np.nextafter(reward, 1), told

    monkeypatch.setattr(reacher_v5.ReacherEnv, "_get_rew", other)
    with pytest.warns(RuntimeWarning, match=r"Reacher-v5: .* the rewards of its batched twin differ .* mujoco \d"):
        assert not twin.has_twin(spec)
    assert twin.twin_of(spec, 2) is None
    seeds, act = [1, 2], SameAct(act_of(policy_for("Reacher-v5")))
    with Stage(spec) as stage:
        assert [one.wall_time_s is None for one, _ in stage.play_all(seeds, act)] == [False, False]


class Heavier(hopper_v5.HopperEnv):  # type: ignore[misc]
    """Not Gymnasium's own."""


def test_what_is_not_exactly_gymnasiums_steps_aside() -> None:
    gymnasium.register("LilliputHeavier-v0", Heavier)  # type: ignore[arg-type]
    gymnasium.register("LilliputHopper-v0", "gymnasium.envs.mujoco.hopper_v5:HopperEnv", max_episode_steps=7)
    try:
        assert not twin.has_twin(EnvironmentSpec("LilliputHeavier-v0"))
        assert not twin.has_twin(EnvironmentSpec("CartPole-v1"))
        assert not twin.has_twin(EnvironmentSpec("Hopper-v5", (), {"render_mode": "human"}))
        compare(EnvironmentSpec("LilliputHopper-v0"), 20)
    finally:
        del gymnasium.registry["LilliputHeavier-v0"], gymnasium.registry["LilliputHopper-v0"]


def test_an_older_mujoco_keeps_the_environments() -> None:
    script = (
        "from importlib import metadata\n"
        "known = metadata.version\n"
        "metadata.version = lambda name: '3.9.0' if name == 'mujoco' else known(name)\n"
        "from lilliput.policies.play import EnvironmentSpec, twin\n"
        "assert not twin.has_twin(EnvironmentSpec('Hopper-v5'))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_clock_that_mujoco_reads_is_stopped_while_one_plays_and_goes_on_after() -> None:
    from lilliput.policies.play.mujoco_library import clock_stopped, library

    clock = ctypes.c_void_p.in_dll(library(), "mjcb_time")
    before, during = clock.value, []

    class Watching(hopper_v5.HopperEnv):  # type: ignore[misc]
        def step(self, action: Any) -> Any:
            during.append(clock.value)
            return super().step(action)

    gymnasium.register("LilliputWatching-v0", Watching, max_episode_steps=3)  # type: ignore[arg-type]
    try:
        episodes(lambda _: np.zeros(3, np.float32), "LilliputWatching-v0", [1])
        Lockstep(
            EnvironmentSpec("LilliputWatching-v0"), policy_for("Hopper-v5").observation_space, 2, itertools.count()
        ).step(np.zeros((2, 3), np.float32))
    finally:
        del gymnasium.registry["LilliputWatching-v0"]
    assert before
    assert during == [None] * 5
    assert clock.value == before
    with pytest.raises(KeyError), clock_stopped():
        raise KeyError
    assert clock.value == before
