"""How students are quantized, and the steps and ranges that they begin with."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from lilliput.policies import layers
from lilliput.policies.affine import signed_range

InputRange = Literal["per_dimension", "per_tensor", "none"]

_SMALLEST_SCALE = 2.0**-14
"""The smallest float16 of full precision; scales are stored in it."""


@final
@dataclass(frozen=True)
class Quantization:
    """How students are quantized.

    Attributes:
        weight_bits: of each linear layer.
        activation_bits: of every quantized input.
        input_range: of the first layer: one a dimension, one for all, or none (real observations, integer weights).
        per_channel: a weight scale for every output instead of one a layer.
    """

    weight_bits: tuple[int, ...]
    activation_bits: int = 8
    input_range: InputRange = "per_dimension"
    per_channel: bool = False


def static_range(inverse: np.ndarray, zero: np.ndarray, quantization: Quantization) -> layers.StaticRange:
    """The range of inputs of these inverse scales and zero points, as it is stored."""
    inverse_scale, zero_point = inverse.astype(np.float16), zero.astype(np.int32)
    if len(inverse_scale) == 1:
        inverse_scale, zero_point = inverse_scale.reshape(()), zero_point.reshape(())
    return layers.StaticRange(inverse_scale, zero_point, quantization.activation_bits)


def best_step(weight: np.ndarray, bits: int, per_channel: bool) -> np.ndarray:
    """The step of least squared error (restarts, outputs or 1, 1)."""
    low, high = signed_range(bits)
    flat = weight if per_channel else weight.reshape(len(weight), 1, -1)
    most = np.maximum(np.abs(flat).max(axis=-1, keepdims=True), 1e-8)
    best, least = most / high, np.full_like(most, np.inf)
    for factor in np.linspace(0.2, 1.0, 33):
        step = most * factor / max(high, 1)
        error = ((np.clip(np.round(flat / step), low, high) * step - flat) ** 2).sum(axis=-1, keepdims=True)
        best = np.where(error < least, step, best)
        least = np.minimum(error, least)
    return np.maximum(best, _SMALLEST_SCALE)
