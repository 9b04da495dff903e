"""What becomes of an observation in a file that is a program: one chain of steps, and the values that vary along it.

The readers of ONNX and TorchScript follow the observation through the file's operations. A value that varies (`Flow`)
has a shape with a number of observations in it, as the file sees it, and is some or all elements of what one `Link` of
the chain gives. Reshaping, transposing, cutting and joining are thus numpy's own, done on the numbers of the elements.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer

MAX_ELEMENTS = 1 << 23
"""Numbers of a value, all observations that a file is followed with together."""
MAX_RANK = 8
IDENTITY_OUTPUTS = 64
"""Values that may be rounded to codes where no quantized layer takes them: an identity of codes stands for them."""


class NoLayer(LilliputError):
    """What no policy can hold, whatever kind of file says it: another file of the same network is refused too."""


@final
@dataclass(frozen=True, eq=False)
class Affine:
    """x * scale + shift; float64 of shape (), or one number for each element of an observation's x."""

    scale: np.ndarray
    shift: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Bounds:
    """clip(x, low, high); float64 of shape (), or one number for each element of an observation's x."""

    low: np.ndarray
    high: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Select:
    """The elements of these numbers out of `size`, x taken as one vector, in the shape of the link."""

    index: np.ndarray
    size: int


@final
@dataclass(frozen=True)
class Softmax:
    """Probabilities of choices; the largest is where the largest input is."""


@final
@dataclass(frozen=True)
class Partial:
    """A part of something larger (a layer norm, a GELU), of which no layer is known by itself."""

    what: str


@final
@dataclass(frozen=True, eq=False)
class Codes:
    """Unsigned integer codes of x, less `offset`; `real`: the numbers that they stand for."""

    range: layers.StaticRange | layers.DynamicRange
    offset: int = 0
    real: bool = False


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of products of codes: a quantized layer whose scale is still to come.

    Attributes:
        border: what is to be added for padding by the input's zero point instead of the code 0.
    """

    layer: layers.QuantizedDense | layers.QuantizedConv2d
    border: np.ndarray | None = None


@final
@dataclass(frozen=True)
class Common:
    """x plus one number that is the same for all elements: which is the largest stays."""


@final
@dataclass(frozen=True, eq=False)
class RangePart:
    """A number, or all numbers, on the way from x to the codes of its own range: see `onnx_own_range`.

    Attributes:
        what: as the rules there name it.
        top: the largest code, once it has come in.
        factor: what the codes' scale is multiplied by.
    """

    what: str
    top: int
    factor: np.ndarray


Step = Layer | Affine | Bounds | Select | Softmax | Common | Partial | Codes | Sums | RangePart


@final
@dataclass(frozen=True, eq=False)
class Link:
    """One step of the chain, and the shape of what it gives for one observation.

    Attributes:
        selections: the links that take some of its elements, so that the same ones are one link.
    """

    parent: "Link | None"
    step: Step | None
    shape: tuple[int, ...]
    selections: "dict[tuple[tuple[int, ...], bytes], Link]" = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Numbers that it gives for one observation."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, eq=False)
class Flow:
    """A value that varies with the observation.

    Attributes:
        link: what gives its elements.
        shape: as the file sees it, with the axis of the observations, where it has one.
        rows: how many observations it stands for.
        index: which elements of the link's output an observation has, in order; None: all of them.
    """

    link: Link
    shape: tuple[int, ...]
    rows: int
    index: np.ndarray | None = None


@final
@dataclass(frozen=True, eq=False)
class Choices:
    """Indices of largest elements; `groups` are the elements that each is chosen from."""

    groups: tuple[Flow, ...]
    shape: tuple[int, ...]
    rows: int


Value = Flow | Choices


def observation(shapes: Sequence[tuple[int, ...]], rows: int, *, batched: bool) -> list[Flow]:
    """The inputs of those shapes (of one observation): one array, or parts of one vector."""
    lead = (rows,) if batched else ()
    if len(shapes) == 1:
        return [Flow(Link(None, None, shapes[0]), (*lead, *shapes[0]), rows)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    root = Link(None, None, (int(ends[-1]),))
    parts = zip(shapes, ends, strict=True)
    return [Flow(root, (*lead, *shape), rows, np.arange(end - math.prod(shape), end)) for shape, end in parts]


def steps(link: Link) -> list[Link]:
    """The links from the first step to this one."""
    found: list[Link] = []
    at: Link | None = link
    while at is not None and at.step is not None:
        found.append(at)
        at = at.parent
    return found[::-1]


def settled(flow: Flow) -> Flow:
    """The same value, all elements of its link in order."""
    if flow.index is None:
        return flow
    if flow.index.size == flow.link.size and np.array_equal(flow.index, np.arange(flow.link.size)):
        return replace(flow, index=None)
    inner = flow.shape[1:] if len(flow.shape) > 1 and flow.shape[0] == flow.rows else flow.shape
    key = inner, flow.index.tobytes()
    if key not in flow.link.selections:
        flow.link.selections[key] = Link(flow.link, Select(flow.index, flow.link.size), inner)
    return replace(flow, link=flow.link.selections[key], index=None)


def elementwise(flow: Flow, step: Step, shape: tuple[int, ...] | None = None) -> Flow:
    """A step on each element; `shape`: with other axes of one element."""
    whole = settled(flow)
    return replace(whole, link=Link(whole.link, step, whole.link.shape), shape=shape or flow.shape)


def affine(flow: Flow, scale: np.ndarray | float, shift: np.ndarray | float) -> Flow:
    """The flow times scale plus shift, broadcast as the file does."""
    (s, t), shape = _fitted(flow, scale, shift)
    return elementwise(flow, Affine(s, t), shape)


def bounded(flow: Flow, low: np.ndarray | float, high: np.ndarray | float) -> Flow:
    """clip(flow, low, high), broadcast as the file does."""
    (a, b), shape = _fitted(flow, low, high)
    return elementwise(flow, Bounds(a, b), shape)


def _fitted(flow: Flow, *constants: np.ndarray | float) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The constants as one number, or one for each element of an observation, and the shape with the flow's."""
    arrays = [np.asarray(constant, np.float64) for constant in constants]
    try:
        shape = np.broadcast_shapes(flow.shape, *(array.shape for array in arrays))
    except ValueError:
        shapes = " and ".join(str(list(array.shape)) for array in arrays if array.size != 1)
        raise LilliputError(f"a constant of shape {shapes} for a value of shape {list(flow.shape)}") from None
    if math.prod(shape) != math.prod(flow.shape) or len(shape) > MAX_RANK:
        raise LilliputError(f"a constant spreads a value of shape {list(flow.shape)} to {list(shape)}")
    found = []
    for array in arrays:
        if array.size != 1:
            rows = np.broadcast_to(array, shape).reshape(flow.rows, -1)
            if not (rows == rows[:1]).all():
                raise LilliputError("a constant differs between the observations of a batch")
            array = rows[0] if (rows[0] != rows[0, 0]).any() else rows[0, :1]
        found.append(array.reshape(()) if array.size == 1 else np.array(array))
    return found, shape


