"""Which channels of a graph belong together: found by going through it once, and taken out together.

Every channel of every tensor gets the number of a unit. A layer makes new units; what computes each channel by itself
hands them on; a sum of two tensors makes two units one; and what does something else with channels (a graph's output, a
reshape of them, a softmax over them) ties the units that reach it, which then stay. A constant whose axis goes along
channels loses those of the units that go.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from jaxtyping import Bool, Int64

from lilliput.errors import LilliputError

if TYPE_CHECKING:
    import onnx

Numbers = Int64[np.ndarray, " channels"]

_ALONE: Final = frozenset(
    {
        "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Erf", "Exp", "Neg", "Abs", "Sqrt", "Softplus", "HardSigmoid",
        "HardSwish", "Mish", "Gelu", "Identity", "Dropout", "Cast", "Floor", "Ceil", "MaxPool", "AveragePool",
        "GlobalAveragePool", "GlobalMaxPool",
    }
)  # fmt: skip
"""Operators that compute each channel of their first input by itself."""

_PAIRS: Final = frozenset(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu"])
"""Operators that compute each channel from the same channel of all inputs."""


@final
@dataclass(frozen=True, eq=False)
class Carried:
    """The axis of a tensor that goes along channels, and the unit of each."""

    axis: int
    units: Numbers


@final
@dataclass(frozen=True)
class Held:
    """A constant that has an axis along channels: it is cut there; `makes` says whether it makes the units."""

    name: str
    axis: int
    makes: bool


@final
@dataclass(eq=False)
class Channels:
    """What going through a graph has found.

    Attributes:
        held: constants that are cut with their units, with the unit of each place along the axis.
        pads: constants of a padding along channels, with the axis and the units that it adds before and behind.
        shapes: constants that say how rows are made of channels, which need not say how many.
        tied: units that stay, for a reason.
        constants: by name.
    """

    held: list[tuple[Held, Numbers]] = field(default_factory=list)
    pads: list[tuple[str, int, Numbers, Numbers]] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    tied: set[int] = field(default_factory=set)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def new(self, n: int) -> Numbers:
        """So many new units."""
        first = len(self.parent)
        self.parent += range(first, first + n)
        return np.arange(first, first + n)

    def root(self, unit: int) -> int:
        """The unit that stands for all that became one with it."""
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit

    def roots(self, units: Numbers) -> Numbers:
        """Of each."""
        return np.array([self.root(int(unit)) for unit in units], np.int64)

    def join(self, one: Numbers, other: Numbers) -> None:
        """Makes each unit one with the other's at its place."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self.parent[self.root(a)] = self.root(b)

    def tie(self, carried: Carried | None) -> None:
        """Says that these units stay."""
        if carried is not None:
            self.tied.update(carried.units.tolist())

    def free(self) -> frozenset[int]:
        """The roots that nothing ties."""
        tied = set(self.roots(np.array(sorted(self.tied), np.int64)).tolist())
        return frozenset(
            root for held, units in self.held if held.makes for root in self.roots(units).tolist() if root not in tied
        )

    def classes(self) -> list[Numbers]:
        """Free units by the layers that make them: of those that the same layers make, any may go."""
        free, makers = self.free(), dict[int, set[str]]()
        for held, units in self.held:
            if held.makes:
                for root in self.roots(units).tolist():
                    makers.setdefault(root, set()).add(held.name)
        found: dict[frozenset[str], list[int]] = {}
        for root in sorted(free):
            found.setdefault(frozenset(makers[root]), []).append(root)
        return [np.array(units, np.int64) for units in found.values()]

    def importance(self, power: int) -> dict[int, float]:
        """The norm of all weights and biases that make a unit, by its root: 0 where they make nothing but 0."""
        sums: dict[int, float] = {}
        for held, units in self.held:
            if held.makes:
                array = np.moveaxis(self.constants[held.name].astype(np.float64), held.axis, 0)
                each = (np.abs(array) ** power).reshape(len(array), -1).sum(axis=1)
                for root, size in zip(self.roots(units).tolist(), each.tolist(), strict=True):
                    sums[root] = sums.get(root, 0.0) + size
        return {root: size ** (1 / power) for root, size in sums.items()}


def channels_of(proto: "onnx.ModelProto") -> Channels:
    """The channels of a graph whose shapes are known but for the first axis."""
    from onnx import numpy_helper, shape_inference

    inferred = shape_inference.infer_shapes(proto, strict_mode=False, data_prop=True)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    shapes = {value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
              for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)}  # fmt: skip
    found, carried = Channels(constants=constants), dict[str, Carried]()
    walk = _Walk(found, carried, constants, shapes)
    for node in proto.graph.node:
        if any(part.type in (part.GRAPH, part.GRAPHS) for part in node.attribute):
            raise LilliputError(f"prune_units: the graph branches or loops ({node.op_type}), which is not followed")
        walk.step(node)
    for output in proto.graph.output:
        found.tie(carried.get(output.name))
    return found


