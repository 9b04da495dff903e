"""The C of a policy that is called with integers and answers with integers: no float is linked."""

from itertools import pairwise
from typing import assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers
from lilliput.policies.export import fixed, requantize
from lilliput.policies.export.c_fixed_data import FixedData, is_paired
from lilliput.policies.export.c_integer import fours
from lilliput.policies.export.c_source import CSource
from lilliput.policies.export.c_writer import SCRATCH, Writer
from lilliput.policies.fixed_point import FixedPoint
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

_FEW_WEIGHTS = 256
"""So many weights in all are multiplied one by one, which is the least code."""
_INT32_MAX = (1 << 31) - 1
_ALL = -_INT32_MAX, _INT32_MAX
_BEFORE_A_CURVE = -(1 << 29) + 1, (1 << 29) - 1
"""What goes into tanh and the like is saturated there: 2^13 in units of 2^-16."""
_CODE_BITS = 7
"""A code is rounded with so many bits behind the point, or by 64 bits."""
_UNIT_BITS = 27
"""Of the largest value that choices are made among."""
_Curve = layers.Tanh | layers.SquashAction | layers.Sigmoid | layers.Silu


def generate_fixed(policy: Policy, units: FixedPoint) -> CSource:
    """The C between integers.

    Raises:
        LilliputError: integers cannot do the policy.
    """
    writer = _Fixed(policy, units)
    writer.all()
    return writer.source()


