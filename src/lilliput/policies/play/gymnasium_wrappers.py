"""The wrappers of the closed list as Gymnasium wrappers; imported only where an environment is made."""

from collections import OrderedDict
from typing import Any, assert_never, final

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies.play.wrappers import (
    Atari,
    ClipAction,
    FrameStack,
    OneHot,
    RescaleAction,
    TimeFeature,
    TransposeImage,
    Wrapper,
    ZeroContactForces,
    channels_first,
)

Step = tuple[Any, float, bool, bool, dict[str, Any]]

LIFE_LOST = "lilliput_life_lost"
"""Key of a step's info: the observation is the first of a new life."""


def wrap(environment: gymnasium.Env, wrapper: Wrapper) -> gymnasium.Env:
    """The environment seen through the wrapper.

    Raises:
        LilliputError: the wrapper cannot stand on such an environment.
    """
    match wrapper:
        case TimeFeature():
            return TimeFeatureEnv(environment, wrapper)
        case FrameStack():
            return FrameStackEnv(environment, wrapper)
        case Atari():
            return AtariEnv(environment, wrapper)
        case TransposeImage():
            return TransposeImageEnv(environment)
        case OneHot():
            return OneHotEnv(environment)
        case ClipAction():
            return ClipActionEnv(environment)
        case RescaleAction(low=low, high=high):
            return _rescaled(environment, low, high)
        case ZeroContactForces():
            return ZeroContactForcesEnv(environment)
        case _:
            assert_never(wrapper)


def _rescaled(environment: gymnasium.Env, low: float, high: float) -> gymnasium.Env:
    """See `RescaleAction`."""
    space = environment.action_space
    if not isinstance(space, Box) or not space.is_bounded("both") or not low < high:
        raise LilliputError(
            f"wrapper rescale_action({low:g}, {high:g}): the action space is {space}; it must be a Box with finite "
            "bounds, and low below high"
        )
    return gymnasium.wrappers.RescaleAction(environment, np.float32(low), np.float32(high))


@final
class TimeFeatureEnv(gymnasium.Wrapper):
    """See `TimeFeature`; of a Dict observation the key "observation" gets it."""

    def __init__(self, env: gymnasium.Env, wrapper: TimeFeature) -> None:
        super().__init__(env)
        outer = env.observation_space
        self._keyed = isinstance(outer, Dict)
        inner = outer.spaces.get("observation") if isinstance(outer, Dict) else outer
        if not isinstance(inner, Box) or len(inner.shape) != 1:
            raise LilliputError(f"wrapper time_feature: the observation space is {outer}; it must be a vector")
        low, high = np.append(inner.low, 0), np.append(inner.high, 1)
        self._dtype = inner.dtype
        longer = Box(low.astype(self._dtype), high.astype(self._dtype), dtype=np.dtype(self._dtype).type)
        self.observation_space = Dict({**outer.spaces, "observation": longer}) if isinstance(outer, Dict) else longer
        limit = env.spec.max_episode_steps if env.spec is not None else None
        self._max_steps = wrapper.max_steps if limit is None else limit
        self._test_mode = wrapper.test_mode
        self._n_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._n_steps = 0
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_time(observation), info

    def step(self, action: Any) -> Step:
        self._n_steps += 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_time(observation), float(reward), terminated, truncated, info

    def time_after(self, steps: np.ndarray) -> np.ndarray:
        """What it shows after so many steps of an episode."""
        return np.array(np.ones(steps.shape) if self._test_mode else 1 - steps / self._max_steps, self._dtype)

    def _with_time(self, observation: Any) -> Any:
        time = self.time_after(np.array(self._n_steps))
        if self._keyed:
            return {**observation, "observation": np.append(observation["observation"], time)}
        return np.append(observation, time)


