"""Observations and actions as integers: how each number counts, for artifacts that are called without floats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import numpy as np

from lilliput.errors import LilliputError

Observation = Literal["int16", "q16.16"]
OBSERVATIONS: dict[str, Observation] = {name: name for name in get_args(Observation)}

ACTION_BITS = 16
"""A number of an action that is no choice counts in units of 2^-16."""

_MOST_BITS = 30


@final
@dataclass(frozen=True)
class FixedPoint:
    """How the numbers of an observation count.

    Attributes:
        observation: int16, or q16.16: 32 bits of which 16 stand for fractions.
        fraction_bits: of each number, flattened row by row: it counts in units of 2^-bits.
    """

    observation: Observation
    fraction_bits: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.observation not in OBSERVATIONS:
            raise LilliputError(f"the observation is {self.observation!r}; allowed: float, {', '.join(OBSERVATIONS)}")
        if any(type(bits) is not int or abs(bits) > _MOST_BITS for bits in self.fraction_bits):
            raise LilliputError(
                f"fraction bits are {self.fraction_bits}; each must be from -{_MOST_BITS} to {_MOST_BITS}"
            )

    @property
    def dtype(self) -> np.dtype:
        """Of the integers."""
        return np.dtype(np.int16 if self.observation == "int16" else np.int32)

    def integers(self, observations: np.ndarray) -> np.ndarray:
        """The nearest integers, saturated: (n, ...) finite numbers to (n, size).

        >>> FixedPoint("int16", (8, 0)).integers(np.float32([[0.5, 1e6]])).tolist()
        [[128, 32767]]
        """
        most = np.iinfo(self.dtype)
        flat = observations.reshape(len(observations), -1).astype(np.float64)
        return np.clip(np.rint(flat * 2.0 ** np.array(self.fraction_bits)), most.min, most.max).astype(self.dtype)

    def reals(self, integers: np.ndarray) -> np.ndarray:
        """What the integers stand for, float64 (n, size)."""
        return integers.astype(np.float64) * 2.0 ** -np.array(self.fraction_bits, np.float64)


def units_to_json(units: FixedPoint | None) -> dict[str, Any]:
    """As JSON data; empty for floats."""
    if units is None:
        return {}
    return {"observation": units.observation, "fraction_bits": list(units.fraction_bits)}


def units_from_json(data: Mapping[str, Any]) -> FixedPoint | None:
    """What `units_to_json` wrote.

    Raises:
        LilliputError, KeyError, TypeError: it is something else.
    """
    if not data:
        return None
    if set(data) != {"observation", "fraction_bits"}:
        raise KeyError(f"units hold {sorted(data)}")
    return FixedPoint(data["observation"], tuple(data["fraction_bits"]))
