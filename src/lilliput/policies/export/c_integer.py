"""Static layers in integers: which of a policy's layers can, and their constants and calls."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.policies import layers
from lilliput.policies.constants import store_weight, weight_order
from lilliput.policies.export import requantize
from lilliput.policies.export.c_linear import quantize_static
from lilliput.policies.export.c_text import array
from lilliput.policies.export.c_writer import NO_REALS, Writer, step
from lilliput.policies.policy import Policy

_PER_LINE = 6


@final
@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A static layer in integers.

    Attributes:
        gets_codes: whether the layer before it writes its codes.
        requantization: how its sums become codes, None where they become floats.
        following: index of the layer that gets them.
    """

    gets_codes: bool
    requantization: requantize.Requantization | None
    following: int | None


def integer_layers(policy: Policy) -> dict[int, IntegerLayer]:
    """The layers that integers can do, by index."""
    able = [index for index, layer in enumerate(policy.layers) if _is_able(layer)]
    found: dict[int, IntegerLayer] = {}
    for index in able:
        gets_codes = any(before.following == index for before in found.values())
        following, by = _next(policy, index), None
        if following in able:
            layer, last = policy.layers[index], policy.layers[following]
            assert isinstance(layer, layers.QuantizedDense)
            assert isinstance(last, layers.QuantizedDense)
            assert isinstance(last.input, layers.StaticRange)
            by = requantize.requantization(layer, policy.layers[index + 1 : following], last.input)
        if gets_codes or by is not None or _is_whole(policy.layers[index]):
            found[index] = IntegerLayer(gets_codes, by, None if by is None else following)
    return found


def table_bytes(able: dict[int, IntegerLayer]) -> int:
    """Bytes of flash that the tables of curved activations take."""
    tables = [how.requantization.table for how in able.values() if how.requantization is not None]
    return sum(table.nbytes for table in tables if table is not None)


def _is_able(layer: layers.Layer) -> bool:
    if not isinstance(layer, layers.QuantizedDense) or not isinstance(layer.input, layers.StaticRange):
        return False
    if store_weight(layer.weight, weight_order(layer)).encoding != "dense":
        return False
    return requantize.is_paired(layer) if _is_whole(layer) else requantize.is_short(layer)


def _is_whole(layer: layers.Layer) -> bool:
    """Whether the weights are bytes, which have kernels of their own; packed ones are read field by field."""
    return isinstance(layer, layers.QuantizedDense) and layer.weight.bits == 8


def _next(policy: Policy, index: int) -> int:
    following = index + 1
    while following < len(policy.layers) - 1 and isinstance(policy.layers[following], layers.Activation):
        following += 1
    return following


def weight_array(name: str, layer: layers.QuantizedDense) -> str:
    """The definition of a weight whose columns stand four by four: the processor's way of storing them is chosen late.

    >>> import numpy as np
    >>> from lilliput.policies.affine import QuantizedTensor
    >>> weight = QuantizedTensor(np.int8([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]), np.array(1, np.float32), 8)
    >>> range_ = layers.StaticRange(np.array(1, np.float32), np.array(0, np.int32))
    >>> print(weight_array("w", layers.QuantizedDense(weight, None, range_)))
    ALIGNED static const FLASH weight_code w[] = {
        W4(1, 2, 3, 4), W4(6, 7, 8, 9), W1(5), W1(10),
    };
    <BLANKLINE>
    """
    rows, order = layer.weight.values, weight_order(layer)
    texts: list[str] = []
    for start in range(0, len(rows), order.rows):
        for column in range(0, rows.shape[1], 4):
            for row in rows[start : start + order.rows, column : column + 4].tolist():
                texts.append(f"W{len(row)}({', '.join(map(str, row))})")
    lines = [", ".join(texts[i : i + _PER_LINE]) for i in range(0, len(texts), _PER_LINE)]
    return "\n".join(
        [f"ALIGNED static const FLASH weight_code {name}[] = {{", *(f"    {line}," for line in lines), "};\n"]
    )


