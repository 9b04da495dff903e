"""The closed set of layers: everything between the raw observation and the environment's action, as frozen data.

What a layer computes is said in `reference.py`. Real arrays are float32, or float16 where a recipe halved them;
arithmetic always reads them as float32. Adding a layer: one class here, then wherever the type checker complains.
"""

from dataclasses import dataclass
from typing import ClassVar, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.affine import QuantizedTensor, check_bits, frozen

MAX_OUTPUTS = 1 << 24
"""Numbers that a layer may give: a file that asks for more is damaged."""


def _freeze_real(layer: object, *names: str) -> None:
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise LilliputError(f"{type(layer).__name__}.{name} is {type(value).__name__}; it must be an array")
        if value.dtype not in (np.float32, np.float16):
            raise LilliputError(f"{type(layer).__name__}.{name} is {value.dtype}; it must be float32 or float16")
        object.__setattr__(layer, name, frozen(value))


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
        _freeze_real(self, "inverse_scale")
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
class Standardize:
    """clip((x - mean) * scale, -clip, clip); arrays of shape () or the input's; an infinite clip does nothing."""

    mean: np.ndarray
    scale: np.ndarray
    clip: np.ndarray

    def __post_init__(self) -> None:
        _freeze_real(self, "mean", "scale", "clip")


@final
@dataclass(frozen=True, eq=False)
class Dense:
    """weight @ x + bias; weight (outputs, inputs), bias (outputs,) or none."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __post_init__(self) -> None:
        _freeze_real(self, *(("weight",) if self.bias is None else ("weight", "bias")))


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
            _freeze_real(self, "bias")


@final
@dataclass(frozen=True, eq=False)
class Conv2d:
    """Cross-correlation of (channels, height, width) with zero padding; weight (outputs, channels, kernel, kernel)."""

    weight: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _freeze_real(self, *(("weight",) if self.bias is None else ("weight", "bias")))


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
            _freeze_real(self, "bias")


@final
@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias over the features of one observation."""

    weight: np.ndarray
    bias: np.ndarray
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _freeze_real(self, "weight", "bias")
        if not self.epsilon > 0:
            raise LilliputError(f"a layer norm has the epsilon {self.epsilon}; it must be larger than 0")


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
@dataclass(frozen=True)
class Flatten:
    """All axes of an observation as one, row-major."""


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


@final
@dataclass(frozen=True)
class SquashAction:
    """tanh(x): the mean of a squashed Gaussian as an action in [-1, 1]."""


@final
@dataclass(frozen=True, eq=False)
class RescaleAction:
    """x * scale + offset: from [-1, 1] to the bounds of the action space; arrays of shape () or (actions,)."""

    scale: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        _freeze_real(self, "scale", "offset")


@final
@dataclass(frozen=True, eq=False)
class ClipAction:
    """clip(x, low, high) to the bounds of the action space; arrays of shape () or (actions,)."""

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        _freeze_real(self, "low", "high")


@final
@dataclass(frozen=True)
class ArgmaxAction:
    """The index of the largest of each group of values, the first of equals; `sizes` has one group for Discrete."""

    sizes: tuple[int, ...]
    INTEGER: ClassVar[bool] = True


Activation = Relu | Tanh | Sigmoid | Elu | LeakyRelu | Silu | Gelu | HardTanh
Linear = Dense | QuantizedDense | Conv2d | QuantizedConv2d
Head = SquashAction | RescaleAction | ClipAction | ArgmaxAction
Layer = SelectInputs | Standardize | Linear | LayerNorm | Flatten | Activation | Head

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        SelectInputs, Standardize, Dense, QuantizedDense, Conv2d, QuantizedConv2d, LayerNorm, Flatten, Relu, Tanh,
        Sigmoid, Elu, LeakyRelu, Silu, Gelu, HardTanh, SquashAction, RescaleAction, ClipAction, ArgmaxAction,
    )
}  # fmt: skip
"""The closed set by name, as files spell it."""


