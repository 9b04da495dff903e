"""Episodes. Oracle: a plain loop over Gymnasium in a fresh environment, and Stable-Baselines3's evaluate_policy."""

import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.layers import ClipAction, Dense
from lilliput.policies.play import EnvironmentSpec, SameAct, Stage, episode_returns, episodes, random_returns
from lilliput.policies.play.acting import PolicyAct
from lilliput.policies.policy import Policy

REUSED = [
    "HalfCheetah-v4",
    "Hopper-v5",
    "Ant-v4",
    "Humanoid-v4",
    "Swimmer-v4",
    "Walker2d-v4",
    "CartPole-v1",
    "Pendulum-v1",
]
FRESH = ["LunarLander-v3", pytest.param("BipedalWalker-v3", marks=pytest.mark.slow)]


@functools.cache
def drawn(n_actions: int, n_inputs: int) -> np.ndarray:
    """The weights."""
    return np.random.default_rng(n_inputs).normal(size=(n_actions, n_inputs))


@dataclass(frozen=True)
class Linear:
    """A fixed linear policy that any process builds alike."""

    n_actions: int
    choice: bool = False

    def __call__(self, observation: Any) -> Any:
        action = np.tanh(drawn(self.n_actions, len(observation)) @ np.nan_to_num(observation)).astype(np.float32)
        return int(np.argmax(action)) if self.choice else action


def linear_for(name: str) -> Linear:
    space: Any = gymnasium.make(name).action_space
    choice = isinstance(space, gymnasium.spaces.Discrete)
    return Linear(int(space.n) if choice else space.shape[0], choice)


def plain_loop(name: str, act: Any, seed: int) -> tuple[float, int, bool, bool]:
    environment = gymnasium.make(name)
    observation, _ = environment.reset(seed=seed)
    total, length = 0.0, 0
    while True:
        observation, reward, terminated, truncated, _ = environment.step(act(np.asarray(observation, np.float32)))
        total, length = total + float(reward), length + 1
        if terminated or truncated:
            return total, length, terminated, truncated


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REUSED + FRESH)
def test_episodes_are_those_of_a_plain_loop_whatever_was_played_before(name: str) -> None:
    act = linear_for(name)
    seeds = [7, 3, 7]
    played = episodes(act, name, seeds)
    expected = {seed: plain_loop(name, act, seed) for seed in set(seeds)}
    for seed, episode in zip(seeds, played, strict=True):
        assert (episode.episode_return, episode.length, episode.terminated, episode.truncated) == expected[seed]
        assert episode.seed == seed
        assert episode.wall_time_s is not None
        assert episode.wall_time_s > 0


@pytest.mark.slow
def test_a_reused_box2d_environment_would_not_be_repeatable() -> None:
    """Why they are played afresh; if this fails, Box2D may be reused."""
    environment = gymnasium.make("BipedalWalker-v3")
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (1600, 4)).astype(np.float32)

    def total(seed: int) -> float:
        environment.reset(seed=seed)
        found = 0.0
        for action in actions:
            _, reward, terminated, truncated, _ = environment.step(action)
            found += float(reward)
            if terminated or truncated:
                break
        return found

    first = [total(seed) for seed in range(40)]
    assert [total(seed) for seed in range(40)] != first


@pytest.mark.parametrize("name", ["Hopper-v4", "LunarLander-v3"])
def test_the_same_returns_from_any_number_of_processes(name: str) -> None:
    act, seeds = linear_for(name), range(5)
    alone = episode_returns(act, name, seeds)
    assert alone.shape == (5,)
    np.testing.assert_array_equal(alone, episode_returns(act, name, seeds, workers=2))
    np.testing.assert_array_equal(alone[::-1], episode_returns(act, name, reversed(seeds)))


