"""What passes between an environment and a policy: observations as the policy takes them, actions that are checked."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces


class BadAction(Exception):
    """What is wrong with an action; the episode and step are said where it is caught."""


def observer(
    environment: Any, policy_space: spaces.ObservationSpace | None, seen: list[np.ndarray] | None
) -> Callable[[Any], np.ndarray]:
    """From what the environment gives to what the policy gets."""
    from gymnasium.spaces import Dict

    space = environment.observation_space
    if isinstance(space, Dict):
        keys = [key for key, _ in policy_space.boxes] if isinstance(policy_space, spaces.Dict) else list(space.spaces)
        if set(keys) != set(space.spaces):
            raise LilliputError(
                f"the environment observes {', '.join(space.spaces)}; the policy takes {', '.join(keys)}"
            )
        observed = _flattener(keys)
    elif space.dtype == np.uint8:
        observed = np.asarray
    else:
        observed = _as_float32
    if seen is None:
        return observed
    keep = seen.append

    def recorded(observation: Any) -> np.ndarray:
        array = observed(observation)
        # A copy: some environments write the next observation into the same array.
        keep(array.copy())
        return array

    return recorded


def _as_float32(observation: Any) -> np.ndarray:
    return np.asarray(observation, np.float32)


def _flattener(keys: list[str]) -> Callable[[Any], np.ndarray]:
    return lambda observation: np.concatenate([np.ravel(observation[key]) for key in keys]).astype(np.float32)


def action_checker(environment: Any) -> Callable[[Any], Any]:
    """From what the policy gives to what the environment takes, or `BadAction`; runs at every step, so it is lean."""
    from gymnasium.spaces import Box, Discrete

    space = environment.action_space
    if isinstance(space, Discrete):
        start, stop = int(space.start), int(space.start + space.n)

        def choice(action: Any) -> int:
            try:
                index = operator.index(action)
            except TypeError:
                index = _whole(action, space)
            if not start <= index < stop:
                raise BadAction(f"the action is {index}; the environment takes {space}")
            return index

        return choice
    shape, dtype = space.shape, space.dtype
    if not isinstance(space, Box):

        def choices(action: Any) -> np.ndarray:
            array = np.asarray(action)
            if array.shape != shape or array.dtype.kind not in "iub" or not space.contains(array.astype(dtype)):
                raise BadAction(f"the action is {array.tolist()}; the environment takes {space}")
            return array.astype(dtype)

        return choices
    finite = math.isfinite
    small = space.low.size <= 64

    def array_of(action: Any) -> np.ndarray:
        array = np.asarray(action, dtype)
        if array.shape != shape:
            raise BadAction(f"the action has the shape {list(array.shape)}; the environment takes {space}")
        # Faster than numpy's isfinite for the few numbers that actions have.
        if not (all(map(finite, array.ravel().tolist())) if small else np.isfinite(array).all()):
            raise BadAction(f"the action is not finite: {array.tolist()}")
        return array

    return array_of


def _whole(action: Any, space: Any) -> int:
    """The index in an array of one integer."""
    array = np.asarray(action)
    if array.size != 1 or array.dtype.kind not in "iub":
        raise BadAction(f"the action is {array.tolist()}; the environment takes {space}")
    return int(array.reshape(-1)[0])
