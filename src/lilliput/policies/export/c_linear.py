"""Linear layers as calls to the kernels: every kind of arithmetic on every kind of storage."""

from collections.abc import Callable

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor, signed_range, unsigned_max
from lilliput.policies.constants import StoredWeight, constants, store_weight, stored_zero_point, weight_order
from lilliput.policies.export.c_writer import EVERY_BYTE, NO_REALS, Writer, step

NEAR_ZERO_POINT = 4_000_000
"""Zero points up to this size are exact in the float arithmetic of quantize_static."""

MAX_SUM = (1 << 31) - 1

BLOCK_ROWS = 16
"""As in core.h."""

WIDE_PIXELS = 6
"""As in wide_convolution.h."""

Convolution = layers.Conv2d | layers.QuantizedConv2d
Quantized = layers.QuantizedDense | layers.QuantizedConv2d


def linear(writer: Writer, layer: layers.Linear) -> None:
    """Write a linear layer.

    Raises:
        LilliputError: its integer sums could exceed 32 bits.
    """
    is_image = isinstance(layer, Convolution)
    writer.put_channels(last=is_image)
    size = int(np.prod(writer.out_shape))
    bias = NO_REALS if layer.bias is None else writer.real(0, "bias", layer.bias)
    target = writer.target(size)
    if not np.any(layer.weight.values if isinstance(layer.weight, QuantizedTensor) else layer.weight):
        rows = layer.weight.shape[0]
        for part in constants(layer):
            writer.lines += [f"(void){writer.name}_{part}; /* all weights are zero */"] if part != "bias" else []
        writer.call("only_bias", f"{bias}, {rows}, {size // rows}, {target}")
    elif isinstance(layer, Quantized) and layer.input is not None:
        _integer(writer, layer, bias, target)
    elif isinstance(layer, Quantized):
        scale = writer.real(1, "weight_scale", layer.weight.scale)
        _floating(writer, layer, NO_REALS, target)
        rows, scale_step = layer.weight.shape[0], step(layer.weight.scale)
        if is_image:
            writer.loop(
                size // rows,
                [f"{writer.kernel('scale_rows', f'{target} + row * {rows}, {rows}, {scale}, {scale_step}, {bias}')};"],
            )
        else:
            writer.call("scale_rows", f"{target}, {rows}, {scale}, {scale_step}, {bias}")
    else:
        _floating(writer, layer, bias, target)
    writer.x = target


def _floating(writer: Writer, layer: layers.Linear, bias: str, target: str) -> None:
    rows, width = layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    stored = store_weight(layer.weight, weight_order(layer))
    kind, bits = _storage(layer, stored)
    if isinstance(layer, Convolution):

        def convolve(shape: str, weight: str, one: bool) -> str:
            b, y = (_at_row(bias), f"{target} + row") if one else (bias, target)
            return f"{writer.kernel('conv2d_f32', f'&{shape}, {weight}, {b}, {writer.x}, {y}')};"

        _convolution(writer, layer, stored, convolve, as_codes=False)
    elif stored.encoding == "indexed":
        after = "" if bias == NO_REALS else f" + REAL({bias}, row)"

        def multiply(values: str) -> list[str]:
            product = writer.kernel(f"indexed_{_index(stored)}_f32", f"{values}, count, {writer.x}")
            return [f"{target}[row] = {product}{after};"]

        _by_index(writer, stored, bits, multiply, as_codes=False)
    else:
        kernel = f"{stored.encoding}_{kind}" if bits >= 16 else f"{stored.encoding}_{kind}_f32"
        writer.call(f"{kernel}", f"{_weight(writer, stored, bits)}, {bias}, {rows}, {width}, {writer.x}, {target}")


