"""Many episodes at once: what the player steps, be it environments side by side or one simulator for all."""

from collections.abc import Sequence
from typing import Any, Protocol, final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lilliput.errors import LilliputError


@final
class OutOfTime(LilliputError):
    """The deadline passed in the middle of an episode."""


class Lanes(Protocol):
    """Episodes side by side, each by the number of its lane.

    Attributes:
        action_space: the environment's, with its wrappers.
        observations: what the policy is to answer next in each lane: finite float32, or bytes of an image.
        totals: of the rewards so far; lengths: the steps.
        terminated: whether the task ended; over: whether anything did.
    """

    action_space: Any
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