@final
class FrameStackEnv(gymnasium.Wrapper):
    """See `FrameStack`: stacked along the channels of an image, else along the last axis."""

    def __init__(self, env: gymnasium.Env, wrapper: FrameStack) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, Box) or not space.shape:
            raise LilliputError(f"wrapper frame_stack: the observation space is {space}; it must be an array")
        image = space.dtype == np.uint8 and len(space.shape) == 3
        self._axis = 0 if image and channels_first(space.shape) else -1
        self._width = space.shape[self._axis]
        low, high = (np.repeat(bound, wrapper.n_stack, axis=self._axis) for bound in (space.low, space.high))
        self.observation_space = Box(low, high, dtype=np.dtype(space.dtype).type)
        self._stack = np.zeros(low.shape, space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._stack = np.zeros_like(self._stack)
        return self._pushed(observation), info

    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if info.get(LIFE_LOST, False):
            self._stack = np.zeros_like(self._stack)
        return self._pushed(observation), float(reward), terminated, truncated, info

    def _pushed(self, observation: np.ndarray) -> np.ndarray:
        # A new array each time: whoever keeps an observation keeps that one.
        kept = self._stack[self._width :] if self._axis == 0 else self._stack[..., self._width :]
        self._stack = np.concatenate([kept, np.asarray(observation, kept.dtype)], axis=self._axis)
        return self._stack


@final
class TransposeImageEnv(gymnasium.Wrapper):
    """See `TransposeImage`."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, Box) or len(space.shape) != 3:
            raise LilliputError(f"wrapper transpose_image: the observation space is {space}; it must be an image")
        self._axes = (0, 1, 2) if channels_first(space.shape) else (2, 0, 1)
        low, high = (np.transpose(bound, self._axes) for bound in (space.low, space.high))
        self.observation_space = Box(low, high, dtype=np.dtype(space.dtype).type)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return np.transpose(observation, self._axes), info

    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return np.transpose(observation, self._axes), float(reward), terminated, truncated, info


@final
class OneHotEnv(gymnasium.ObservationWrapper):
    """See `OneHot`."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        self._keyed = isinstance(space, Dict)
        parts = dict(space.spaces) if isinstance(space, Dict) else {"": space}
        self._sizes = {key: np.atleast_1d(_choices(part)) for key, part in parts.items() if _is_choice(part)}
        if not self._sizes:
            raise LilliputError(
                f"wrapper one_hot: the observation space is {space}; it must be Discrete or MultiDiscrete of one axis, "
                "counted from 0, or a Dict with such keys"
            )
        vectors = {key: Box(0, 1, (sum(sizes.tolist()),)) for key, sizes in self._sizes.items()}
        self.observation_space = Dict(OrderedDict({**parts, **vectors})) if self._keyed else vectors[""]

    def observation(self, observation: Any) -> Any:
        if not self._keyed:
            return self._vector("", observation)
        return {**observation, **{key: self._vector(key, observation[key]) for key in self._sizes}}

    def _vector(self, key: str, value: Any) -> np.ndarray:
        sizes, chosen = self._sizes[key], np.atleast_1d(np.asarray(value))
        if chosen.shape != sizes.shape or chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < sizes)).all():
            raise LilliputError(
                f"wrapper one_hot: {self.env.unwrapped} shows {str(value)[:60]}{f' under {key}' if key else ''}; it "
                f"must be of {self.env.observation_space}"
            )
        vector = np.zeros(sum(sizes.tolist()), np.float32)
        vector[np.cumsum(sizes) - sizes + chosen] = 1
        return vector


def _is_choice(space: Any) -> bool:
    """Whether it is one or several choices, each counted from 0."""
    one_axis = isinstance(space, Discrete) or (isinstance(space, MultiDiscrete) and space.nvec.ndim == 1)
    return one_axis and not np.any(space.start)


def _choices(space: Any) -> Any:
    return space.n if isinstance(space, Discrete) else space.nvec


def check_frames(env: gymnasium.Env, frame_skip: int) -> None:
    """Check that no two frame skips stand behind each other: `ALE/Pong-v5` has one of 4 by itself.

    Raises:
        LilliputError: the game skips frames, and the wrapper would skip some of those that are left.
    """
    own: Any = getattr(env.unwrapped, "_frameskip", 1)
    if own != 1 and frame_skip > 1:
        name = env.spec.id if env.spec else env.unwrapped
        raise LilliputError(
            f"wrapper atari: {name} repeats each action for {own} frames by itself, the wrapper for {frame_skip} of "
            'these; give --env-kwargs \'{"frameskip": 1, "repeat_action_probability": 0}\' or an id that ends in '
            "NoFrameskip-v4"
        )


