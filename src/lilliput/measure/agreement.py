"""How far two policies' actions are apart on the same observations: what can be known where there is no environment."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Num

from lilliput.policies import spaces
from lilliput.sums import mean

NO_RETURN = (
    "actions on given observations are no return: over an episode errors add up, or do not matter; only episodes tell"
)


@final
@dataclass(frozen=True)
class Agreement:
    """A candidate's actions against the policy's own, a number for each dimension of the action.

    Attributes:
        n: observations that both acted on.
        mean_error, largest_error: of real actions, in their units.
        relative_error: the mean error over the width of the action's bounds, or where they are open of what the
            policy's own actions span; None where that is nothing.
        saturated, own_saturated: the share of the candidate's actions that lie on a bound, and of the policy's own.
        flips: of choices: how many are others.
    """

    n: int
    mean_error: tuple[float, ...] = ()
    largest_error: tuple[float, ...] = ()
    relative_error: tuple[float | None, ...] = ()
    saturated: tuple[float, ...] = ()
    own_saturated: tuple[float, ...] = ()
    flips: tuple[int, ...] = ()

    @property
    def worst(self) -> float:
        """The largest relative error of a dimension, or share of flips."""
        if self.flips:
            return max(self.flips) / self.n
        pairs = zip(self.relative_error, self.mean_error, strict=True)
        return max((np.inf if error else 0.0) if share is None else share for share, error in pairs)


def agreement(
    space: spaces.ActionSpace, own: Num[np.ndarray, "n ..."], candidate: Num[np.ndarray, "n ..."]
) -> Agreement:
    """What both did with the same observations.

    The policy's own first, as its reference acts.

    >>> agreement(spaces.Discrete(3), np.array([0, 1, 2]), np.array([0, 2, 2])).flips
    (1,)
    """
    n = len(own)
    mine, theirs = (actions.reshape(n, -1).astype(np.float64) for actions in (own, candidate))
    if not isinstance(space, spaces.Box):
        return Agreement(n, flips=tuple(int(count) for count in (mine != theirs).sum(axis=0)))
    error = np.abs(theirs - mine)
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    means = [mean(column) for column in error.T]
    widths = np.where(np.isfinite(high - low), high - low, np.ptp(mine, axis=0))
    return Agreement(
        n,
        tuple(means),
        _floats(error.max(axis=0)),
        tuple(float(one / width) if width > 0 else None for one, width in zip(means, widths, strict=True)),
        _floats(_on_a_bound(theirs, low, high)),
        _floats(_on_a_bound(mine, low, high)),
    )


def lines(agreement: Agreement) -> list[str]:
    """A line a dimension, then the words that this is no return."""
    if agreement.flips:
        said = [
            f"choice {number}: {count} of {agreement.n} differ ({count / agreement.n:.2%})"
            for number, count in enumerate(agreement.flips)
        ]
        return [*said, NO_RETURN]
    said = []
    for number, (middle, largest, relative, share, own) in enumerate(
        zip(
            agreement.mean_error,
            agreement.largest_error,
            agreement.relative_error,
            agreement.saturated,
            agreement.own_saturated,
            strict=True,
        )
    ):
        part = "" if relative is None else f" ({relative:.2%} of its range)"
        said.append(
            f"action {number}: mean error {middle:.3g}{part}, largest {largest:.3g}; on a bound {share:.1%}, before "
            f"{own:.1%}"
        )
    return [*said, NO_RETURN]


def _on_a_bound(actions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The share of actions on a bound; a squashed action comes as close to it as float32 lets it."""
    with np.errstate(invalid="ignore"):
        near = np.where(np.isfinite(high - low), 1e-3 * (high - low), 0.0)
    return ((actions <= low + near) | (actions >= high - near)).mean(axis=0)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