def rearranged(flow: Flow, rearrange: Callable[[np.ndarray], np.ndarray], what: str) -> Flow:
    """The flow with its elements as numpy's `rearrange` puts them; each row must stay with its observation."""
    count = math.prod(flow.shape)
    if count > MAX_ELEMENTS:
        raise LilliputError(f"a value of shape {list(flow.shape)} is larger than any policy's")
    try:
        moved = rearrange(np.arange(count).reshape(flow.shape))
    except (ValueError, IndexError, TypeError) as error:
        raise LilliputError(f"{what} of a value of shape {list(flow.shape)} is impossible") from error
    if moved.size > MAX_ELEMENTS or moved.ndim > MAX_RANK:
        raise LilliputError(f"{what} gives a value of shape {list(moved.shape)}, larger than any policy's")
    if not moved.size or moved.size % flow.rows:
        raise LilliputError(f"{what} mixes the observations of a batch")
    table = moved.reshape(flow.rows, -1)
    each = count // flow.rows
    if (table != table[:1] + np.arange(flow.rows)[:, None] * each).any() or (table[0] >= each).any():
        raise LilliputError(f"{what} mixes the observations of a batch")
    index = table[0] if flow.index is None else flow.index[table[0]]
    if flow.index is None and index.size == each and np.array_equal(index, np.arange(each)):
        return replace(flow, shape=moved.shape)
    return replace(flow, shape=moved.shape, index=index)


