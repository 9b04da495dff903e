"""A policy as C: its constants as data and its layers as a plain sequence of calls to the kernels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never, final

import numpy as np

from lilliput import layers, spaces
from lilliput.affine import QuantizedTensor, signed_range, unsigned_max
from lilliput.constants import StoredWeight, constants, store_weight
from lilliput.errors import LilliputError
from lilliput.export.c_text import array, c_type, real
from lilliput.layers import Layer
from lilliput.policy import Policy, layer_shapes

NEAR_ZERO_POINT = 4_000_000
"""Zero points up to this size are exact in the float arithmetic of quantize_static."""

MAX_SUM = (1 << 31) - 1


Product = Callable[[str, int | None, str, str], list[str]]
"""Statements that multiply weight, so many rows of it or (None) the one at `row`, add bias and write y."""


@final
@dataclass(frozen=True)
class Source:
    """What `policy.c` is made of.

    Attributes:
        data: the constant arrays.
        body: the statements of one decision.
        scratch: working memory, (C type, name, length) in order.
        scratch_bytes: its size.
        input_type: C type of an observation's numbers; action_type: of an action's.
    """

    data: str
    body: str
    scratch: tuple[tuple[str, str, int], ...]
    scratch_bytes: int
    input_type: str
    action_type: str


_SCRATCH = {
    "a": "float",
    "b": "float",
    "row": "float",
    "values": "float",
    "real_0": "float",
    "real_1": "float",
    "real_2": "float",
    "zero_points": "int32_t",
    "codes": "uint8_t",
    "row_codes": "int8_t",
    "value_codes": "int8_t",
}
_BYTES = {"float": 4, "int32_t": 4, "uint8_t": 1, "int8_t": 1}


def generate(policy: Policy) -> Source:
    """The C of a policy.

    Raises:
        LilliputError: integer sums of a layer could exceed 32 bits.
    """
    writer = _Writer(policy)
    for index, layer in enumerate(policy.layers):
        writer.layer(index, layer)
    scratch = tuple((kind, name, writer.scratch[name]) for name, kind in _SCRATCH.items() if name in writer.scratch)
    return Source(
        data="\n".join(writer.data),
        body="".join(f"    {line}\n" if line else "\n" for line in [*writer.declarations, *writer.lines]),
        scratch=scratch,
        scratch_bytes=sum(_BYTES[kind] * length for kind, _, length in scratch),
        input_type=c_type(np.dtype(spaces.input_dtype(policy.observation_space))),
        action_type="int32_t" if policy.is_discrete else "float",
    )


@dataclass
class _Writer:
    """Walks the layers once; `x` names the buffer that holds the current values."""

    policy: Policy
    x: str = "observation"
    data: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    scratch: dict[str, int] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        self.shapes = layer_shapes(self.policy)
        self.last_linear = max(i for i, layer in enumerate(self.policy.layers) if isinstance(layer, layers.Linear))
        if spaces.input_dtype(self.policy.observation_space) == "uint8":
            size = int(np.prod(self.shapes[0]))
            self.lines += [f"bytes_to_float(observation, {size}, {self.need('a', size)});"]
            self.x = "scratch->a"

    def layer(self, index: int, layer: Layer) -> None:
        """Nothing; writes one layer."""
        self.in_shape, self.out_shape = shape, out_shape = self.shapes[index : index + 2]
        n, size = int(np.prod(shape)), int(np.prod(out_shape))
        name = f"layer{index}"
        self.name = name
        self.add_data(name, layer)
        self.lines += ["", f"/* {name}: {describe(layer, shape, out_shape)} */"]
        match layer:
            case layers.SelectInputs(indices=indices):
                kind = "u8" if indices[-1] < 256 else "u16"
                target = self.target(index, size)
                self.call(f"select_inputs_{kind}({name}_indices, {size}, {self.x}, {target})")
                self.x = target
            case layers.Standardize():
                mean, scale = self.real(0, "mean", layer.mean), self.real(1, "scale", layer.scale)
                target = self.x if self.x != "observation" else self.target(index, n)
                self.call(
                    f"standardize({self.x}, {n}, {mean}, {_step(layer.mean)}, {scale}, {_step(layer.scale)}, {target})"
                )
                self.x = target
                if np.isfinite(layer.clip).any():
                    self.call(f"limit({self.x}, {n}, {self.real(2, 'clip', layer.clip)}, {_step(layer.clip)})")
            case layers.Dense() | layers.QuantizedDense() | layers.Conv2d() | layers.QuantizedConv2d():
                self.linear(index, layer, n, size)
            case layers.Flatten():
                self.lines.pop()
                self.lines.append(f"/* {name}: Flatten (row-major as it is) */")
            case layers.LayerNorm():
                weight, bias = self.real(0, "weight", layer.weight), self.real(1, "bias", layer.bias)
                self.call(f"layer_norm({self.in_place(n)}, {n}, {weight}, {bias}, {real(layer.epsilon)})")
            case layers.Relu():
                self.call(f"relu({self.in_place(n)}, {n})")
            case layers.Tanh() | layers.SquashAction():
                self.call(f"tanh_all({self.in_place(n)}, {n})")
            case layers.Sigmoid():
                self.call(f"sigmoid({self.in_place(n)}, {n})")
            case layers.Elu():
                self.call(f"elu({self.in_place(n)}, {n}, {real(layer.alpha)})")
            case layers.LeakyRelu():
                self.call(f"leaky_relu({self.in_place(n)}, {n}, {real(layer.slope)})")
            case layers.Silu():
                self.call(f"silu({self.in_place(n)}, {n})")
            case layers.Gelu():
                self.call(f"gelu({self.in_place(n)}, {n})")
            case layers.HardTanh():
                self.call(f"hard_tanh({self.in_place(n)}, {n}, {real(layer.low)}, {real(layer.high)})")
            case layers.RescaleAction():
                x, scale, offset = (
                    self.in_place(n),
                    self.real(0, "scale", layer.scale),
                    self.real(1, "offset", layer.offset),
                )
                self.call(f"rescale({x}, {n}, {scale}, {_step(layer.scale)}, {offset}, {_step(layer.offset)})")
            case layers.ClipAction():
                x, low, high = self.in_place(n), self.real(0, "low", layer.low), self.real(1, "high", layer.high)
                self.call(f"clip({x}, {n}, {low}, {_step(layer.low)}, {high}, {_step(layer.high)})")
            case layers.ArgmaxAction(sizes=sizes):
                starts = np.cumsum((0, *sizes[:-1]))
                for group, (start, length) in enumerate(zip(starts, sizes, strict=True)):
                    self.call(f"action[{group}] = argmax({self.x}{f' + {start}' if start else ''}, {length})")
            case _:
                assert_never(layer)

    def linear(self, index: int, layer: layers.Linear, n: int, size: int) -> None:
        """Nothing; writes a linear layer."""
        bias = "NULL" if layer.bias is None else self.real(0, "bias", layer.bias)
        target = self.target(index, size)
        if isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d):
            scale = self.real(1, "weight_scale", layer.weight.scale), _step(layer.weight.scale)
            if layer.input is None:
                self.weight_only(layer, bias, scale, target)
            else:
                self.integer(layer, n, bias, scale, target)
        else:
            self.floating(layer, bias, target)
        self.x = target

    def floating(self, layer: layers.Dense | layers.Conv2d, bias: str, target: str) -> None:
        if isinstance(layer, layers.Dense):
            rows, width = layer.weight.shape

            def product(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                return [f"dense_f32({weight}, {bias}, {rows or 1}, {width}, {self.x}, {y});"]

            self.by_row(layer.weight, layer.weight.shape[0], 1, bias, target, product)
        else:
            pixels = int(np.prod(self.out_shape[1:]))

            def convolve(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                return [f"conv2d_f32(&{self.shape(layer, rows)}, {weight}, {bias}, {self.x}, {y});"]

            self.by_row(layer.weight, layer.weight.shape[0], pixels, bias, target, convolve)

    def weight_only(
        self, layer: layers.QuantizedDense | layers.QuantizedConv2d, bias: str, scale: tuple[str, int], target: str
    ) -> None:
        rows = layer.weight.shape[0]
        if isinstance(layer, layers.QuantizedDense):
            width = layer.weight.shape[1]

            def product(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                return [f"dense_f32({weight}, NULL, {rows or 1}, {width}, {self.x}, {y});"]

            self.by_row(layer.weight, rows, 1, bias, target, product, as_float=True)
            self.call(f"scale_rows({target}, {rows}, {scale[0]}, {scale[1]}, {bias})")
        else:
            pixels = int(np.prod(self.out_shape[1:]))

            def convolve(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                one = f"{scale[0]} + row" if scale[1] else scale[0]
                last = (
                    f"scale_rows({y}, {pixels}, {one}, 0, NULL);"
                    if bias == "NULL"
                    else f"rescale({y}, {pixels}, {one}, 0, {bias}, 0);"
                )
                return [f"conv2d_f32(&{self.shape(layer, rows)}, {weight}, NULL, {self.x}, {y});", last]

            self.by_row(layer.weight, rows, pixels, bias, target, convolve, as_float=True)

    def integer(
        self,
        layer: layers.QuantizedDense | layers.QuantizedConv2d,
        n: int,
        bias: str,
        scale: tuple[str, int],
        target: str,
    ) -> None:
        assert layer.input is not None
        top = unsigned_max(layer.input.bits)
        codes = self.need("codes", n)
        static = isinstance(layer.input, layers.StaticRange)
        taps = int(np.prod(layer.weight.shape[1:]))
        largest = top
        if isinstance(layer.input, layers.StaticRange):
            zero_point = layer.input.zero_point
            if isinstance(layer, layers.QuantizedConv2d) and max(layer.padding):
                largest = max(largest, int(np.abs(zero_point.astype(np.int64)).max()))
            stored = constants(layer)["zero_point"]
            zeros = f"{self.name}_zero_point"
            if stored.dtype != np.int32:
                kind = "u8" if stored.dtype == np.uint8 else "i16"
                self.call(f"widen_{kind}({zeros}, {zero_point.size}, {self.need('zero_points', zero_point.size)})")
                zeros = "scratch->zero_points"
            near = int(np.abs(zero_point.astype(np.int64)).max()) <= NEAR_ZERO_POINT
            inverse = self.real(2, "inverse_scale", layer.input.inverse_scale)
            self.call(
                f"quantize_{'static' if near else 'far'}({self.x}, {n}, {inverse}, {_step(layer.input.inverse_scale)}, "
                f"{zeros}, {_step(zero_point)}, {top}, {codes})"
            )
            subtract, factor = "0", "1.0f"
            around = f"{zeros}[0]"
        else:
            subtract, factor = f"{self.name}_zero", f"{self.name}_input_scale"
            self.declare(f"int32_t {subtract};", f"float {factor};")
            self.call(f"{factor} = quantize_dynamic({self.x}, {n}, {top}, {codes}, &{subtract})")
            around = subtract
        if taps * -signed_range(layer.weight.bits)[0] * largest > MAX_SUM:
            raise LilliputError(
                f"{self.name}: sums of {taps} products of {layer.weight.bits}-bit weights do not fit 32 bits; "
                f"the c format needs fewer inputs or an input range nearer to 0"
            )

        def step(text: str, rows: int | None) -> str:
            return f"{text} + row" if rows is None and scale[1] else text

        if isinstance(layer, layers.QuantizedDense):
            width = layer.weight.shape[1]

            def product(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                s = step(scale[0], rows)
                return [
                    f"dense_i8({weight}, {rows or 1}, {width}, {codes}, {subtract}, {s}, {scale[1]}, {factor}, {bias}, {y});"
                ]

            self.by_row(layer.weight, layer.weight.shape[0], 1, bias, target, product)
        else:
            pixels = int(np.prod(self.out_shape[1:]))
            around = around if static or max(layer.padding) else "0"

            def convolve(weight: str, rows: int | None, bias: str, y: str) -> list[str]:
                shape, s = f"&{self.shape(layer, rows)}", step(scale[0], rows)
                return [
                    f"conv2d_i8({shape}, {weight}, {codes}, {subtract}, {around}, {s}, {scale[1]}, {factor}, {bias}, {y});"
                ]

            self.by_row(layer.weight, layer.weight.shape[0], pixels, bias, target, convolve)

    def by_row(
        self,
        weight: np.ndarray | QuantizedTensor,
        rows: int,
        pixels: int,
        bias: str,
        target: str,
        product: Product,
        *,
        as_float: bool = False,
    ) -> None:
        """Nothing; writes `product` once for a plain weight, else in a loop that decodes a row of the weight at a time."""
        stored = store_weight(weight)
        name, width = f"{self.name}_weight", int(np.prod(weight.shape[1:]))
        packed = weight.bits if isinstance(weight, QuantizedTensor) and weight.bits < 8 else 0
        integer = isinstance(weight, QuantizedTensor)
        half = stored.values.dtype == np.float16
        if stored.encoding == "dense" and not packed and not half and not (as_float and integer):
            self.lines += product(name, rows, bias, target)
            return
        lines: list[str] = []
        first, count = "first", "count"
        if stored.values.size == 0:
            self.all_zero(stored, rows, width, bias, target, pixels, product, integer=integer and not as_float)
            return
        match stored.encoding:
            case "dense":
                first, count = f"row * {width}", str(width)
            case "bitmask":
                lines.append(f"size_t count = count_bits({self.name}_mask, row * {width}, {width});")
            case "indexed":
                lines.append(f"size_t count = {self.name}_row_lengths[row];")
            case _:
                assert_never(stored.encoding)
        values = f"{name} + {first}"
        if half:
            lines.append(f"half_to_float({values}, {count}, {self.need('values', width)});")
            values = "scratch->values"
        elif packed:
            lines.append(f"unpack_codes({name}, {packed}, {first}, {count}, {self.need('value_codes', width)});")
            values = "scratch->value_codes"
        if stored.encoding != "dense":
            kind, row = ("i8", self.need("row_codes", width)) if integer else ("f32", self.need("row", width))
            if stored.encoding == "bitmask":
                lines.append(f"spread_bitmask_{kind}({values}, {self.name}_mask, row * {width}, {width}, {row});")
            else:
                index = "u8" if stored.columns.dtype == np.uint8 else "u16"
                lines.append(
                    f"spread_indexed_{index}_{kind}({values}, {self.name}_columns + first, count, {width}, {row});"
                )
            lines.append("first += count;")
            values = row
        if as_float and integer:
            lines.append(f"codes_to_float({values}, {width}, {self.need('row', width)});")
            values = "scratch->row"
        y = f"{target} + row * {pixels}" if pixels > 1 else f"{target} + row"
        lines += product(values, None, bias if bias == "NULL" else f"{bias} + row", y)
        self.declare("size_t row;")
        if stored.encoding != "dense":
            self.declare("size_t first;")
            self.lines.append("first = 0;")
        self.lines += [f"for (row = 0; row < {rows}; row++) {{", *(f"    {line}" for line in lines), "}"]

    def all_zero(
        self,
        stored: StoredWeight,
        rows: int,
        width: int,
        bias: str,
        target: str,
        pixels: int,
        product: Product,
        *,
        integer: bool,
    ) -> None:
        """Nothing; writes a layer whose weights are all zero: its outputs are its biases."""
        kind, row = ("int8_t", self.need("row_codes", width)) if integer else ("float", self.need("row", width))
        self.declare("size_t row;")
        self.lines += [
            f"(void){self.name}_{'mask' if stored.encoding == 'bitmask' else 'row_lengths'}; /* all weights are zero */",
            f"memset({row}, 0, {width} * sizeof({kind}));",
            f"for (row = 0; row < {rows}; row++) {{",
            *(
                f"    {line}"
                for line in product(
                    row, None, bias if bias == "NULL" else f"{bias} + row", f"{target} + row * {pixels}"
                )
            ),
            "}",
        ]

    def shape(self, layer: layers.Conv2d | layers.QuantizedConv2d, rows: int | None) -> str:
        """The name of the convolution's shape, of all its outputs or (None) of one at a time."""
        (channels, height, width), (_, out_height, out_width) = self.in_shape, self.out_shape
        numbers = (
            rows or 1,
            channels,
            height,
            width,
            *layer.weight.shape[2:],
            *layer.stride,
            *layer.padding,
            out_height,
            out_width,
        )
        self.declare(f"const conv2d_shape {self.name}_shape = {{{', '.join(map(str, numbers))}}};")
        return f"{self.name}_shape"

    def add_data(self, name: str, layer: Layer) -> None:
        for part, values in constants(layer).items():
            self.data.append(array(f"{name}_{part}", values))

    def real(self, slot: int, part: str, values: np.ndarray) -> str:
        """The name of a float array, decoded into working memory first where it is stored as half precision."""
        name = f"{self.name}_{part}"
        if values.dtype == np.float16:
            self.call(f"half_to_float({name}, {values.size}, {self.need(f'real_{slot}', values.size)})")
            return f"scratch->real_{slot}"
        return name

    def call(self, text: str) -> None:
        self.lines.append(f"{text};")

    def declare(self, *lines: str) -> None:
        """Nothing; declarations stand in one block at the top."""
        self.declarations += [line for line in lines if line not in self.declarations]

    def need(self, name: str, length: int) -> str:
        """A buffer of working memory, at least so long."""
        self.scratch[name] = max(self.scratch.get(name, 0), length)
        return f"scratch->{name}"

    def target(self, index: int, size: int) -> str:
        """Where a layer of another shape writes: the action for the last of them, else the buffer that is free."""
        if index == self.last_linear and not self.policy.is_discrete:
            return "action"
        return self.need("b" if self.x == "scratch->a" else "a", size)

    def in_place(self, size: int) -> str:
        """The current buffer, which may be written; a copy where it is the caller's observation."""
        if self.x == "observation":
            self.call(f"copy_floats(observation, {size}, {self.need('a', size)})")
            self.x = "scratch->a"
        return self.x


def describe(layer: Layer, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> str:
    """One short line on what a layer is and how it is stored."""
    sizes = f"{'x'.join(map(str, shape))} -> {'x'.join(map(str, out_shape)) or '1'}"
    if not isinstance(layer, layers.Linear):
        return f"{type(layer).__name__}, {sizes}"
    weight = layer.weight
    bits = f"{weight.bits}-bit" if isinstance(weight, QuantizedTensor) else str(weight.dtype)
    encoding = {"dense": "", "bitmask": ", zeros left out (bit mask)", "indexed": ", zeros left out (indices)"}
    return f"{type(layer).__name__}, {sizes}, {bits} weights{encoding[store_weight(weight).encoding]}"


def _step(values: np.ndarray) -> int:
    return 0 if values.shape == () else 1