def _integer(writer: Writer, layer: Quantized, bias: str, target: str) -> None:
    rows, width = layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    stored = store_weight(layer.weight, weight_order(layer))
    kind, bits = _storage(layer, stored)
    scale, scale_step = writer.real(1, "weight_scale", layer.weight.scale), step(layer.weight.scale)
    codes, zero, around, factor = _quantize_input(writer, layer)

    def last(one: bool) -> str:
        s = f"REALS_FROM({scale}, row)" if one and scale_step else scale
        return f"{s}, {scale_step}, {factor}, {_at_row(bias) if one else bias}, {f'{target} + row' if one else target}"

    if isinstance(layer, Convolution):

        def convolve(shape: str, weight: str, one: bool) -> str:
            wide = writer.need("wide_codes", _wide_codes(writer, layer))
            given = f"&{shape}, {weight}, {codes}, {zero}, {around}, {last(one)}, WIDE_CODES({wide})"
            return f"{writer.kernel('conv2d_i8', given)};"

        _convolution(writer, layer, stored, convolve, as_codes=True)
    elif stored.encoding == "indexed":

        def multiply(values: str) -> list[str]:
            product = writer.kernel(f"indexed_{_index(stored)}_i8", f"{values}, count, {codes}, {zero}")
            return [f"const int32_t sum = {product};", f"{writer.kernel('real_sums', f'&sum, 1, {last(True)}')};"]

        _by_index(writer, stored, bits, multiply, as_codes=True)
    else:
        weight = _weight(writer, stored, bits)
        writer.call(f"{stored.encoding}_{kind}", f"{weight}, {rows}, {width}, {codes}, {zero}, {last(False)}")


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
        zero, around, factor = "0", f"ZERO({zeros}, 0)", "1.0f"
    else:
        zero, factor = f"{writer.name}_zero", f"{writer.name}_input_scale"
        writer.declare(f"int32_t {zero};", f"float {factor};")
        writer.lines.append(
            f"{factor} = {writer.kernel('quantize_dynamic', f'{writer.x}, {n}, {top}, {codes}, &{zero}')};"
        )
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
    n, zero_point = int(np.prod(writer.in_shape)), range_.zero_point
    is_table = writer.index == writer.table_for
    n, into = (EVERY_BYTE, writer.need("byte_codes", EVERY_BYTE)) if is_table else (n, codes)
    zeros = _zeros(writer, stored_zero_point(range_))
    inverse = writer.real(2, "inverse_scale", range_.inverse_scale)
    kernel = "quantize_static" if _farthest(range_) <= NEAR_ZERO_POINT else "quantize_far"
    writer.call(
        kernel,
        f"{writer.x}, {n}, {inverse}, {step(range_.inverse_scale)}, "
        f"{zeros}, {step(zero_point)}, {unsigned_max(range_.bits)}, {into}",
    )
    if is_table and writer.is_channels_last:
        channels, height, width = writer.in_shape
        writer.call("look_up_image", f"observation, {channels}, {height * width}, {into}, {codes}")
    elif is_table:
        writer.call("look_up", f"observation, {int(np.prod(writer.in_shape))}, {into}, {codes}")
    return zeros


def _zeros(writer: Writer, stored: np.ndarray) -> str:
    """What kernels are told of zero points, decoded before: see stored.h."""
    name, bits = f"{writer.name}_zero_point", stored.dtype.itemsize * 8
    if stored.dtype == np.int32:
        writer.kernels.add("stored")
        return f"ZEROS_32({name})"
    writer.kernels |= {"stored", "widen_u8" if stored.dtype == np.uint8 else "widen_i16"}
    decoded = writer.need("zero_points", stored.size)
    writer.lines.append(f"DECODE_ZEROS_{bits}({name}, {stored.size}, {decoded});")
    return f"ZEROS_{bits}({name}, {decoded})"


def _farthest(range_: layers.StaticRange) -> int:
    return int(np.abs(range_.zero_point.astype(np.int64)).max())


def _storage(layer: layers.Linear, stored: StoredWeight) -> tuple[str, int]:
    """How a value is stored, as kernels are named, and in how many bits."""
    if isinstance(layer.weight, QuantizedTensor):
        return ("i8" if layer.weight.bits == 8 else "packed"), layer.weight.bits
    return ("f16", 16) if stored.values.dtype == np.float16 else ("f32", 32)


def _index(stored: StoredWeight) -> str:
    return "u8" if stored.columns.dtype == np.uint8 else "u16"


