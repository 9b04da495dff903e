"""Layers behind the network: from its outputs to the environment's action."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from lilliput.policies.layers.array import freeze_real


@final
@dataclass(frozen=True)
class SquashAction:
    """tanh(x): the mean of a squashed Gaussian as an action in [-1, 1]."""


@final
@dataclass(frozen=True)
class BetaAction:
    """alpha / (alpha + beta): the mean of a Beta distribution, between 0 and 1, half as many as there are inputs.

    alpha is softplus + 1 of the first half of the inputs, beta of the second.
    """


@final
@dataclass(frozen=True, eq=False)
class RescaleAction:
    """x * scale + offset: from [-1, 1] to the bounds of the action space; arrays of shape () or (actions,)."""

    scale: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        freeze_real(self, "scale", "offset")


@final
@dataclass(frozen=True, eq=False)
class ClipAction:
    """clip(x, low, high) to the bounds of the action space; arrays of shape () or (actions,)."""

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        freeze_real(self, "low", "high")


@final
@dataclass(frozen=True)
class ArgmaxAction:
    """The index of the largest of each group of values, the first of equals; `sizes` has one group for Discrete."""

    sizes: tuple[int, ...]
    INTEGER: ClassVar[bool] = True


Head = BetaAction | SquashAction | RescaleAction | ClipAction | ArgmaxAction
