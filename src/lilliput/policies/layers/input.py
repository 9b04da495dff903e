"""Layers in front of the network: what it reads of an observation, and in which units."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.affine import frozen
from lilliput.policies.layers.array import freeze_real


@final
@dataclass(frozen=True, eq=False)
class SelectInputs:
    """x[indices] of an input that is a vector: what is left of the observation once its dead inputs are taken out.

    Attributes:
        indices: uint16, ascending, each once.
    """

    indices: np.ndarray

    def __post_init__(self) -> None:
        if self.indices.dtype != np.uint16 or self.indices.ndim != 1 or not self.indices.size:
            raise LilliputError(
                f"input indices are {self.indices.dtype}{list(self.indices.shape)}; they must be uint16, one or more"
            )
        if (np.diff(self.indices.astype(np.int64)) <= 0).any():
            raise LilliputError("input indices must ascend, each index once")
        object.__setattr__(self, "indices", frozen(self.indices))


@final
@dataclass(frozen=True, eq=False)
class Standardize:
    """clip((x - mean) * scale, -clip, clip); arrays of shape () or the input's; an infinite clip does nothing."""

    mean: np.ndarray
    scale: np.ndarray
    clip: np.ndarray

    def __post_init__(self) -> None:
        freeze_real(self, "mean", "scale", "clip")


@final
@dataclass(frozen=True)
class Flatten:
    """All axes of an observation as one, row-major."""