@final
class _Fixed:
    """Writes the layers in their order."""

    def __init__(self, policy: Policy, units: FixedPoint) -> None:
        self.policy, self.units, self.parts = policy, units, fixed.parts_of(policy)
        self.writer = Writer(policy)
        self.data = FixedData()
        self.is_choice = policy.is_discrete
        blocks = self.parts.blocks
        n_weights = sum(block.layer.weight.values.size for block in blocks)
        curves = [
            [one for one in block.between if not isinstance(one, layers.Relu | layers.HardTanh)] for block in blocks
        ]
        simple = all(len(ones) <= 1 and all(isinstance(one, _Curve) for one in ones) for ones in curves)
        self.is_small = n_weights <= _FEW_WEIGHTS and simple and all(_has_one_range(block) for block in blocks[1:])
        self.unit = 0
        self.number = "i16" if units.observation == "int16" else "i32"

    def source(self) -> CSource:
        """What was written."""
        writer = self.writer
        return CSource(
            data=self.data.texts,
            body="".join(f"    {line}\n" if line else "\n" for line in [*writer.declarations, *writer.lines]),
            kernels=frozenset(writer.kernels),
            scratch=tuple(
                (kind, name, writer.scratch[name]) for name, kind in SCRATCH.items() if name in writer.scratch
            ),
            stores_halves=False,
            mixes_memories=False,
            state={},
            reset=(),
            table_bytes=self.data.table_bytes,
            input_type="int16_t" if self.units.observation == "int16" else "int32_t",
            action_type="int32_t",
            units=self.units,
            constant_bytes=self.data.nbytes,
        )

    def all(self) -> None:
        """Write everything."""
        first = self.parts.blocks[0]
        self._about(first.index)
        if first.layer.input is None:
            self._sums_of_numbers(first)
        else:
            self._codes_of_numbers(first)
        for block, following in pairwise(self.parts.blocks):
            self._hidden(block, following)
            self._about(following.index)
        self._last(self.parts.blocks[-1])

    def _about(self, index: int) -> None:
        writer = self.writer
        writer.index, writer.name = index, f"layer{index}"
        layer = self.policy.layers[index]
        assert isinstance(layer, layers.QuantizedDense)
        outputs, inputs = layer.weight.shape
        writer.comment(f"{writer.name}: {inputs} -> {outputs}, {layer.weight.bits}-bit weights")

    # What is read.

    def _gathered(self, shifts: np.ndarray | None) -> str:
        """The numbers that are read, in one unit."""
        if self.parts.indices is None and shifts is None:
            return "observation"
        indices, shifted = "NULL", "NULL"
        if self.parts.indices is not None:
            indices = "inputs"
            self.data.store(indices, self.parts.indices.astype(np.uint16))
        if shifts is not None:
            shifted = "shifts"
            self.data.store(shifted, shifts.astype(np.uint8))
        n = self.parts.n_inputs
        target = self.writer.need("inputs", n)
        self.writer.call(f"fixed_gather_{self.number}", f"observation, {indices}, {shifted}, {n}, {target}")
        self.number = "i32"
        return target

    def _sums_of_numbers(self, block: fixed.Block) -> None:
        """Sums of a layer whose weights alone are quantized."""
        writer, layer = self.writer, block.layer
        self.unit, limit = fixed.sum_unit(self.parts, self.units, self.is_choice)
        if self.units.observation == "int16":
            bits = np.array(self.units.fraction_bits)
            bits = bits if self.parts.indices is None else bits[self.parts.indices]
            shifts = self.unit - bits
            x = self._gathered(shifts if shifts.any() else None)
        else:
            x = self._gathered(None)
        rows, width = layer.weight.shape
        bits = self.data.row_major(f"{writer.name}_weight", layer)
        sums = writer.need("sums", rows)
        if self.units.observation == "int16":
            writer.call(f"fixed_sums_{self.number}", f"{bits}, {writer.name}_weight, {rows}, {width}, {x}, {sums}")
        else:
            if width > 255:
                raise LilliputError(f"--observation q16.16: sums of {width} products do not fit; take int16")
            given = f"{bits}, {writer.name}_weight, {rows}, {width}, {x}, {self.unit}, {limit}, {sums}"
            writer.call("fixed_sums_q16", given)

    def _codes_of_numbers(self, block: fixed.Block) -> None:
        """Codes of what is read."""
        writer, parts = self.writer, self.parts
        assert isinstance(block.layer.input, layers.StaticRange)
        slope, offset = fixed.standardized(parts, block.layer.input)
        low, high = fixed.ends(parts, block.layer.input)
        bits = np.array(self.units.fraction_bits)
        slope = slope * 2.0 ** -(bits if parts.indices is None else bits[parts.indices]).astype(np.float64)
        x = self._gathered(None)
        n = parts.n_inputs
        by = fixed.short(slope, offset) if self.units.observation == "int16" else None
        kernel = f"fixed_codes_{self.number}" if by is not None else f"fixed_codes_wide_{self.number}"
        by = by or fixed.straight(slope, offset)
        self.data.rows(f"{writer.name}_codes", by)
        codes = writer.need("codes", fours(n))
        writer.call(kernel, f"{x}, {n}, {writer.name}_codes, {by.shift}, {low}, {high}, {codes}")
        writer.x = codes

    # Layers.

    def _slope(self, block: fixed.Block) -> tuple[np.ndarray, np.ndarray]:
        """What a sum stands for: its slope and offset, a row."""
        weight, rows = block.layer.weight, block.layer.weight.shape[0]
        unit = 2.0**-self.unit if block.layer.input is None else 1.0
        slope = np.broadcast_to(weight.scale.astype(np.float64) * unit, rows)
        bias = np.zeros(rows) if block.layer.bias is None else block.layer.bias.astype(np.float64)
        return slope, bias

    def _summed(self, block: fixed.Block) -> str:
        """Where the sums stand, which are written one by one."""
        layer, writer = block.layer, self.writer
        rows, width = layer.weight.shape
        sums = writer.need("sums", rows)
        if layer.input is not None:
            bits = self.data.row_major(f"{writer.name}_weight", layer)
            kind = "i32" if writer.x.endswith("numbers") else "u8"
            writer.call(f"fixed_sums_{kind}", f"{bits}, {writer.name}_weight, {rows}, {width}, {writer.x}, {sums}")
        return sums

    def _hidden(self, block: fixed.Block, following: fixed.Block) -> None:
        assert isinstance(following.layer.input, layers.StaticRange)
        if self.is_small:
            self._hidden_small(block, following.layer.input)
        else:
            self._hidden_large(block, following.layer.input)

    def _hidden_small(self, block: fixed.Block, range_: layers.StaticRange) -> None:
        """Codes of the next layer as numbers of 32 bits, by as little code as there is."""
        writer, rows = self.writer, block.layer.weight.shape[0]
        sums, numbers = self._summed(block), writer.need("numbers", rows)
        slope, bias = self._slope(block)
        scale, zero = range_.inverse_scale.astype(np.float64), range_.zero_point.astype(np.float64)
        low, high = fixed.codes(block.between, range_, np.array([-1e30, 1e30], np.float32))
        curve = next((one for one in block.between if isinstance(one, _Curve)), None)
        if curve is None:
            line = fixed.Line(slope * scale, bias * scale + zero, self._farthest_sum(block), _CODE_BITS)
            self._to_fixed(f"{writer.name}_requantize", line, sums, rows, (low, high), numbers)
        else:
            real = fixed.Line(slope * 65536, bias * 65536, self._farthest_sum(block))
            self._to_fixed(f"{writer.name}_real", real, sums, rows, _BEFORE_A_CURVE, numbers)
            writer.call(_kernel(curve), f"{numbers}, {rows}")
            farthest = 65536.0
            if isinstance(curve, layers.Silu):
                largest = float((np.abs(real.slope) * real.farthest + np.abs(real.offset)).max())
                farthest = min(float(_BEFORE_A_CURVE[1]), largest)
            line = fixed.Line(np.atleast_1d(scale / 65536), np.atleast_1d(zero), farthest, _CODE_BITS)
            ends = 0, affine.unsigned_max(range_.bits)
            self._to_fixed(f"{writer.name}_requantize", line, numbers, rows, ends, numbers)
        writer.x = numbers

    def _hidden_large(self, block: fixed.Block, range_: layers.StaticRange) -> None:
        """Codes of the next layer by the kernels that are fast, and by tables of what is curved."""
        writer, layer = self.writer, block.layer
        rows = layer.weight.shape[0]
        sums = "" if layer.input is not None else writer.need("sums", rows)
        of_numbers = requantize.Sums(self._all_sums(block), unit=2.0**-self.unit) if sums else None
        by = requantize.requantization(layer, block.between, range_, of_numbers)
        if by is None:
            raise LilliputError(
                f"--observation: integers cannot make codes of the sums of layer {block.index}: the next has an input "
                'range for each input, or scales are too far apart; quantize(scheme="static") with input="per_tensor"'
            )
        paired = not sums and is_paired(layer)
        name = writer.name
        self.data.rows(f"{name}_requantize", by, by.centred_offset if paired else None)
        given = f"{sums}, {rows}, 0" if sums else self.data.blocks(writer, layer)
        if not sums and not paired:
            given += f", {by.up}"
        kind = "rows" if sums else "dense" if paired else "packed"
        target = writer.need("next_codes" if writer.x == "scratch->codes" else "codes", fours(rows))
        given += f", {name}_requantize"
        if by.table is None:
            writer.call(f"{kind}_to_codes", f"{given}, {by.shift}, {by.low}, {by.high}, {target}")
        else:
            table = by.table
            self.data.table(name, table)
            writer.declare(f"const code_table {name}_table = {{{name}_first, {name}_steps, {table.shift}}};")
            called = f"{given}, {name}_table, {table.late}, {table.falling}, {table.low}, {target}"
            writer.call(f"{kind}_to_table", called)
        writer.x = target

    # The action.

    def _last(self, block: fixed.Block) -> None:
        """The action, from the sums of the last linear layer."""
        writer, head = self.writer, list(self.parts.head)
        rows = block.layer.weight.shape[0]
        slope, bias = self._slope(block)
        if self.is_choice:
            self._choice(block, slope, bias)
            return
        if head and isinstance(head[0], layers.RescaleAction):
            rescale = head.pop(0)
            assert isinstance(rescale, layers.RescaleAction)
            factor = rescale.scale.astype(np.float64)
            slope, bias = slope * factor, bias * factor + rescale.offset.astype(np.float64)
        ends = _BEFORE_A_CURVE if any(isinstance(layer, _Curve) for layer in head) else _ALL
        if head and isinstance(head[0], layers.ClipAction) and _is_one(head[0].low) and _is_one(head[0].high):
            low, high = (int(fixed.action_integers(end).flat[0]) for end in (head[0].low, head[0].high))
            ends = low, high
            head.pop(0)
        line = fixed.Line(slope * 65536, bias * 65536, self._farthest_sum(block))
        self._from_sums(block, line, ends, "action")
        writer.name = "action"
        for layer in head:
            self._behind(layer, rows)

    def _from_sums(self, block: fixed.Block, line: fixed.Line, ends: tuple[int, int], target: str) -> None:
        """Write numbers of 32 bits from the sums of a layer."""
        writer, layer = self.writer, block.layer
        rows, name = layer.weight.shape[0], f"{writer.name}_real"
        if self.is_small or layer.input is None:
            self._to_fixed(name, line, self._summed(block), rows, ends, target)
            return
        paired = is_paired(layer)
        by = fixed.scaled(line.slope, line.offset, line.farthest, 0)
        if by is None:
            raise LilliputError(f"--observation: the outputs of layer {block.index} are too far apart for 32 bits")
        centred = by.offset + np.rint(line.slope * requantize.centre(layer.weight.values) * 2.0**by.shift).astype(int)
        if np.abs(centred).max() > _INT32_MAX:
            raise LilliputError(f"--observation: the outputs of layer {block.index} are too far apart for 32 bits")
        self.data.rows(name, by, centred if paired else None)
        kernel = "dense_to_fixed" if paired else "packed_to_fixed"
        given = f"{self.data.blocks(writer, layer)}, {name}, {by.up}, {by.shift}"
        writer.call(kernel, f"{given}, {ends[0]}, {ends[1]}, {target}")

    def _to_fixed(self, name: str, line: fixed.Line, sums: str, n: int, ends: tuple[int, int], target: str) -> None:
        """Write numbers of 32 bits from numbers of 32 bits."""
        step = 0 if len(line.slope) == 1 else 1
        by = fixed.scaled(line.slope, line.offset, line.farthest, line.least_bits)
        if by is not None:
            self.data.rows(name, by)
            shifts, kernel = f"{by.up}, {by.shift}", "rows_to_fixed"
        else:
            wide = fixed.straight(line.slope, line.offset)
            self.data.rows(name, wide)
            shifts, kernel = str(wide.shift), "rows_to_fixed_wide"
        self.writer.call(kernel, f"{sums}, {n}, {name}, {step}, {shifts}, {ends[0]}, {ends[1]}, {target}")

    def _farthest_sum(self, block: fixed.Block) -> float:
        """How large a sum becomes."""
        return float(np.abs(self._all_sums(block)).max())

    def _choice(self, block: fixed.Block, slope: np.ndarray, bias: np.ndarray) -> None:
        writer, rows = self.writer, block.layer.weight.shape[0]
        *front, last = self.parts.head
        if not isinstance(last, layers.ArgmaxAction) or not all(isinstance(one, layers.Flatten) for one in front):
            raise LilliputError("--observation: what stands in front of the choice is not in integers yet")
        if block.layer.input is None and np.ptp(slope) == 0:
            values, offsets = writer.need("sums", rows), f"{writer.name}_offset"
            stored = np.rint(bias / slope)
            if np.abs(stored).max() > 1 << 29:
                raise LilliputError("--observation: a bias is too large for 32 bits beside its weights")
            self.data.store(offsets, stored.astype(np.int32))
        else:
            reach = np.abs(self._all_sums(block) * slope).max() + np.abs(bias).max()
            unit = 2.0 ** np.floor(_UNIT_BITS - np.log2(max(reach, 1e-30)))
            values, offsets = writer.need("numbers", rows), "NULL"
            self._from_sums(block, fixed.Line(slope * unit, bias * unit, self._farthest_sum(block)), _ALL, values)
        starts = np.cumsum((0, *last.sizes[:-1]))
        for group, (start, length) in enumerate(zip(starts, last.sizes, strict=True)):
            at = f" + {start}" if start else ""
            given = f"{values}{at}, {offsets if offsets == 'NULL' else offsets + at}, {length}"
            writer.lines.append(f"action[{group}] = {writer.kernel('fixed_argmax', given)};")

    def _all_sums(self, block: fixed.Block) -> np.ndarray:
        if block.layer.input is None:
            return fixed.reach(self.parts, self.units, self.is_choice)
        return requantize.reach(block.layer)

    def _behind(self, layer: Layer, n: int) -> None:
        """Write a layer behind the last linear one."""
        writer = self.writer
        match layer:
            case layers.Tanh() | layers.SquashAction() | layers.Sigmoid() | layers.Silu():
                writer.call(_kernel(layer), f"action, {n}")
            case layers.RescaleAction(scale=one, offset=other):
                self._arrays("rescale", n, ("scale", one), ("offset", other))
            case layers.ClipAction(low=one, high=other):
                self._arrays("clip", n, ("low", one), ("high", other))
            case layers.Relu():
                self._arrays("clip", n, ("low", np.array(0.0)), ("high", np.array(32767.0)))
            case layers.HardTanh(low=low, high=high):
                self._arrays("clip", n, ("low", np.array(low)), ("high", np.array(high)))
            case _:
                raise LilliputError(f"--observation: {type(layer).__name__} of the action is not in integers yet")

    def _arrays(self, kind: str, n: int, *named: tuple[str, np.ndarray]) -> None:
        given = []
        for part, values in named:
            name = f"{kind}_{part}"
            self.data.store(name, np.atleast_1d(fixed.action_integers(np.clip(values, -32767, 32767))))
            given += [name, str(int(values.ndim > 0))]
        self.writer.call(f"fixed_{kind}", f"action, {n}, {', '.join(given)}")


def _kernel(curve: _Curve) -> str:
    """What computes it, in place."""
    match curve:
        case layers.Tanh() | layers.SquashAction():
            return "fixed_tanh_all"
        case layers.Sigmoid():
            return "fixed_sigmoid_all"
        case layers.Silu():
            return "fixed_silu_all"
        case _:
            assert_never(curve)


def _has_one_range(block: fixed.Block) -> bool:
    """Whether all inputs of a layer share a range."""
    return isinstance(block.layer.input, layers.StaticRange) and block.layer.input.inverse_scale.shape == ()


def _is_one(values: np.ndarray) -> bool:
    return bool(np.ptp(values) == 0) and bool(np.isfinite(values).all())
