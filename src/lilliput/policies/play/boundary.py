"""What passes between an environment and a policy: observations as the policy takes them, actions that are checked."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces

_FEW = 64
_VALUES = 5


class BadExchange(Exception):
    """What is wrong with an action or an observation; the episode and step are said where it is caught."""


def observer(environment: Any, policy_space: spaces.ObservationSpace | None) -> Callable[[Any], np.ndarray]:
    """From what the environment gives to what the policy gets, or `BadExchange` where a number is not finite.

    A policy asked about NaN answers something, and each format may answer something else; nobody would see it.
    """
    from gymnasium.spaces import Dict

    space = environment.observation_space
    if isinstance(space, Dict):
        keys = [key for key, _ in policy_space.boxes] if isinstance(policy_space, spaces.Dict) else list(space.spaces)
        if set(keys) != set(space.spaces):
            raise LilliputError(
                f"the environment observes {', '.join(space.spaces)}; the policy takes {', '.join(keys)}"
            )
        return _checked(_flattener(keys))
    if space.dtype == np.uint8:
        return np.asarray
    return _checked(_as_float32)


def _checked(convert: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    def observed(observation: Any) -> np.ndarray:
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is said
            array = convert(observation)
        if not finite(array):
            flat = array.ravel()
            bad = np.flatnonzero(~np.isfinite(flat))
            raise BadExchange(
                f"the observation is not finite: {len(bad)} of {flat.size} numbers, {flat[bad[0]]} at {bad[0]}; "
                "a policy cannot decide on that: mend the environment, or fill such numbers in a wrapper of it"
            )
        return array

    return observed


def finite(array: np.ndarray) -> bool:
    """Whether all numbers are; it runs twice a step, and up to 64 numbers Python is faster than numpy."""
    if array.size <= _FEW:
        return all(map(math.isfinite, array.ravel().tolist()))
    return bool(np.isfinite(array).all())


def _as_float32(observation: Any) -> np.ndarray:
    return np.asarray(observation, np.float32)


def _flattener(keys: list[str]) -> Callable[[Any], np.ndarray]:
    return lambda observation: np.concatenate([np.ravel(observation[key]) for key in keys]).astype(np.float32)


def wrong_answer(answer: Any) -> TypeError | None:
    """What is wrong with what a step gave: not Gymnasium's five values, or a reward that is no number; else None."""
    if not isinstance(answer, tuple | list) or len(answer) != _VALUES:
        given = f"{len(answer)} values" if isinstance(answer, tuple | list) else f"a {type(answer).__name__}"
        return TypeError(f"step gives {given}; it must give observation, reward, terminated, truncated and info")
    reward = np.asarray(answer[1])
    if reward.shape or reward.dtype.kind not in "biuf":
        what = f"of shape {list(reward.shape)}" if reward.shape else f"a {type(answer[1]).__name__}"
        return TypeError(f"the reward is {what}; it must be one number")
    return None


def action_checker(environment: Any) -> Callable[[Any], Any]:
    """From what the policy gives to what the environment takes, or `BadExchange`; runs at every step, so it is lean."""
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
                raise BadExchange(f"the action is {index}; the environment takes {space}")
            return index

        return choice
    shape, dtype = space.shape, space.dtype
    if not isinstance(space, Box):

        def choices(action: Any) -> np.ndarray:
            array = np.asarray(action)
            if array.shape != shape or array.dtype.kind not in "iub" or not space.contains(array.astype(dtype)):
                raise BadExchange(f"the action is {array.tolist()}; the environment takes {space}")
            return array.astype(dtype)

        return choices

    def array_of(action: Any) -> np.ndarray:
        array = np.asarray(action, dtype)
        if array.shape != shape:
            raise BadExchange(f"the action has the shape {list(array.shape)}; the environment takes {space}")
        if not finite(array):
            raise BadExchange(f"the action is not finite: {array.tolist()}")
        return array

    return array_of


def _whole(action: Any, space: Any) -> int:
    """The index in an array of one integer."""
    array = np.asarray(action)
    if array.size != 1 or array.dtype.kind not in "iub":
        raise BadExchange(f"the action is {array.tolist()}; the environment takes {space}")
    return int(array.reshape(-1)[0])