@final
@dataclass(eq=False)
class _Walk:
    channels: Channels
    carried: dict[str, Carried]
    constants: dict[str, np.ndarray]
    shapes: Mapping[str, list[int | None]]

    def step(self, node: Any) -> None:
        """One node: what its outputs carry, and what it ties."""
        if node.op_type == "Constant":
            from onnx import numpy_helper

            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            return
        made = self._made(node)
        if made is None:
            for name in node.input:
                self.channels.tie(self.carried.get(name))
            return
        self.carried[node.output[0]] = made

    def _made(self, node: Any) -> Carried | None:
        """What the node's output carries; None: nothing is known, and what reaches the node is tied."""
        first = self.carried.get(node.input[0]) if node.input else None
        kind, settings = node.op_type, {part.name: part for part in node.attribute}
        if kind in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self._layer(node, kind, first, settings)
        if kind in _PAIRS:
            return self._pair(node)
        if kind == "Concat":
            return self._concat(node, settings["axis"].i)
        if first is None:
            return None
        match kind:
            case "BatchNormalization" | "InstanceNormalization" if first.axis == 1:
                for at, name in enumerate(node.input[1:]):
                    if name not in self.constants:
                        return None
                    self.channels.held.append((Held(name, 0, at < 2), first.units))
                return first
            case "Clip" if all(self.constants.get(name, np.zeros(2)).size == 1 for name in node.input[1:] if name):
                return first
            case "Pad":
                return self._pad(node, first)
            case "Slice":
                return first if self._leaves(node, first.axis) else None
            case "Resize" if len(node.input) > 2 and node.input[2] in self.constants:
                scales = self.constants[node.input[2]]
                return first if scales.size and scales[first.axis] == 1 else None
            case "ReduceMean" | "ReduceMax" | "ReduceSum":
                return self._reduce(node, first, settings)
            case "Flatten" | "Reshape" | "Squeeze":
                return self._flat(node, first)
            case "Unsqueeze" if len(node.input) > 1 and node.input[1] in self.constants:
                return first if (self.constants[node.input[1]] > first.axis).all() else None
            case _:
                return first if kind in _ALONE else None

    def _layer(self, node: Any, kind: str, first: Carried | None, settings: Mapping[str, Any]) -> Carried | None:
        weight = self.constants.get(node.input[1])
        if weight is None or weight.ndim < 2 or node.input[0] in self.constants:
            return None
        groups = settings["group"].i if "group" in settings else 1
        transposed = kind == "Gemm" and "transB" in settings and settings["transB"].i
        out = 0 if kind == "Conv" or transposed else 1
        axis = 1 if kind != "MatMul" else len(self.shapes.get(node.input[0]) or ()) - 1
        # Channels elsewhere than on the axis that is multiplied pass a MatMul by, which nothing here follows.
        if axis < 1 or (kind == "MatMul" and weight.ndim != 2) or (first is not None and first.axis != axis):
            return None
        if kind == "Gemm" and "transA" in settings and settings["transA"].i:
            return None
        if groups > 1:
            depthwise = kind == "Conv" and weight.shape[1] == 1 and len(weight) == groups
            if not depthwise or first is None:
                return None
            units = first.units
        else:
            if first is not None:
                self.channels.held.append((Held(node.input[1], 1 - out, False), first.units))
            units = self.channels.new(weight.shape[out])
        self.channels.held.append((Held(node.input[1], out, True), units))
        if len(node.input) > 2 and node.input[2]:
            bias = self.constants.get(node.input[2])
            if bias is None or bias.shape not in ((len(units),), (1, len(units))):
                self.channels.tied.update(units.tolist())
            else:
                self.channels.held.append((Held(node.input[2], bias.ndim - 1, True), units))
        return Carried(axis, units)

    def _pair(self, node: Any) -> Carried | None:
        """Sums and products, with constants that broadcast."""
        parts = [self.carried[name] for name in node.input if name in self.carried]
        if not parts:
            return None
        rank = max(len(self.shapes.get(name) or ()) for name in node.input if name in self.carried)
        known = all(len(self.shapes.get(name) or ()) == rank for name in node.input if name in self.carried)
        whole = parts[0]
        if not known or any(part.axis != whole.axis or len(part.units) != len(whole.units) for part in parts):
            return None
        for name in node.input:
            if name in self.carried:
                continue
            if name not in self.constants:
                return None
            place = whole.axis - rank + self.constants[name].ndim
            shape = self.constants[name].shape
            if place >= 0 and shape[place] != 1:
                # A bias makes the unit as its weights do; a factor does not.
                self.channels.held.append((Held(name, place, node.op_type in ("Add", "Sub", "Sum")), whole.units))
        for part in parts[1:]:
            self.channels.join(whole.units, part.units)
        return whole

    def _concat(self, node: Any, axis: int) -> Carried | None:
        parts = [self.carried.get(name) for name in node.input]
        if any(part is None for part in parts):
            return None
        known = [part for part in parts if part is not None]
        rank = len(self.shapes.get(node.input[0]) or ())
        axis = axis + rank if axis < 0 else axis
        if any(part.axis != axis for part in known):
            return None
        return Carried(axis, np.concatenate([part.units for part in known]))

    def _pad(self, node: Any, first: Carried) -> Carried | None:
        """Channels of zeros before and behind are units too: they go where what they are added to goes."""
        pads = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        value = self.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if pads is None or len(node.input) > 3 or (value is not None and np.any(value != 0)):
            return None
        if any(part.name == "mode" and part.s != b"constant" for part in node.attribute):
            return None
        before, behind = int(pads[first.axis]), int(pads[first.axis + len(pads) // 2])
        if before < 0 or behind < 0:
            return None
        if before == behind == 0:
            return first
        units = (self.channels.new(before), first.units, self.channels.new(behind))
        self.channels.pads.append((node.input[1], first.axis, units[0], units[2]))
        return Carried(first.axis, np.concatenate(units))

    def _leaves(self, node: Any, axis: int) -> bool:
        """Whether a slice leaves the axis as it is."""
        axes = self.constants.get(node.input[3]) if len(node.input) > 3 else None
        rank = len(self.shapes.get(node.input[0]) or ())
        return axes is not None and rank > 0 and axis not in [int(one) % rank for one in axes]

    def _reduce(self, node: Any, first: Carried, settings: Mapping[str, Any]) -> Carried | None:
        rank = len(self.shapes.get(node.input[0]) or ())
        given = settings["axes"].ints if "axes" in settings else None
        if given is None and len(node.input) > 1:
            given = self.constants.get(node.input[1])
        if given is None or not rank:
            return None
        axes = [int(axis) % rank for axis in given]
        keeps = settings["keepdims"].i if "keepdims" in settings else 1
        if first.axis in axes:
            return None
        return first if keeps else Carried(first.axis - sum(axis < first.axis for axis in axes), first.units)

    def _flat(self, node: Any, first: Carried) -> Carried | None:
        """Rows of all numbers: each channel's stand together."""
        before, after = self.shapes.get(node.input[0]), self.shapes.get(node.output[0])
        if not before or not after or len(after) != 2 or first.axis != 1 or not all(before[1:]):
            return None
        each = math.prod(n or 1 for n in before[2:])
        if after[1] != (before[1] or 0) * each:
            return None
        if node.op_type == "Reshape":
            target = self.constants.get(node.input[1])
            if target is None or len(target) != 2 or (target[1] != -1 and target[0] not in (0, -1)):
                return None
            self.channels.shapes.append(node.input[1])
        return Carried(1, np.repeat(first.units, each))


def without(
    proto: "onnx.ModelProto", channels: Channels, gone: frozenset[int]
) -> dict[str, dict[int, Bool[np.ndarray, " _"]]]:
    """Which places along which axes of each constant stay; changes the graph to be without the units that go.

    Raises:
        LilliputError: one constant is used along channels in two ways.
    """
    from onnx import helper, numpy_helper

    kept: dict[str, dict[int, np.ndarray]] = {}
    for held, units in channels.held:
        stays = np.array([root not in gone for root in channels.roots(units).tolist()])
        before = kept.setdefault(held.name, {}).setdefault(held.axis, stays)
        if not np.array_equal(before, stays):
            raise LilliputError(f"prune_units: {held.name} is used in two places that would lose different units")
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants = {node.output[0]: node.attribute[0].t for node in proto.graph.node if node.op_type == "Constant"}
    for name, axes in kept.items():
        tensor = stored.get(name) or constants[name]
        array = numpy_helper.to_array(tensor)
        for axis, stays in axes.items():
            array = np.compress(stays, array, axis=axis)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    for name, axis, before, behind in channels.pads:
        pads = channels.constants[name].copy()
        for place, units in ((axis, before), (axis + len(pads) // 2, behind)):
            pads[place] = sum(root not in gone for root in channels.roots(units).tolist())
        (stored.get(name) or constants[name]).CopyFrom(numpy_helper.from_array(pads, name))
    for name in channels.shapes:
        (stored.get(name) or constants[name]).CopyFrom(numpy_helper.from_array(np.array([0, -1], np.int64), name))
    for node in proto.graph.node:
        if node.op_type == "Reshape" and node.input[1] in channels.shapes:
            for zeros in [part for part in node.attribute if part.name == "allowzero"]:
                node.attribute.remove(zeros)  # with it, as torch's newer exporter sets it, 0 is no "as before"
        if node.op_type == "Conv" and (settings := {part.name: part for part in node.attribute}).get("group"):
            weight = stored.get(node.input[1])
            if weight is not None and settings["group"].i > 1 and node.input[1] in kept:
                node.attribute.remove(settings["group"])
                node.attribute.append(helper.make_attribute("group", weight.dims[0]))
    # Shapes that were written down of what is inside are no longer so.
    del proto.graph.value_info[:]
    return kept
