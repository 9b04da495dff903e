"""Linear layers as calls to the kernels: every kind of arithmetic on every kind of storage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput import layers
from lilliput.affine import QuantizedTensor, signed_range, unsigned_max
from lilliput.constants import StoredWeight, layout, store_weight, stored_zero_point
from lilliput.errors import LilliputError
from lilliput.export.c_writer import Writer, step

NEAR_ZERO_POINT = 4_000_000
"""Zero points up to this size are exact in the float arithmetic of quantize_static."""

MAX_SUM = (1 << 31) - 1

Convolution = layers.Conv2d | layers.QuantizedConv2d
Quantized = layers.QuantizedDense | layers.QuantizedConv2d


@final
@dataclass(frozen=True)
class _Product:
    """A product of rows of a weight with the current values.

    Attributes:
        rows: how many; width: weights a row.
        write: the statement for (weight, bias, y) of all rows or, where `one` is true, of the one at `row`.
        reads_codes: whether the weight has to be codes rather than floats.
    """

    rows: int
    width: int
    write: Callable[[str, bool], str]
    reads_codes: bool


def linear(writer: Writer, layer: layers.Linear) -> None:
    """Nothing; writes a linear layer.

    Raises:
        LilliputError: its integer sums could exceed 32 bits.
    """
    is_image = isinstance(layer, Convolution)
    writer.put_channels(last=is_image)
    size = int(np.prod(writer.out_shape))
    bias = "NULL" if layer.bias is None else writer.real(0, "bias", layer.bias)
    target = writer.target(size)
    if isinstance(layer, Quantized) and layer.input is not None:
        _integer(writer, layer, bias, target)
    elif isinstance(layer, Quantized):
        scale = writer.real(1, "weight_scale", layer.weight.scale)
        _floating(writer, layer, "NULL", target)
        rows, scale_step = layer.weight.shape[0], step(layer.weight.scale)
        if is_image:
            writer.loop(
                size // rows,
                [f"scale_rows({target} + row * {rows}, {rows}, {scale}, {scale_step}, {bias});"],
            )
        else:
            writer.call(f"scale_rows({target}, {rows}, {scale}, {scale_step}, {bias})")
    else:
        _floating(writer, layer, bias, target)
    writer.x = target


def _floating(writer: Writer, layer: layers.Linear, bias: str, target: str) -> None:
    rows, width = layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    stored = store_weight(layer.weight, layout(layer))
    if isinstance(layer, Convolution):

        def convolve(weight: str, one: bool) -> str:
            y, b = (f"{target} + row", _at_row(bias)) if one else (target, bias)
            return f"conv2d_f32(&{_shape(writer, layer, one)}, {weight}, {b}, {writer.x}, {y});"

        _products(writer, layer, stored, _Product(rows, width, convolve, reads_codes=False))
        return
    name = f"{writer.name}_weight"
    if stored.encoding == "dense" and stored.values.dtype != np.float32:
        # Decoded a few columns of a block at a time.
        rest = f"{bias}, {rows}, {width}, {writer.x}, {target}"
        if stored.values.dtype == np.float16:
            writer.call(f"dense_f16({name}, {rest})")
        elif stored.values.dtype == np.int8:
            writer.call(f"dense_i8_f32({name}, {rest})")
        else:
            assert isinstance(layer.weight, QuantizedTensor)
            writer.call(f"dense_packed_f32({name}, {layer.weight.bits}, {rest})")
        return

    def multiply(weight: str, one: bool) -> str:
        if one:
            return f"dense_f32({weight}, {_at_row(bias)}, 1, {width}, {writer.x}, {target} + row);"
        return f"dense_f32({weight}, {bias}, {rows}, {width}, {writer.x}, {target});"

    _products(writer, layer, stored, _Product(rows, width, multiply, reads_codes=False))


def _integer(writer: Writer, layer: Quantized, bias: str, target: str) -> None:
    rows, width = layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    stored = store_weight(layer.weight, layout(layer))
    scale, scale_step = writer.real(1, "weight_scale", layer.weight.scale), step(layer.weight.scale)
    codes, zero, around, factor = _quantize_input(writer, layer)

    def last(one: bool) -> str:
        s = f"{scale} + row" if one and scale_step else scale
        return f"{s}, {scale_step}, {factor}, {_at_row(bias) if one else bias}, {f'{target} + row' if one else target}"

    if isinstance(layer, Convolution):

        def convolve(weight: str, one: bool) -> str:
            return f"conv2d_i8(&{_shape(writer, layer, one)}, {weight}, {codes}, {zero}, {around}, {last(one)});"

        _products(writer, layer, stored, _Product(rows, width, convolve, reads_codes=True))
        return
    if stored.encoding == "dense" and layer.weight.bits < 8:
        name, bits = f"{writer.name}_weight", layer.weight.bits
        writer.call(f"dense_packed({name}, {bits}, {rows}, {width}, {codes}, {zero}, {last(False)})")
        return

    def multiply(weight: str, one: bool) -> str:
        return f"dense_i8({weight}, {1 if one else rows}, {width}, {codes}, {zero}, {last(one)});"

    _products(writer, layer, stored, _Product(rows, width, multiply, reads_codes=True))


def _quantize_input(writer: Writer, layer: Quantized) -> tuple[str, str, str, str]:
    """C expressions: the codes, what to subtract from them, the code of padding, and the factor of the sums."""
    assert layer.input is not None
    n, top = int(np.prod(writer.in_shape)), unsigned_max(layer.input.bits)
    codes = writer.need("codes", n)
    largest = top
    if isinstance(layer.input, layers.StaticRange):
        if isinstance(layer, layers.QuantizedConv2d) and max(layer.padding):
            largest = max(largest, _farthest(layer.input))
        zeros = quantize_static(writer, layer.input, codes)
        zero, around, factor = "0", f"{zeros}[0]", "1.0f"
    else:
        zero, factor = f"{writer.name}_zero", f"{writer.name}_input_scale"
        writer.declare(f"int32_t {zero};", f"float {factor};")
        writer.call(f"{factor} = quantize_dynamic({writer.x}, {n}, {top}, {codes}, &{zero})")
        around = zero
    taps = int(np.prod(layer.weight.shape[1:]))
    if taps * -signed_range(layer.weight.bits)[0] * largest > MAX_SUM:
        raise LilliputError(
            f"{writer.name}: sums of {taps} products of {layer.weight.bits}-bit weights do not fit 32 bits; "
            f"the c format needs fewer inputs or an input range nearer to 0"
        )
    return codes, zero, around, factor


def quantize_static(writer: Writer, range_: layers.StaticRange, codes: str) -> str:
    """The name of the zero points; writes the current values as codes."""
    n, name, zero_point = int(np.prod(writer.in_shape)), writer.name, range_.zero_point
    zeros, stored = f"{name}_zero_point", stored_zero_point(range_)
    if stored.dtype != np.int32:
        kind = "u8" if stored.dtype == np.uint8 else "i16"
        writer.call(f"widen_{kind}({zeros}, {zero_point.size}, {writer.need('zero_points', zero_point.size)})")
        zeros = "scratch->zero_points"
    inverse = writer.real(2, "inverse_scale", range_.inverse_scale)
    kernel = "quantize_static" if _farthest(range_) <= NEAR_ZERO_POINT else "quantize_far"
    writer.call(
        f"{kernel}({writer.x}, {n}, {inverse}, {step(range_.inverse_scale)}, "
        f"{zeros}, {step(zero_point)}, {unsigned_max(range_.bits)}, {codes})"
    )
    return zeros


def _farthest(range_: layers.StaticRange) -> int:
    return int(np.abs(range_.zero_point.astype(np.int64)).max())


def _products(writer: Writer, layer: layers.Linear, stored: StoredWeight, product: _Product) -> None:
    """Nothing; writes a product once for a weight as it is read, else in a loop that decodes a row of it at a time."""
    name, width, weight = f"{writer.name}_weight", product.width, layer.weight
    codes_wanted = product.reads_codes
    as_read = stored.values.dtype == (np.int8 if codes_wanted else np.float32)
    if stored.encoding == "dense" and as_read:
        writer.lines.append(product.write(name, False))
        return
    if stored.values.size == 0:
        kind, buffer = ("int8_t", "row_codes") if codes_wanted else ("float", "row")
        row = writer.need(buffer, width)
        unread = "mask" if stored.encoding == "bitmask" else "row_lengths"
        writer.lines.append(f"(void){writer.name}_{unread}; /* all weights are zero */")
        writer.call(f"memset({row}, 0, {width} * sizeof({kind}))")
        writer.loop(product.rows, [product.write(row, True)])
        return
    lines: list[str] = []
    first, count = "first", "count"
    if stored.encoding == "dense":
        first, count = f"row * {width}", str(width)
    elif stored.encoding == "bitmask":
        lines.append(f"size_t count = count_bits({writer.name}_mask, row * {width}, {width});")
    else:
        lines.append(f"size_t count = {writer.name}_row_lengths[row];")
    values = f"{name} + {first}"
    integer = isinstance(weight, QuantizedTensor)
    if stored.values.dtype == np.float16:
        lines.append(f"half_to_float({values}, {count}, {writer.need('values', width)});")
        values = "scratch->values"
    elif isinstance(weight, QuantizedTensor) and weight.bits < 8:
        lines.append(f"unpack_codes({name}, {weight.bits}, {first}, {count}, {writer.need('value_codes', width)});")
        values = "scratch->value_codes"
    if stored.encoding != "dense":
        kind, row = ("i8", writer.need("row_codes", width)) if integer else ("f32", writer.need("row", width))
        if stored.encoding == "bitmask":
            lines.append(f"spread_bitmask_{kind}({values}, {writer.name}_mask, row * {width}, {width}, {row});")
        else:
            index, columns = "u8" if stored.columns.dtype == np.uint8 else "u16", f"{writer.name}_columns + first"
            lines.append(f"spread_indexed_{index}_{kind}({values}, {columns}, count, {width}, {row});")
        lines.append("first += count;")
        values = row
        writer.declare("size_t first;")
        writer.lines.append("first = 0;")
    if integer and not codes_wanted:
        lines.append(f"codes_to_float({values}, {width}, {writer.need('row', width)});")
        values = "scratch->row"
    writer.loop(product.rows, [*lines, product.write(values, True)])


def _at_row(bias: str) -> str:
    return bias if bias == "NULL" else f"{bias} + row"


def _shape(writer: Writer, layer: Convolution, one: bool) -> str:
    """The name of the convolution's shape, of all its outputs or of one at a time."""
    (channels, height, width), (outputs, out_height, out_width) = writer.in_shape, writer.out_shape
    numbers = (
        *(1 if one else outputs, channels, height, width, *layer.weight.shape[2:], *layer.stride, *layer.padding),
        *(out_height, out_width, outputs),
    )
    writer.declare(f"const conv2d_shape {writer.name}_shape = {{{', '.join(map(str, numbers))}}};")
    return f"{writer.name}_shape"
