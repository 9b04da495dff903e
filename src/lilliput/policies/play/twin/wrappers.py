"""The wrappers of the closed list, and Gymnasium's own around every environment, for many episodes at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import numpy as np
from jaxtyping import Int32, Int64

from lilliput.policies.play.gymnasium_wrappers import (
    ClipActionEnv,
    FrameStackEnv,
    TimeFeatureEnv,
    ZeroContactForcesEnv,
)

Actions = Callable[[np.ndarray], np.ndarray]


class Worn(ABC):
    """What a wrapper does to observations."""

    @abstractmethod
    def seen(self, x: np.ndarray, which: Int32[np.ndarray, " n"], steps: Int64[np.ndarray, " n"]) -> np.ndarray:
        """The observations of those episodes after so many steps; 0 where they begin."""


@final
class Time(Worn):
    """See `TimeFeatureEnv`."""

    def __init__(self, wrapper: TimeFeatureEnv) -> None:
        self._wrapper = wrapper

    def seen(self, x: np.ndarray, which: Int32[np.ndarray, " n"], steps: Int64[np.ndarray, " n"]) -> np.ndarray:
        """With the time that is left."""
        return np.concatenate([x, self._wrapper.time_after(steps)[:, None]], axis=1)


@final
class Stack(Worn):
    """See `FrameStackEnv`."""

    def __init__(self, wrapper: FrameStackEnv, n: int) -> None:
        space: Any = wrapper.observation_space
        self._stack = np.zeros((n, *space.shape), space.dtype)

    def seen(self, x: np.ndarray, which: Int32[np.ndarray, " n"], steps: Int64[np.ndarray, " n"]) -> np.ndarray:
        """With those before."""
        before = np.where(steps[:, None] == 0, 0, self._stack[which][:, x.shape[1] :])
        self._stack[which] = np.concatenate([before, x], axis=1)
        return self._stack[which]


@final
class Forceless(Worn):
    """See `ZeroContactForcesEnv`."""

    def __init__(self, wrapper: ZeroContactForcesEnv) -> None:
        self._wrapper = wrapper

    def seen(self, x: np.ndarray, which: Int32[np.ndarray, " n"], steps: Int64[np.ndarray, " n"]) -> np.ndarray:
        """With zeros for the forces."""
        return self._wrapper.observation(x)


def worn(environment: Any, n: int) -> tuple[list[Actions], list[Worn], int | None] | None:
    """What becomes of actions, the outermost wrapper's first, and of observations, the innermost's first; the limit.

    None where there is a wrapper of another kind.
    """
    from gymnasium.wrappers import OrderEnforcing, RescaleAction, TimeLimit

    actions: list[Actions] = []
    seen: list[Worn] = []
    limit: int | None = None
    layer = environment
    while layer is not environment.unwrapped:
        kind = type(layer)
        if kind in (ClipActionEnv, RescaleAction):
            actions.append(layer.action)
        elif kind is TimeFeatureEnv:
            seen.insert(0, Time(layer))
        elif kind is FrameStackEnv:
            seen.insert(0, Stack(layer, n))
        elif kind is ZeroContactForcesEnv:
            seen.insert(0, Forceless(layer))
        elif kind is TimeLimit:
            limit = min(layer._max_episode_steps, limit or layer._max_episode_steps)
        elif kind is not OrderEnforcing:
            return None
        layer = layer.env
    return actions, seen, limit