def test_the_same_random_returns_from_any_number_of_processes() -> None:
    alone = random_returns("Hopper-v4", range(5))
    np.testing.assert_array_equal(alone, random_returns("Hopper-v4", range(5), workers=2))


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.parametrize("name", ["HalfCheetah-v4", "LunarLander-v3", "CartPole-v1"])
def test_returns_are_those_of_stable_baselines3(name: str) -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    act = linear_for(name)

    class Model:
        """What evaluate_policy asks of a model."""

        def predict(self, observation: np.ndarray, state: Any = None, **_: Any) -> tuple[np.ndarray, Any]:
            return np.asarray([act(observation[0].astype(np.float32))]), state

    expected = []
    for seed in range(3):
        vec = vec_env.DummyVecEnv([lambda: monitor.Monitor(EnvironmentSpec(name).make())])
        vec.seed(seed)
        expected += evaluation.evaluate_policy(Model(), vec, 1, return_episode_rewards=True)[0]
    # The Monitor rounds to 6 digits.
    np.testing.assert_allclose(episode_returns(act, name, range(3)), expected, rtol=0, atol=1e-6)


def test_random_actions_follow_from_the_seed_alone_and_differ_between_seeds() -> None:
    returns = random_returns("Pendulum-v1", [5, 6, 5])
    assert returns[0] == returns[2] != returns[1]


def test_the_random_policy_is_uniform_and_apart_from_the_environment() -> None:
    environment = gymnasium.make("CartPole-v1")
    from lilliput.policies.play import RandomPolicy

    act = RandomPolicy()(3, environment.action_space)
    drawn = np.array([act(None) for _ in range(2000)])
    assert abs(drawn.mean() - 0.5) < 0.05
    environment.action_space.seed(3)
    assert [environment.action_space.sample() for _ in range(2000)] != drawn.tolist()


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32),
        gymnasium.spaces.Box(
            np.array([[-2.0, 0.0], [1.0, -5.0]]), np.array([[3.0, 0.5], [4.0, 5.0]]), dtype=np.float64
        ),
        gymnasium.spaces.Box(0.0, np.inf, (2,), np.float32),
        gymnasium.spaces.Box(0, 255, (3,), np.uint8),
        gymnasium.spaces.Discrete(5),
        gymnasium.spaces.MultiDiscrete([3, 4]),
    ],
    ids=str,
)
def test_random_actions_are_those_that_sample_draws(space: gymnasium.Space) -> None:
    from lilliput.policies.play import RandomPolicy

    act = RandomPolicy()(3, space)
    space.seed(int(np.random.SeedSequence(3, spawn_key=(0x5EED,)).generate_state(1)[0]))
    for _ in range(600):
        drawn, expected = act(None), space.sample()
        np.testing.assert_array_equal(drawn, expected)
        assert np.asarray(drawn).dtype == np.asarray(expected).dtype


def test_max_steps_cuts_and_says_so() -> None:
    (episode,) = episodes(Linear(1), "Pendulum-v1", [0], max_steps=7)
    assert (episode.length, episode.terminated, episode.truncated) == (7, False, True)
    assert episode.episode_return == plain_prefix(7)


def plain_prefix(n: int) -> float:
    environment = gymnasium.make("Pendulum-v1")
    observation, _ = environment.reset(seed=0)
    total = 0.0
    for _ in range(n):
        observation, reward, *_ = environment.step(Linear(1)(observation))
        total += float(reward)
    return total


