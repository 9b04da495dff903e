"""What plays episodes side by side, be it an environment for each or one simulator for all; and what an episode is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lilliput.errors import LilliputError


@final
class OutOfTime(LilliputError):
    """The deadline passed in the middle of an episode."""


@final
@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        seed: of the environment's reset.
        episode_return: the sum of its rewards.
        length: steps.
        terminated: the task ended. truncated: a step limit cut it short.
        wall_time_s: of policy and environment together, from before the reset to after the last step; None where
            others were played at the same time.
    """

    seed: int
    episode_return: float
    length: int
    terminated: bool
    truncated: bool
    wall_time_s: float | None


@runtime_checkable
class Lanes(Protocol):
    """Episodes side by side, each by the number of its lane.

    Attributes:
        action_space: the environment's, with its wrappers.
        limit: the steps after which an episode is cut.
        observations: what the policy is to answer next in each lane: finite float32, or bytes of an image.
        totals: of the rewards so far; lengths: the steps.
        terminated: whether the task ended; over: whether anything did.
    """

    action_space: Any
    limit: int
    observations: np.ndarray
    totals: Float64[np.ndarray, " n"]
    lengths: Int64[np.ndarray, " n"]
    terminated: Bool[np.ndarray, " n"]
    over: Bool[np.ndarray, " n"]

    def __len__(self) -> int: ...

    def begin(self, lanes: Sequence[int] | np.ndarray, seeds: Sequence[int], *, fresh: bool = True) -> None:
        """The episodes of those seeds.

        Where it is not `fresh`, in the same environment, whatever it remembers: for states that nobody is judged by.

        Raises:
            LilliputError: an environment raises, or its first observation is not finite.
        """
        ...

    def step(self, lanes: Sequence[int] | np.ndarray, actions: Sequence[Any] | np.ndarray) -> None:
        """Plays one action in each of those lanes.

        Raises:
            OutOfTime: the deadline has passed.
            LilliputError: an action is not one of the environment's, the environment raises, or what it gives is not
                finite.
        """
        ...

    def close(self) -> None:
        """Closes what they are played in."""
        ...