def integer_constants(name: str, layer: layers.QuantizedDense, how: IntegerLayer) -> dict[str, str]:
    """Definitions of what only integers need, by name."""
    by, middle = how.requantization, requantize.centre(layer.weight.values)
    if by is None and not _is_whole(layer):
        return {}
    if by is None:
        texts = [f"BY_COUNT(0, {value})" for value in middle.tolist()]
        return {f"{name}_centre": _listed(f"int32_t {name}_centre", texts)}
    stored = pairs_of_integers(
        f"{name}_requantize", by.multiplier, by.offset, by.centred_offset if _is_whole(layer) else None
    )
    found = {f"{name}_requantize": stored}
    if by.table is not None:
        found[f"{name}_first"] = array(f"{name}_first", by.table.first)
        found[f"{name}_steps"] = array(f"{name}_steps", by.table.steps)
    return found


def pairs_of_integers(name: str, multiplier: np.ndarray, offset: np.ndarray, centred: np.ndarray | None = None) -> str:
    """The definition of a multiplier and an offset a row; `centred`: other offsets, for kernels of pairs of weights."""
    offsets = [str(one) for one in offset.tolist()]
    if centred is not None:
        offsets = [f"BY_COUNT({one}, {other})" for one, other in zip(offsets, centred.tolist(), strict=True)]
    texts = [f"{{{one}, {other}}}" for one, other in zip(multiplier.tolist(), offsets, strict=True)]
    return _listed(f"requantize_row {name}", texts)


def _listed(declared: str, texts: list[str]) -> str:
    lines = [", ".join(texts[i : i + 3]) for i in range(0, len(texts), 3)]
    return "\n".join([f"static const FLASH {declared}[{len(texts)}] = {{", *(f"    {line}," for line in lines), "};\n"])


def integer_linear(writer: Writer, layer: layers.QuantizedDense, how: IntegerLayer) -> None:
    """Write a static layer in integers."""
    (rows, width), name = layer.weight.shape, writer.name
    assert isinstance(layer.input, layers.StaticRange)
    if not how.gets_codes:
        quantize_static(writer, layer.input, writer.need("codes", fours(width)))
        writer.x = "scratch->codes"
    by, codes = how.requantization, writer.x
    if by is None:
        target = writer.target(rows)
        bias = NO_REALS if layer.bias is None else writer.real(0, "bias", layer.bias)
        scale = f"{writer.real(1, 'weight_scale', layer.weight.scale)}, {step(layer.weight.scale)}"
        if _is_whole(layer):
            writer.call("dense_to_floats", f"{_given(writer, layer, codes)}, {name}_centre, {scale}, {bias}, {target}")
        else:
            writer.call("dense_packed", f"{_given(writer, layer, codes)}, 0, {scale}, 1.0f, {bias}, {target}")
        writer.x = target
        return
    kind = "dense" if _is_whole(layer) else "packed"
    target = writer.need("next_codes" if codes == "scratch->codes" else "codes", fours(rows))
    up = "" if _is_whole(layer) else f", {by.up}"
    given = f"{_given(writer, layer, codes)}{up}, {name}_requantize"
    if by.table is None:
        writer.call(f"{kind}_to_codes", f"{given}, {by.shift}, {by.low}, {by.high}, {target}")
    else:
        found, table = by.table, f"{name}_table"
        writer.declare(f"const code_table {table} = {{{name}_first, {name}_steps, {found.shift}}};")
        writer.call(f"{kind}_to_table", f"{given}, {table}, {found.late}, {found.falling}, {found.low}, {target}")
    writer.x = target


def _given(writer: Writer, layer: layers.QuantizedDense, codes: str) -> str:
    """What kernels are told of a weight and its input."""
    (rows, width), name = layer.weight.shape, writer.name
    if not _is_whole(layer):
        return f"{name}_weight, {layer.weight.bits}, {rows}, {width}, {codes}"
    pairs = writer.need("pairs", fours(width) // 2)
    return f"{name}_weight, {rows}, {width}, integer_input({codes}, {width}, {pairs})"


def fours(width: int) -> int:
    """The next multiple of four."""
    return (width + 3) // 4 * 4
