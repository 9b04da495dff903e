"""Layers of weights: dense and convolutional, in real numbers or in codes."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.affine import QuantizedTensor, check_bits, frozen
from lilliput.policies.layers.array import freeze_real


@final
@dataclass(frozen=True, eq=False)
class StaticRange:
    """Input quantization fixed by calibration: code = saturate(round(x * inverse_scale) + zero_point), unsigned.

    Attributes:
        inverse_scale: codes a unit, for all inputs or one each.
        zero_point: int32; may lie outside the codes (an input that never comes near 0).
    """

    inverse_scale: np.ndarray
    zero_point: np.ndarray
    bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.bits, "activation_bits")
        freeze_real(self, "inverse_scale")
        if self.zero_point.dtype != np.int32 or self.zero_point.shape != self.inverse_scale.shape:
            raise LilliputError("a zero point must be int32 and have the shape of its scale")
        object.__setattr__(self, "zero_point", frozen(np.asarray(self.zero_point)))


@final
@dataclass(frozen=True)
class DynamicRange:
    """Input quantization from each observation's own range, as ONNX DynamicQuantizeLinear."""

    bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.bits, "activation_bits")


InputRange = StaticRange | DynamicRange | None
"""How a quantized layer quantizes its input; None: it does not (weight only)."""


@final
@dataclass(frozen=True, eq=False)
class Dense:
    """weight @ x + bias; weight (outputs, inputs), bias (outputs,) or none."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __post_init__(self) -> None:
        freeze_real(self, *(("weight",) if self.bias is None else ("weight", "bias")))


@final
@dataclass(frozen=True, eq=False)
class QuantizedDense:
    """A Dense layer on integer codes.

    Static input: (weight.values @ codes) * weight.scale + bias, where weight.scale and bias have already taken up the
    input's scale and zero point. Dynamic: (weight.values @ (codes - zero_point)) * (weight.scale * input scale) + bias.
    Weight only: (weight.values @ x) * weight.scale + bias.
    """

    weight: QuantizedTensor
    bias: np.ndarray | None
    input: InputRange

    def __post_init__(self) -> None:
        if self.bias is not None:
            freeze_real(self, "bias")


@final
@dataclass(frozen=True, eq=False)
class Conv2d:
    """Cross-correlation of (channels, height, width) with zero padding; weight (outputs, channels, kernel, kernel)."""

    weight: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        freeze_real(self, *(("weight",) if self.bias is None else ("weight", "bias")))


@final
@dataclass(frozen=True, eq=False)
class QuantizedConv2d:
    """A Conv2d on integer codes, with the arithmetic of QuantizedDense; its static scale is one for all inputs."""

    weight: QuantizedTensor
    bias: np.ndarray | None
    input: InputRange
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.bias is not None:
            freeze_real(self, "bias")


Linear = Dense | QuantizedDense | Conv2d | QuantizedConv2d
