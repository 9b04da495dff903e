"""The closed list as text. Oracle of what it does: the wrappers of Stable-Baselines3 and sb3_contrib."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.policies.play import (
    Atari,
    ClipAction,
    FrameStack,
    OneHot,
    TimeFeature,
    TransposeImage,
    ZeroContactForces,
    episodes,
    format_wrapper,
    make_environment,
    parse_wrappers,
)
from lilliput.policies.play.gymnasium_wrappers import LIFE_LOST, wrap

WRAPPER = st.one_of(
    st.builds(TimeFeature, st.integers(1, 10**9), st.booleans()),
    st.builds(FrameStack, st.integers(1, 99)),
    st.builds(Atari, st.integers(0, 99), st.integers(1, 9), st.integers(1, 200), st.booleans()),
    st.just(TransposeImage()),
    st.just(OneHot()),
    st.just(ClipAction()),
    st.just(ZeroContactForces()),
)


@given(WRAPPER)
def test_text_round_trips(wrapper: Any) -> None:
    assert parse_wrappers([format_wrapper(wrapper)]) == (wrapper,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_featur", "did you mean time_feature"),
        ("frame_stack(0)", "n_stack is 0; it must be at least 1"),
        ("frame_stack(2.0)", "n_stack is 2.0; it must be of type int"),
        ("frame_stack(True)", "must be of type int"),
        ("frame_stack(2, 3)", "2 values without a name; it has 1 parameters"),
        ("frame_stack(2, n_stack=3)", "n_stack is given twice"),
        ("time_feature(steps=3)", "unknown parameter 'steps'; did you mean max_steps? it takes max_steps, test_mode"),
        ("transpose_image(1)", "1 values without a name; it has 0 parameters"),
        ("frame_stack(__import__('os'))", "cannot be read"),
        ("frame_stack(**{})", "cannot be read"),
        ("os.system", "cannot be read"),
        ("system", "not known; allowed: time_feature"),
        ("atari | frame_stack(4)", "cannot be read"),
        ("frame_stack(4", "cannot be read"),
        ("", "cannot be read"),
        ("(" * 10_000, "cannot be read"),
    ],
)
def test_bad_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(LilliputError, match=re.escape(message)):
        parse_wrappers([text])


def test_one_text_is_not_a_list() -> None:
    with pytest.raises(LilliputError, match="write \\['atari'\\]"):
        parse_wrappers("atari")


def steps(environment: gymnasium.Env, seed: int, n: int) -> list[Any]:
    """What an environment gives under seeded random actions, through the ends of episodes."""
    observation, _ = environment.reset(seed=seed)
    environment.action_space.seed(seed)
    found = [observation]
    for _ in range(n):
        observation, reward, terminated, truncated, _ = environment.step(environment.action_space.sample())
        found.append((observation, reward, terminated, truncated))
        if terminated or truncated:
            found.append(environment.reset()[0])
    return found


def assert_same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_equal(a, b, strict=True)


class Goal(gymnasium.Env):
    """A Dict observation and no step limit."""

    def __init__(self) -> None:
        self.observation_space = Dict({"observation": Box(-1, 1, (2,)), "achieved_goal": Box(-1, 1, (1,))})
        self.action_space = Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observe(), 1.0, bool(self.np_random.random() < 0.1), False, {}

    def _observe(self) -> dict[str, Any]:
        draw = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return {"achieved_goal": draw[:1], "observation": draw[1:]}


@pytest.mark.frameworks
@pytest.mark.parametrize("test_mode", [False, True])
@pytest.mark.parametrize("name", ["Walker2d-v4", "Pendulum-v1", "goal"])
def test_time_feature_is_that_of_sb3_contrib(name: str, test_mode: bool) -> None:
    theirs = pytest.importorskip("sb3_contrib.common.wrappers").TimeFeatureWrapper
    made = [Goal() if name == "goal" else make_environment(name) for _ in range(2)]
    ours = wrap(made[0], TimeFeature(77, test_mode))
    oracle = theirs(made[1], max_steps=77, test_mode=test_mode)
    assert ours.observation_space == oracle.observation_space
    assert_same(steps(ours, 3, 500), steps(oracle, 3, 500))


def test_time_feature_leaves_the_inner_space_alone() -> None:
    inner = Goal()
    before = inner.observation_space
    wrap(inner, TimeFeature())
    assert inner.observation_space == before == Goal().observation_space


@pytest.mark.frameworks
@pytest.mark.parametrize("n_stack", [1, 3])
@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_frame_stack_is_that_of_stable_baselines3(name: str, n_stack: int) -> None:
    vec = pytest.importorskip("stable_baselines3.common.vec_env")
    oracle = vec.VecFrameStack(vec.DummyVecEnv([lambda: make_environment(name)]), n_stack)
    ours = make_environment(name, wrappers=(f"frame_stack({n_stack})",))
    assert ours.observation_space == oracle.observation_space
    assert_same_as_vec(ours, oracle, 5, 700)


def assert_same_as_vec(ours: gymnasium.Env, oracle: Any, seed: int, n: int) -> tuple[float, int]:
    """Holds one game after another to a vector of one environment; the return of the first, and how many lives it lost.

    The oracle ends an episode, and observes the next one's start, where ours goes on with the next life.
    """
    oracle.seed(seed)
    theirs = oracle.reset()[0]
    observation, _ = ours.reset(seed=seed)
    np.testing.assert_array_equal(observation, theirs)
    rng = np.random.default_rng(seed)
    total, lives = 0.0, 0
    for _ in range(n):
        # As an int where it is a choice; Box actions are float32 for both.
        space = ours.action_space
        action = rng.uniform(-1, 1, 1).astype(np.float32) if isinstance(space, Box) else int(rng.integers(space.n))  # type: ignore[attr-defined]
        theirs, _, done, infos = oracle.step(np.asarray([action]))
        observation, reward, terminated, truncated, info = ours.step(action)
        total += float(reward)
        lives += bool(info.get(LIFE_LOST))
        if terminated or truncated:
            assert done[0]
            np.testing.assert_array_equal(observation, infos[0]["terminal_observation"])
            if "episode" in infos[0] or "lives" in infos[0]:
                return total, lives
            observation, _ = ours.reset()
        else:
            assert bool(done[0]) == bool(info.get(LIFE_LOST))
        np.testing.assert_array_equal(observation, theirs[0])
    return total, lives


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.parametrize("name", ["BreakoutNoFrameskip-v4", "PongNoFrameskip-v4", "SpaceInvadersNoFrameskip-v4"])
def test_atari_is_that_of_stable_baselines3(name: str) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    vec = pytest.importorskip("stable_baselines3.common.vec_env")
    env_util = pytest.importorskip("stable_baselines3.common.env_util")
    make_environment(name).close()
    for seed in (1, 2):
        stacked = vec.VecFrameStack(env_util.make_atari_env(name, n_envs=1), 4)
        oracle = vec.VecTransposeImage(stacked)
        ours = make_environment(name, wrappers=("atari", "frame_stack(4)", "transpose_image"))
        assert ours.observation_space == oracle.observation_space
        total, lives = assert_same_as_vec(ours, oracle, seed, 3000)
        monitor = stacked.venv.envs[0].get_wrapper_attr("get_episode_rewards")()
        assert total == monitor[-1]
        assert lives == {"Breakout": 4, "Pong": 0, "SpaceInvaders": 2}[name.split("No")[0]]


def test_clipped_actions_are_those_of_gymnasium_and_random_ones_stay_inside() -> None:
    ours = make_environment("HalfCheetah-v4", wrappers=("clip_action",))
    oracle = gymnasium.wrappers.ClipAction(make_environment("HalfCheetah-v4"))
    plain = make_environment("HalfCheetah-v4")
    assert ours.action_space == plain.action_space
    rng = np.random.default_rng(2)
    far = 3 * rng.standard_normal((50, 6)).astype(np.float32)
    played = []
    for environment in (ours, oracle, plain):
        environment.reset(seed=1)
        played.append([environment.step(action)[1] for action in far])
    assert played[0] == played[1]
    assert played[0] != played[2], "the cost of control is that of the action as given"


@pytest.mark.parametrize(
    ("name", "kept", "size"),
    [("Ant-v4", 27, 111), ("Ant-v5", 27, 111), ("Humanoid-v4", 292, 376), ("HumanoidStandup-v4", 292, 376)],
)
def test_contact_forces_are_zero_and_the_rest_is_as_it_was(name: str, kept: int, size: int) -> None:
    ours, plain = make_environment(name, wrappers=("zero_contact_forces",)), make_environment(name)
    assert ours.observation_space.shape == (size,)
    rng, forces = np.random.default_rng(3), 0.0
    pairs = [(ours.reset(seed=1)[0], plain.reset(seed=1)[0])]
    for _ in range(60):
        box: Any = plain.action_space
        action = rng.uniform(box.low, box.high).astype(np.float32)
        pairs.append((ours.step(action)[0], plain.step(action)[0]))
    for seen, told in pairs:
        np.testing.assert_array_equal(seen, np.append(told[:kept], np.zeros(size - kept)))
        assert ours.observation_space.contains(seen)
        forces = max(forces, float(np.abs(told[kept:]).max(initial=0)))
    assert (forces > 0) == (name != "Ant-v4"), "contact forces that were there were taken away"


def test_two_frame_skips_behind_each_other_are_refused() -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    with pytest.raises(LilliputError, match=r"ALE/Pong-v5 repeats each action for 4 frames by itself.*frameskip"):
        make_environment("ALE/Pong-v5", wrappers=("atari",))
    plain = {"frameskip": 1, "repeat_action_probability": 0}
    one = make_environment("ALE/Pong-v5", wrappers=("atari",), environment_kwargs=plain)
    other = make_environment("PongNoFrameskip-v4", wrappers=("atari",))
    np.testing.assert_array_equal(one.reset(seed=3)[0], other.reset(seed=3)[0])
    for action in (2, 3, 3, 0, 2, 2):
        np.testing.assert_array_equal(one.step(action)[0], other.step(action)[0])


@pytest.mark.slow
def test_an_atari_game_is_repeatable() -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    wrappers = ("atari", "frame_stack(4)", "transpose_image")
    played = [
        episodes(lambda _: 3, "BreakoutNoFrameskip-v4", [4, 4], wrappers=wrappers, max_steps=300) for _ in range(2)
    ]
    assert len({(episode.episode_return, episode.length) for both in played for episode in both}) == 1


@pytest.mark.parametrize(
    ("name", "wrapper", "message"),
    [
        ("CartPole-v1", "clip_action", "it must be a Box"),
        ("CartPole-v1", "atari", "it must be an Atari game"),
        ("CartPole-v1", "transpose_image", "it must be an image"),
        ("Hopper-v4", "zero_contact_forces", "it must be Ant's of 27 or 105 numbers or Humanoid's of 376"),
        ("FrozenLake-v1", "frame_stack(2)", "it must be an array"),
        ("CartPole-v1", "one_hot", "it must be Discrete or MultiDiscrete of one axis, counted from 0"),
        ("Blackjack-v1", "one_hot", "it must be Discrete or MultiDiscrete of one axis, counted from 0"),
        ("FrozenLake-v1", "time_feature", "it must be a vector"),
    ],
)
def test_a_wrapper_that_does_not_fit_is_refused(name: str, wrapper: str, message: str) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(LilliputError, match=message):
        make_environment(name, wrappers=(wrapper,))


class Showing(gymnasium.Env):
    """Shows what it is told to."""

    def __init__(self, space: gymnasium.Space) -> None:
        self.observation_space, self.action_space = space, Discrete(2)
        self.shown: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.shown, {}


@pytest.mark.parametrize(
    "space", [Discrete(7), Discrete(1), MultiDiscrete([3, 1, 4]), Dict({"z": Discrete(3), "a": MultiDiscrete([2, 2])})]
)
def test_choices_are_shown_as_gymnasium_flattens_them(space: gymnasium.Space) -> None:
    inner = Showing(space)
    ours = wrap(inner, OneHot())
    space.seed(4)
    for _ in range(60):
        inner.shown = space.sample()
        seen = ours.reset()[0]
        assert ours.observation_space.contains(seen)
        if isinstance(space, Dict):
            assert list(seen) == list(space.spaces)
            seen = np.concatenate([seen[key] for key in space.spaces])
        assert seen.dtype == np.float32
        np.testing.assert_array_equal(seen, gymnasium.spaces.flatten(space, inner.shown))


@pytest.mark.parametrize(
    ("space", "shown"),
    [(Discrete(4), -1), (Discrete(4), 4), (Discrete(4), 1.5), (MultiDiscrete([2, 3]), [0, 3]), (Discrete(4), [0, 1])],
)
def test_what_is_none_of_the_choices_is_refused(space: gymnasium.Space, shown: Any) -> None:
    inner = Showing(space)
    inner.shown = shown
    with pytest.raises(LilliputError, match=r"wrapper one_hot: .* it must be of"):
        wrap(inner, OneHot()).reset()


@pytest.mark.parametrize(
    "space", [Discrete(4, start=1), MultiDiscrete(np.array([[2, 3]])), MultiDiscrete([2, 3], start=[0, 1])]
)
def test_choices_that_the_framework_does_not_count_are_refused(space: gymnasium.Space) -> None:
    with pytest.raises(LilliputError, match="counted from 0"):
        wrap(Showing(space), OneHot())


def test_actions_are_rescaled_as_gymnasium_does():
    ours = make_environment("Pendulum-v1", wrappers=("rescale_action(low=-0.5, high=0.5)",))
    oracle = gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), np.float32(-0.5), np.float32(0.5))
    assert ours.action_space == oracle.action_space
    for environment in (ours, oracle):
        environment.reset(seed=3)
    for action in (-0.5, 0.1, 0.5):
        mine, theirs = (environment.step(np.array([action], np.float32)) for environment in (ours, oracle))
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1] == theirs[1]
    with pytest.raises(LilliputError, match=r"wrapper rescale_action\(-1, 1\): the action space is Discrete"):
        make_environment("CartPole-v1", wrappers=("rescale_action",))
