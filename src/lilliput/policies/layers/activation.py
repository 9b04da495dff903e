"""Layers between those of weights."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.layers.array import freeze_real


@final
@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias over the features of one observation."""

    weight: np.ndarray
    bias: np.ndarray
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        freeze_real(self, "weight", "bias")
        if not self.epsilon > 0:
            raise LilliputError(f"a layer norm has the epsilon {self.epsilon}; it must be larger than 0")


@final
@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@final
@dataclass(frozen=True)
class Tanh:
    """tanh(x)."""


@final
@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@final
@dataclass(frozen=True)
class Elu:
    """x where x > 0, else alpha * (exp(x) - 1)."""

    alpha: float = 1.0


@final
@dataclass(frozen=True)
class LeakyRelu:
    """x where x > 0, else slope * x."""

    slope: float = 0.01


@final
@dataclass(frozen=True)
class Silu:
    """x / (1 + exp(-x))."""


@final
@dataclass(frozen=True)
class Gelu:
    """x * (1 + erf(x / sqrt 2)) / 2."""


@final
@dataclass(frozen=True)
class HardTanh:
    """clip(x, low, high) inside the network (the clipped mean of generalized state-dependent exploration)."""

    low: float
    high: float


Activation = Relu | Tanh | Sigmoid | Elu | LeakyRelu | Silu | Gelu | HardTanh