@final
class AtariEnv(gymnasium.Wrapper):
    """See `Atari`. Rewards during no-ops and fires count, as they do for Stable-Baselines3's Monitor."""

    def __init__(self, env: gymnasium.Env, wrapper: Atari) -> None:
        super().__init__(env)
        try:
            import cv2
        except ModuleNotFoundError:
            raise MissingDependency("wrapper atari needs OpenCV: pip install 'lilliput[atari]'") from None
        self._cv2 = cv2
        space = env.observation_space
        if "ale_py" not in type(env.unwrapped).__module__ or not isinstance(space, Box) or len(space.shape) != 3:
            raise LilliputError(
                f"wrapper atari: the environment is {env.unwrapped}; it must be an Atari game with images"
            )
        check_frames(env, wrapper.frame_skip)
        self._wrapper = wrapper
        size = wrapper.screen_size
        self.observation_space = Box(0, 255, (size, size, 1), np.uint8)
        self._last_two = np.zeros((2, *space.shape), space.dtype)
        game: Any = env.unwrapped
        self._emulator = game.ale
        self._fires = "FIRE" in game.get_action_meanings()
        self._lives = 0
        self._early = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        frame = self._new_game(seed, options)
        if self._fires:
            for action in (1, 2):
                frame, reward, over, lost = self._skip(action)
                self._early += reward
                if over:
                    self._new_game(None, options)
                elif lost:
                    self._skip(0)
        return self._warped(frame), {}

    def step(self, action: Any) -> Step:
        frame, reward, over, lost = self._skip(action)
        reward += self._early
        self._early = 0.0
        if lost and not over:
            frame, more, over = self._next_life()
            reward += more
        return self._warped(frame), reward, over and not self._cut, over and self._cut, {LIFE_LOST: lost}

    def _new_game(self, seed: int | None, options: dict[str, Any] | None) -> np.ndarray:
        frame, _ = self.env.reset(seed=seed, options=options)
        self._early, self._cut = 0.0, False
        count = self.env.unwrapped.np_random.integers(1, self._wrapper.noop_max + 1) if self._wrapper.noop_max else 0
        for _ in range(count):
            frame, reward, terminated, truncated, _ = self.env.step(0)
            self._early += float(reward)
            if terminated or truncated:
                frame, _ = self.env.reset(seed=seed, options=options)
                self._early = 0.0
        self._lives = self._emulator.lives()
        return frame

    def _next_life(self) -> tuple[np.ndarray, float, bool]:
        """The first frame of the next life, the reward on the way, and whether the game was over instead."""
        frame, total, over, _ = self._skip(0)
        for action in (1, 2) if self._fires else ():
            if over:
                break
            frame, reward, over, lost = self._skip(action)
            total += reward
            if lost and not over:
                _, reward, over, _ = self._skip(0)
                total += reward
        return frame, total, over

    def _skip(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """The same action for several frames: the brighter of the last two, the reward, game over, life lost."""
        skip, total, over = self._wrapper.frame_skip, 0.0, False
        frame = self._last_two[0]
        for i in range(skip):
            frame, reward, terminated, truncated, _ = self.env.step(action)
            total += float(reward)
            if i >= skip - 2:
                self._last_two[i - skip + 2] = frame
            over, self._cut = terminated or truncated, truncated and not terminated
            if over:
                break
        lives = self._emulator.lives()
        lost = self._wrapper.terminal_on_life_loss and 0 < lives < self._lives
        self._lives = lives
        return (self._last_two.max(axis=0) if skip > 1 else frame), total, over, lost

    def _warped(self, frame: np.ndarray) -> np.ndarray:
        size = self._wrapper.screen_size
        gray = self._cv2.cvtColor(frame, self._cv2.COLOR_RGB2GRAY)
        return self._cv2.resize(gray, (size, size), interpolation=self._cv2.INTER_AREA)[:, :, None]


@final
class ClipActionEnv(gymnasium.ActionWrapper):
    """See `ClipAction`."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, Box):
            raise LilliputError(f"wrapper clip_action: the action space is {env.action_space}; it must be a Box")
        self._low, self._high = env.action_space.low, env.action_space.high

    def action(self, action: Any) -> np.ndarray:
        return np.clip(action, self._low, self._high)


CONTACT_FORCES = 84
"""Six numbers for each of 14 bodies."""

_KEPT = {27: 27, 105: 27, 376: 376 - CONTACT_FORCES}
"""How many numbers of an observation come before its contact forces, by the environment's own number of them."""


@final
class ZeroContactForcesEnv(gymnasium.ObservationWrapper):
    """See `ZeroContactForces`."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, Box) or len(space.shape) != 1 or space.shape[0] not in _KEPT:
            raise LilliputError(
                f"wrapper zero_contact_forces: the observation space is {space}; it must be Ant's of 27 or 105 numbers "
                "or Humanoid's of 376"
            )
        self._kept = _KEPT[space.shape[0]]
        low, high = (np.append(bound[: self._kept], np.zeros(CONTACT_FORCES)) for bound in (space.low, space.high))
        kind = np.dtype(space.dtype)
        self.observation_space = Box(low.astype(kind), high.astype(kind), dtype=kind.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        forces = np.zeros((*observation.shape[:-1], CONTACT_FORCES), observation.dtype)
        return np.concatenate([observation[..., : self._kept], forces], axis=-1)