def output_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one output of `layer` for one input of `shape`.

    Raises:
        LilliputError: the layer does not take that input.
    """
    match layer:
        case Dense(weight=weight) | QuantizedDense(weight=weight):
            if len(weight.shape) != 2 or shape != weight.shape[1:]:
                raise LilliputError(f"a weight of shape {list(weight.shape)} gets an input of shape {list(shape)}")
            _check_bias(layer.bias, weight.shape[0])
            if isinstance(layer, QuantizedDense):
                _check_range(layer.input, shape)
            return (weight.shape[0],)
        case Conv2d(weight=weight) | QuantizedConv2d(weight=weight):
            if len(weight.shape) != 4 or len(shape) != 3 or shape[0] != weight.shape[1]:
                raise LilliputError(f"a convolution of shape {list(weight.shape)} gets an input of shape {list(shape)}")
            _check_bias(layer.bias, weight.shape[0])
            if min(layer.stride) < 1 or min(layer.padding) < 0:
                raise LilliputError(f"a convolution has the stride {layer.stride} and the padding {layer.padding}")
            if isinstance(layer, QuantizedConv2d):
                _check_range(layer.input, ())
            size = [
                (n + 2 * pad - kernel) // stride + 1
                for n, kernel, stride, pad in zip(shape[1:], weight.shape[2:], layer.stride, layer.padding, strict=True)
            ]
            if min(size) < 1:
                raise LilliputError(
                    f"a convolution of shape {list(weight.shape)} is larger than its input {list(shape)}"
                )
            if weight.shape[0] * size[0] * size[1] > MAX_OUTPUTS:
                raise LilliputError(
                    f"a convolution gives {[weight.shape[0], *size]}; at most {MAX_OUTPUTS} numbers are allowed"
                )
            return (weight.shape[0], *size)
        case SelectInputs(indices=indices):
            if len(shape) != 1 or int(indices[-1]) >= shape[0]:
                raise LilliputError(f"input {int(indices[-1])} is selected from an input of shape {list(shape)}")
            return indices.shape
        case Flatten():
            return (int(np.prod(shape)),)
        case ArgmaxAction(sizes=sizes):
            if not sizes or min(sizes) < 1 or shape != (sum(sizes),):
                raise LilliputError(f"an argmax over groups of {list(sizes)} gets an input of shape {list(shape)}")
            return () if len(sizes) == 1 else (len(sizes),)
        case Standardize():
            arrays = (layer.mean, layer.scale, layer.clip)
        case LayerNorm():
            if layer.weight.shape != shape or layer.bias.shape != shape or len(shape) != 1:
                raise LilliputError(
                    f"a layer norm of shape {list(layer.weight.shape)} gets an input of shape {list(shape)}"
                )
            return shape
        case RescaleAction():
            arrays = (layer.scale, layer.offset)
        case ClipAction():
            arrays = (layer.low, layer.high)
        case Relu() | Tanh() | Sigmoid() | Elu() | LeakyRelu() | Silu() | Gelu() | HardTanh() | SquashAction():
            return shape
        case _:
            assert_never(layer)
    for array in arrays:
        if array.shape not in ((), shape):
            raise LilliputError(
                f"{type(layer).__name__} has {list(array.shape)} numbers for an input of shape {list(shape)}"
            )
    return shape


def _check_bias(bias: np.ndarray | None, rows: int) -> None:
    if bias is not None and bias.shape != (rows,):
        raise LilliputError(f"a layer of {rows} outputs has a bias of shape {list(bias.shape)}")


def _check_range(range_: InputRange, shape: tuple[int, ...]) -> None:
    if isinstance(range_, StaticRange) and range_.inverse_scale.shape not in ((), shape):
        raise LilliputError(
            f"an input range of shape {list(range_.inverse_scale.shape)} for an input of shape {list(shape)}"
        )
