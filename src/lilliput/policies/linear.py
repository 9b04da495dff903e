"""What layers of weights give, in numpy: products of reals summed in one order, and of codes, whose sums are exact."""

from typing import assert_never

import numpy as np
from jaxtyping import Float32, Num

from lilliput.policies import affine, layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.sums import products


def outputs(layer: layers.Linear, x: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n ..."]:
    """The outputs of the layer for a batch of its inputs."""
    match layer:
        case layers.Dense():
            return _add(_matmul(_f32(layer.weight), x), layer.bias)
        case layers.QuantizedDense():
            return _integer_linear(layer.weight, layer.bias, layer.input, x, layer.weight.values)
        case layers.Conv2d():
            n, height, width = _output_size(layer, x)
            patches = _patches(x, layer).reshape(n * height * width, -1)
            y = _add(_matmul(_f32(layer.weight).reshape(len(layer.weight), -1), patches), layer.bias)
            return _channels_first(y, n, height, width)
        case layers.QuantizedConv2d():
            return _quantized_conv2d(layer, x)
        case _:
            assert_never(layer)


def _f32(array: np.ndarray) -> Float32[np.ndarray, "..."]:
    return array.astype(np.float32, copy=False)


def _add(y: Float32[np.ndarray, "n outputs"], bias: np.ndarray | None) -> Float32[np.ndarray, "n outputs"]:
    return y if bias is None else y + _f32(bias)


def _matmul(
    weight: Float32[np.ndarray, "outputs inputs"], x: Float32[np.ndarray, "n inputs"]
) -> Float32[np.ndarray, "n outputs"]:
    # What a policy makes of numbers that are not finite is seen in its actions.
    with np.errstate(invalid="ignore"):
        return products(x, weight)


def _integer_linear(
    weight: QuantizedTensor,
    bias: np.ndarray | None,
    range_: layers.InputRange,
    x: Float32[np.ndarray, "n inputs"],
    codes: Num[np.ndarray, "outputs inputs"],
) -> Float32[np.ndarray, "n outputs"]:
    scale = _f32(weight.scale)
    match range_:
        case None:
            return _add(_matmul(codes.astype(np.float32), x) * scale, bias)
        case layers.StaticRange():
            q = affine.quantize_unsigned(x, _f32(range_.inverse_scale), range_.zero_point, range_.bits)
            return _add(_exact(q, codes) * scale, bias)
        case layers.DynamicRange(bits=bits):
            x_scale, zero_point = affine.dynamic_range(x, bits)
            q = np.clip(np.rint(x / x_scale).astype(np.float64) + zero_point, 0, affine.unsigned_max(bits)) - zero_point
            return _add(_exact(q, codes) * (scale * x_scale), bias)
        case _:
            assert_never(range_)


def _exact(q: np.ndarray, codes: np.ndarray) -> Float32[np.ndarray, "n outputs"]:
    # Integers below 2**53 in float64: exact in any order of summation. float32 rounds once, as C's int32 to float does.
    return (q @ codes.astype(np.float64).T).astype(np.float32)


def _patches(x: np.ndarray, layer: layers.Conv2d | layers.QuantizedConv2d, fill: float = 0.0) -> np.ndarray:
    """(n, height, width, channels * kernel * kernel) windows of the padded input."""
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    x = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(x, layer.weight.shape[2:], axis=(2, 3))[:, :, ::step_y, ::step_x]
    windows = windows.transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(*windows.shape[:3], -1)


def _output_size(layer: layers.Conv2d | layers.QuantizedConv2d, x: np.ndarray) -> tuple[int, int, int]:
    _, height, width = layers.output_shape(layer, x.shape[1:])
    return len(x), height, width


def _channels_first(y: np.ndarray, n: int, height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(y.reshape(n, height, width, -1).transpose(0, 3, 1, 2))


def _quantized_conv2d(
    layer: layers.QuantizedConv2d, x: Float32[np.ndarray, "n c h w"]
) -> Float32[np.ndarray, "n o y x"]:
    n, height, width = _output_size(layer, x)
    rows = layer.weight.values.reshape(len(layer.weight.values), -1)
    if isinstance(layer.input, layers.DynamicRange):
        # The range is that of the whole image, so it is taken before the windows are cut.
        x_scale, zero_point = affine.dynamic_range(x.reshape(n, -1), layer.input.bits)
        s, z = x_scale[:, :, None, None], zero_point[:, :, None, None]
        q = np.clip(np.rint(x / s).astype(np.float64) + z, 0, affine.unsigned_max(layer.input.bits)) - z
        acc = _exact(_patches(q, layer).reshape(n * height * width, -1), rows)
        y = _add(acc * (_f32(layer.weight.scale) * np.repeat(x_scale, height * width, axis=0)), layer.bias)
    elif isinstance(layer.input, layers.StaticRange):
        q = affine.quantize_unsigned(x, _f32(layer.input.inverse_scale), layer.input.zero_point, layer.input.bits)
        patches = _patches(q, layer, fill=float(layer.input.zero_point))
        y = _add(_exact(patches.reshape(n * height * width, -1), rows) * _f32(layer.weight.scale), layer.bias)
    else:
        patches = _patches(x, layer).reshape(n * height * width, -1)
        y = _integer_linear(layer.weight, layer.bias, None, patches, rows)
    return _channels_first(y, n, height, width)
