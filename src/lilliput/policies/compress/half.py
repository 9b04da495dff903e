"""Half-precision storage: real constants as float16, read as float32."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, assert_never, final

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields
from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.step import Step
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, replace_layers

_MEAN_TOLERANCE = 1 / 256
"""Of a normalizer's mean, in standard deviations: a position of 1000 m known to 0.01 m does not survive float16."""


@final
@dataclass(frozen=True)
class Half(Step):
    """Stores weights, biases, scales and the normalizer as float16; a computation reads them as float32.

    Kept in float32 is what float16 cannot hold: a scale below its normal numbers, a normalizer's mean that would move
    by more than 1/256 of a standard deviation, a range that is not exact, the bounds of the action space.
    """

    NAME: ClassVar[str] = "half"
    VERSION: ClassVar[int] = 1
    MEMORY: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with halved storage."""
        new = tuple(_halved(layer, index) for index, layer in enumerate(policy.layers))
        if replace_layers(policy, new).model_bytes == policy.model_bytes:
            raise NotApplicable("half: there is no float32 constant left that float16 could hold")
        return replace_layers(policy, new)


def _halved(layer: Layer, index: int) -> Layer:
    what = f"layer {index} ({type(layer).__name__})"
    match layer:
        case layers.Dense() | layers.Conv2d():
            return dataclasses.replace(
                layer, weight=_half(layer.weight, f"a weight of {what}"), bias=_half_bias(layer.bias, what)
            )
        case layers.QuantizedDense() | layers.QuantizedConv2d():
            weight = QuantizedTensor(layer.weight.values, _half_where_normal(layer.weight.scale), layer.weight.bits)
            range_ = layer.input
            if isinstance(range_, layers.StaticRange):
                range_ = layers.StaticRange(_half_where_exact(range_.inverse_scale), range_.zero_point, range_.bits)
            return dataclasses.replace(layer, weight=weight, bias=_half_bias(layer.bias, what), input=range_)
        case layers.Lstm() | layers.Gru():
            parts: dict[str, Any] = {"input": _halved(layer.input, index), "recurrent": _halved(layer.recurrent, index)}
            return dataclasses.replace(layer, **parts)
        case layers.LayerNorm():
            weight, bias = _half(layer.weight, f"a weight of {what}"), _half(layer.bias, f"a bias of {what}")
            return dataclasses.replace(layer, weight=weight, bias=bias)
        case layers.Standardize():
            return _halved_normalizer(layer)
        case layers.RescaleAction() | layers.ClipAction():
            return layer
        case (
            layers.SelectInputs() | layers.Flatten() | layers.Relu() | layers.Tanh() | layers.Sigmoid() | layers.Elu()
            | layers.LeakyRelu() | layers.Silu() | layers.Gelu() | layers.HardTanh() | layers.SquashAction()
            | layers.BetaAction() | layers.ArgmaxAction() | layers.History() | layers.PreviousAction()
        ):  # fmt: skip
            return layer
        case _:
            assert_never(layer)


def _half(array: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        halved = array.astype(np.float16)
    if not np.isfinite(halved).all():
        largest = float(np.abs(array).max())
        raise LilliputError(
            f"half: {what} is {largest:g}; float16 ends at 65504: leave half out, or equalize before it"
        )
    return halved


def _half_bias(bias: np.ndarray | None, what: str) -> np.ndarray | None:
    return None if bias is None else _half(bias, f"a bias of {what}")


def _is_normal(array: np.ndarray) -> bool:
    limits = np.finfo(np.float16)
    size = np.abs(array[array != 0].astype(np.float64)) if array.ndim else np.abs(array.astype(np.float64)).reshape(1)
    return bool((size >= float(limits.tiny)).all() and (size <= float(limits.max)).all())


def _half_where_normal(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16) if _is_normal(array) else array


def _half_where_exact(array: np.ndarray) -> np.ndarray:
    if not _is_normal(array):
        return array
    halved = array.astype(np.float16)
    return halved if np.array_equal(halved.astype(np.float32), array.astype(np.float32)) else array


def _halved_normalizer(layer: layers.Standardize) -> layers.Standardize:
    scale = _half_where_normal(layer.scale)
    with np.errstate(over="ignore"):
        mean = layer.mean.astype(np.float16)
        clip = layer.clip.astype(np.float16)
    moved = np.abs(mean.astype(np.float64) - layer.mean) * np.abs(layer.scale)
    mean = mean if np.isfinite(mean).all() and (moved <= _MEAN_TOLERANCE).all() else layer.mean
    return layers.Standardize(mean, scale, clip if np.array_equal(clip, layer.clip) else layer.clip)