def reshaped(flow: Value, shape: Sequence[int]) -> Value:
    """The same elements in another shape."""
    if isinstance(flow, Choices):
        count = math.prod(flow.shape)
        new = tuple(count // max(1, -math.prod(shape)) if n == -1 else n for n in shape)
        if math.prod(new) != count:
            raise LilliputError("Reshape of the choices is impossible")
        return replace(flow, shape=new)
    return rearranged(flow, lambda array: array.reshape(tuple(shape)), "Reshape")


def vector(flow: Flow) -> Flow:
    """The same value, its link one vector an observation."""
    whole = settled(flow)
    if len(whole.link.shape) == 1:
        return whole
    return replace(whole, link=Link(whole.link, layers.Flatten(), (whole.link.size,)))


def over_last(flow: Flow, what: str) -> None:
    """Check that the last axis holds all of an observation's elements."""
    if not flow.shape or math.prod(flow.shape[:-1]) != flow.rows:
        raise LilliputError(f"{what} works on parts of an observation, of shape {list(flow.shape)}; supported: on all")


def linear(flow: Flow, layer: layers.Dense | layers.QuantizedDense | Sums, outputs: int) -> Flow:
    """A dense layer over the last axis."""
    over_last(flow, "a linear layer")
    whole = vector(flow)
    return replace(whole, link=Link(whole.link, layer, (outputs,)), shape=(*flow.shape[:-1], outputs))


def convolved(flow: Flow, layer: layers.Conv2d | layers.QuantizedConv2d | Sums) -> Flow:
    """A convolution over the last two axes."""
    shape = flow.shape[-3:]
    if len(flow.shape) < 3 or math.prod(flow.shape[:-3]) != flow.rows:
        raise LilliputError(
            f"a convolution takes a value of shape {list(flow.shape)}; it must be (batch, channels, y, x)"
        )
    link = settled(flow).link
    if link.shape != shape:
        raise LilliputError(f"a convolution takes values of shape {list(link.shape)} as {list(shape)}")
    inner = layer.layer if isinstance(layer, Sums) else layer
    output = layers.output_shape(inner, shape)
    return Flow(Link(link, layer, output), (*flow.shape[:-3], *output), flow.rows)


def joined(parts: Sequence[Value], axis: int) -> Value:
    """The values one behind the other along an axis."""
    rank = max(len(part.shape) for part in parts)
    axis %= max(rank, 1)
    if all(isinstance(part, Choices) for part in parts):
        groups = tuple(group for part in parts if isinstance(part, Choices) for group in part.groups)
        sizes = [math.prod(part.shape) // part.rows for part in parts]
        if len(parts) > 1 and any(
            size != len(part.groups) for size, part in zip(sizes, parts, strict=True) if isinstance(part, Choices)
        ):
            raise LilliputError("Concat of choices whose number is not known")
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        if len(parts) > 1 and math.prod(shape[:axis]) != parts[0].rows:
            raise LilliputError("Concat puts choices of several observations together")
        return Choices(groups, tuple(shape), parts[0].rows)
    flows = [part for part in parts if isinstance(part, Flow)]
    if len(flows) < len(parts):
        raise LilliputError("Concat of choices with other numbers")
    if len({id(flow.link) for flow in flows}) > 1:
        # Parts of the observation beside ones that something was done to.
        flows = [settled(flow) if flow.link.step is None else flow for flow in flows]
    link, offsets = _common([flow.link for flow in flows])
    # The numbers of the elements of all parts in one table: row r of the common link starts at r * link.size.
    tables = []
    for flow, offset in zip(flows, offsets, strict=True):
        index = np.arange(math.prod(flow.shape) // flow.rows) if flow.index is None else flow.index
        rows = np.arange(flow.rows)[:, None] * link.size
        tables.append((rows + index + offset).reshape(flow.shape))
    try:
        moved = np.concatenate(tables, axis)
    except ValueError as error:
        raise LilliputError("Concat of values whose shapes do not fit") from error
    whole = Flow(link, (flows[0].rows, link.size), flows[0].rows)
    return rearranged(whole, lambda _: moved, "Concat")


def _common(links: list[Link]) -> tuple[Link, list[int]]:
    """One link that gives what all of these give, and where each one's outputs begin."""
    first = links[0]
    if all(link is first for link in links):
        return first, [0] * len(links)
    ends = np.cumsum([link.size for link in links])
    offsets = [int(end) - link.size for end, link in zip(ends, links, strict=True)]
    made = [link.step for link in links]
    shape = (int(ends[-1]),)
    if all(isinstance(step, layers.Dense) for step in made) and len({id(link.parent) for link in links}) == 1:
        parts = [step for step in made if isinstance(step, layers.Dense)]
        biases = [np.zeros(len(part.weight), np.float32) if part.bias is None else part.bias for part in parts]
        weight = np.concatenate([part.weight for part in parts])
        return Link(first.parent, layers.Dense(weight, np.concatenate(biases)), shape), offsets
    if all(isinstance(step, Select) for step in made) and len({id(link.parent) for link in links}) == 1:
        index = np.concatenate([step.index for step in made if isinstance(step, Select)])
        assert first.parent is not None
        return settled(Flow(first.parent, shape, 1, index)).link, offsets
    if all(isinstance(step, layers.Activation) for step in made) and len(set(made)) == 1:
        parent, inner = _common([link.parent for link in links if link.parent is not None])
        if parent.shape == shape and inner == offsets:
            return Link(parent, first.step, shape), offsets
    for kind, neutral in ((Affine, (1.0, 0.0)), (Bounds, (-np.inf, np.inf))):
        if any(isinstance(step, kind) for step in made):
            found = [
                (link.parent, vars(link.step).values())
                if isinstance(link.step, kind)
                else (link, map(np.asarray, neutral))
                for link in links
            ]
            parent, inner = _common([above for above, _ in found if above is not None])
            if parent.shape == shape and inner == offsets:
                sizes = [link.size for link in links]
                columns = zip(
                    *(
                        [np.broadcast_to(value, size) for value in values]
                        for (_, values), size in zip(found, sizes, strict=True)
                    ),
                    strict=True,
                )
                return Link(parent, kind(*(np.concatenate(column) for column in columns)), shape), offsets
    raise NoLayer(
        f"Concat joins {len(links)} values of different ways; supported: one chain from observation to action"
    )