def test_progress_counts_the_episodes() -> None:
    told: list[tuple[int, int]] = []
    episodes(Linear(1), "Pendulum-v1", [1, 2, 3], max_steps=2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def after(n: int, action: Any, before: Any) -> Any:
    count = iter(range(1_000_000))
    return lambda _: action if next(count) >= n else before


@pytest.mark.parametrize(
    ("name", "before", "action", "message"),
    [
        ("Pendulum-v1", [0.0], [np.nan], r"Pendulum-v1, episode seed 9, step 4: the action is not finite: \[nan\]"),
        ("Pendulum-v1", [0.0], [-np.inf], "step 4: the action is not finite"),
        ("Pendulum-v1", [0.0], 0.0, r"step 4: the action has the shape \[\]; the environment takes Box"),
        ("Pendulum-v1", [0.0], [0.0, 0.0], r"shape \[2\]"),
        (
            "CartPole-v1",
            0,
            2,
            r"CartPole-v1, episode seed 9, step 4: the action is 2; the environment takes Discrete\(2\)",
        ),
        ("CartPole-v1", 0, -1, "the action is -1"),
        ("CartPole-v1", 0, 1.0, r"the action is 1.0"),
        ("CartPole-v1", 0, np.nan, r"the action is nan"),
        ("CartPole-v1", 0, [0, 1], r"the action is \[0, 1\]"),
    ],
)
def test_a_bad_action_is_an_error_naming_seed_and_step(name: str, before: Any, action: Any, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        episodes(after(4, action, before), name, [9])


@pytest.mark.parametrize("action", [1, np.int64(1), np.array(1), np.array([1]), True])
def test_one_choice_in_any_dress(action: Any) -> None:
    assert episode_returns(lambda _: action, "CartPole-v1", [0]) == episode_returns(lambda _: 1, "CartPole-v1", [0])


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], ["a"], 3])
def test_bad_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises((LilliputError, TypeError), match=r"seeds|iterable"):
        episode_returns(lambda _: 1, "CartPole-v1", seeds)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"workers": 0}, "workers is 0"), ({"max_steps": 0}, "max_steps is 0")]
)
def test_bad_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        episodes(Linear(2, True), "CartPole-v1", [0], **arguments)


def test_an_act_that_cannot_travel_is_refused_where_it_would_have_to() -> None:
    with pytest.raises(LilliputError, match=r"cannot be sent to another process .*; use workers=1"):
        episodes(lambda _: 1, "CartPole-v1", [0], workers=2)


@dataclass(frozen=True)
class Constant:
    action: float

    def __call__(self, _: Any) -> Any:
        return np.full(3, self.action)


def test_an_error_in_a_worker_is_the_same_error() -> None:
    with pytest.raises(LilliputError, match="Hopper-v4, episode seed 4, step 0: the action is not finite"):
        episodes(Constant(np.nan), "Hopper-v4", [4, 5, 6], workers=2)


@pytest.mark.slow
def test_a_killed_parent_takes_its_workers_along(tmp_path: Path) -> None:
    """The workers hold the pipe's other end: it closes when the last of them has ended."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, threading\n"
        "from lilliput.policies.play import random_returns\n"
        "def kill(done, of):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    random_returns('Pendulum-v1', range(100_000), workers=2, progress=kill)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=600, check=False)
    assert done.returncode == -9


def policy_for_pendulum() -> Policy:
    layer = Dense(np.array([[-1.0, -2.0, -0.5]], np.float32), np.array([0.1], np.float32))
    bound = np.array([2.0], np.float32)
    box = spaces.Box((3,), np.asarray(-8.0), np.asarray(8.0))
    return Policy(box, spaces.Box((1,), np.asarray(-2.0), np.asarray(2.0)), (layer, ClipAction(-bound, bound)))


def test_a_policy_plays_by_its_reference() -> None:
    policy = policy_for_pendulum()

    def by_hand(x: np.ndarray) -> np.ndarray:
        return np.clip(np.array([[-1.0, -2.0, -0.5]], np.float32) @ x + np.float32(0.1), -2, 2)

    ours = episode_returns(policy, "Pendulum-v1", range(3))
    np.testing.assert_allclose(ours, episode_returns(by_hand, "Pendulum-v1", range(3)), rtol=1e-4)
    np.testing.assert_array_equal(ours, episode_returns(PolicyAct(policy), "Pendulum-v1", range(3)))
    with pytest.raises(LilliputError, match=r"observation space is Box.*CartPole-v1 has Box"):
        episode_returns(policy, "CartPole-v1", [0])


def test_a_stage_keeps_only_what_resets_cleanly() -> None:
    for name, kept in (("CartPole-v1", True), ("LunarLander-v3", False)):
        with Stage(EnvironmentSpec(name)) as stage:
            stage.play(0, SameAct(linear_for(name)))
            assert (stage._row is not None) is kept
        assert stage._row is None