def _weight(writer: Writer, stored: StoredWeight, bits: int) -> str:
    """What dense kernels are told of a weight."""
    parts = [f"{writer.name}_weight", *([str(bits)] if bits < 8 else [])]
    return ", ".join([*parts, f"{writer.name}_mask"] if stored.encoding == "bitmask" else parts)


def _by_index(
    writer: Writer, stored: StoredWeight, bits: int, multiply: Callable[[str], list[str]], *, as_codes: bool
) -> None:
    """Write a loop over rows; `multiply` gives the statements for a row's values and columns."""
    longest = int(stored.row_lengths.max())
    values = f"{writer.name}_weight + first"
    body = [f"const size_t count = {writer.name}_row_lengths[row];"]

    def decode(kernel: str, arguments: str, buffer: str) -> str:
        target = writer.need(buffer, longest)
        writer.mixes_memories = True
        body.append(f"{writer.kernel(kernel, f'{arguments}, {target}')};")
        return target

    if bits == 16:
        values = decode("half_to_float", f"{values}, count", "values")
    if bits < 8:
        values = decode("unpack_codes", f"{writer.name}_weight, {bits}, first, count", "value_codes")
    if bits <= 8 and not as_codes:
        values = decode("codes_to_float", f"{values}, count", "values")
    body += multiply(f"{values}, {writer.name}_columns + first")
    writer.declare("size_t first;")
    writer.lines.append("first = 0;")
    writer.loop(len(stored.row_lengths), [*body, "first += count;"])


def _convolution(
    writer: Writer, layer: Convolution, stored: StoredWeight, write: Callable[[str, str, bool], str], *, as_codes: bool
) -> None:
    """Write a convolution at once or, where its weight has to be decoded, 16 outputs at a time.

    `write` gives the statement for a shape, a weight, and whether only the outputs from `row` on are meant.
    """
    name, outputs, taps = writer.name, layer.weight.shape[0], int(np.prod(layer.weight.shape[1:]))
    (channels, height, width), (_, out_height, out_width) = writer.in_shape, writer.out_shape
    numbers = (
        *(outputs, channels, height, width, *layer.weight.shape[2:], *layer.stride, *layer.padding),
        *(out_height, out_width, outputs),
    )
    shape = f"conv2d_shape {name}_shape = {{{', '.join(map(str, numbers))}}};"
    if stored.encoding == "dense" and stored.values.dtype == (np.int8 if as_codes else np.float32):
        writer.declare(f"const {shape}")
        writer.lines.append(write(f"{name}_shape", f"{name}_weight", False))
        return
    _, bits = _storage(layer, stored)
    writer.mixes_memories = True
    writer.declare(shape, "size_t row;", "size_t first;")
    decode, buffer = ("decode_codes", "row_codes") if as_codes else ("decode_floats", "row")
    block = writer.need(buffer, min(BLOCK_ROWS, outputs) * taps)
    mask = f"{name}_mask + row * {taps} / 8" if stored.encoding == "bitmask" else "NULL"
    decoded = writer.kernel(decode, f"{bits}, {name}_weight, {mask}, first, {name}_shape.outputs * {taps}, {block}")
    writer.lines += [
        "first = 0;",
        f"for (row = 0; row < {outputs}; row += BLOCK_ROWS) {{",
        f"    {name}_shape.outputs = {outputs} - row < BLOCK_ROWS ? {outputs} - row : BLOCK_ROWS;",
        f"    first += {decoded};",
        f"    {write(f'{name}_shape', block, True)}",
        "}",
    ]


def _wide_codes(writer: Writer, layer: Convolution) -> int:
    """How many codes the kernels of x86 have room for: the image, with its padding, and what some pixels multiply."""
    (channels, height, width), (above, left) = writer.in_shape, layer.padding
    taps = int(np.prod(layer.weight.shape[1:]))
    return (height + 2 * above) * (width + 2 * left) * channels + WIDE_PIXELS * ((taps + 3) // 4 * 4)


def _at_row(bias: str) -> str:
    return bias if bias == NO_REALS else f"REALS_FROM({bias}, row)"
