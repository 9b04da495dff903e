"""Where values of one chain meet again: SiLU, GELU, layer normalization, log-probabilities, a dueling head, means."""

import math
from collections.abc import Sequence

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load.flow import (
    Affine,
    Common,
    Flow,
    Link,
    NoLayer,
    Partial,
    Softmax,
    affine,
    elementwise,
    rearranged,
    settled,
)

ERF, MEAN, CENTRED, SQUARE, ROOT, LOG_SUM_EXP = (
    Partial(what) for what in ("Erf", "ReduceMean", "x - mean(x)", "a square", "Sqrt", "ReduceLogSumExp")
)

SELU = (1.6732632423543772, 1.0507009873554805)
"""Its alpha and its scale."""

_ONE_CHAIN = "supported: one chain from observation to action"


def reduced(flow: Flow, what: Partial, axes: Sequence[int], *, keep: bool) -> Flow:
    """One number of all elements of an observation."""
    shape = _without(flow, axes, keep=keep)
    if math.prod(shape) != flow.rows:
        also = ", and of a linear layer's outputs (QR-DQN's quantiles)" if what == MEAN else ""
        raise LilliputError(f"{what.what} of parts of an observation; supported: of all of it{also}")
    return Flow(Link(settled(flow).link, what, (1,)), shape, flow.rows)


def averaged(flow: Flow, axes: Sequence[int], *, keep: bool) -> Flow:
    """The mean over axes: one number of all of an observation, or means of a linear layer's outputs, as of quantiles.

    Raises:
        LilliputError: means of parts of anything else.
    """
    shape = _without(flow, axes, keep=keep)
    layer, parent = _dense(flow.link)
    if math.prod(shape) == flow.rows or layer is None:
        return reduced(flow, MEAN, axes, keep=keep)
    over = [axis % len(flow.shape) for axis in axes]
    ahead = [i for i in range(len(flow.shape)) if i not in over]
    # The elements of each mean stand together then.
    moved = rearranged(flow, lambda array: array.transpose(*ahead, *over), "ReduceMean")
    index = np.arange(math.prod(flow.shape) // flow.rows) if moved.index is None else moved.index
    groups = index.reshape(math.prod(shape) // flow.rows, -1)
    weight = layer.weight[groups].mean(axis=1, dtype=np.float64).astype(np.float32)
    bias = None if layer.bias is None else layer.bias[groups].mean(axis=1, dtype=np.float64).astype(np.float32)
    return Flow(Link(parent, layers.Dense(weight, bias), (len(groups),)), shape, flow.rows)


def _dense(link: Link) -> tuple[layers.Dense | None, Link | None]:
    """The linear layer that gives the link's elements, a bias that is added behind it taken in, and what it takes."""
    match link.step, link.parent:
        case layers.Dense() as layer, parent:
            return layer, parent
        case Affine(scale=scale, shift=shift), Link(step=layers.Dense(weight=weight, bias=None)) as above:
            if scale.shape == () and scale == 1:
                bias = np.broadcast_to(shift, len(weight)).astype(np.float32)
                return layers.Dense(weight, np.ascontiguousarray(bias)), above.parent
    return None, None


def _without(flow: Flow, axes: Sequence[int], *, keep: bool) -> tuple[int, ...]:
    """The shape that is left of the flow's where those axes are reduced."""
    at = {axis % len(flow.shape) for axis in axes}
    return tuple(1 if i in at else n for i, n in enumerate(flow.shape) if keep or i not in at)


def scaled_elu(x: Flow, alpha: float, scale: float, input_scale: float) -> Flow:
    """SELU, and CELU of any alpha, by an ELU: scale * x where x > 0, else scale * alpha * (exp(input_scale * x) - 1).

    Raises:
        LilliputError: an input scale that is not above 0.
    """
    if not input_scale > 0 or not math.isfinite(input_scale):
        raise NoLayer(f"an ELU whose input is scaled by {input_scale:g}; supported: by more than 0")
    inner = x if input_scale == 1 else affine(x, input_scale, 0.0)
    made = elementwise(inner, layers.Elu(alpha * input_scale))
    outer = scale / input_scale
    return made if outer == 1 else affine(made, outer, 0.0)


def product(first: Flow, second: Flow) -> Flow:
    """The product of two values: SiLU (x * sigmoid(x)), GELU (x * (1 + erf(x / sqrt 2)) / 2) or the square of one."""
    first, second = settled(first), settled(second)
    if first.shape == second.shape:
        if first.link is second.link:
            return elementwise(first, SQUARE)
        for x, gate in ((first, second), (second, first)):
            found = _silu(x, gate) or _gelu(x, gate)
            if found is not None:
                return found
    raise NoLayer(f"Mul joins two values ({_ONE_CHAIN}, SiLU and GELU in it)")


def _silu(x: Flow, gate: Flow) -> Flow | None:
    for sigmoid, outer in _scaled(gate.link):
        if isinstance(sigmoid.step, layers.Sigmoid) and sigmoid.parent is not None:
            for link, inner in _scaled(x.link):
                if link is sigmoid.parent:
                    whole = Flow(Link(sigmoid.parent, layers.Silu(), sigmoid.shape), x.shape, x.rows)
                    return whole if inner * outer == 1 else affine(whole, inner * outer, 0.0)
    return None


def _gelu(x: Flow, gate: Flow) -> Flow | None:
    for link, outer in _scaled(gate.link):
        step = link.step
        if not isinstance(step, Affine) or step.scale.shape or step.shift.shape or step.scale != step.shift:
            continue
        erf = link.parent
        if erf is None or erf.step != ERF or erf.parent is None:
            continue
        for argument, by in _scaled(erf.parent):
            for link_x, inner in _scaled(x.link):
                if link_x is argument and abs(by * math.sqrt(2) - 1) < 1e-6:
                    whole = Flow(Link(argument, layers.Gelu(), argument.shape), x.shape, x.rows)
                    factor = 2 * inner * outer * float(step.scale)
                    return whole if abs(factor - 1) < 1e-6 else affine(whole, factor, 0.0)
    return None


def _scaled(link: Link) -> list[tuple[Link, float]]:
    """The link, and those that it is a multiple of."""
    found, scale = [(link, 1.0)], 1.0
    while (
        isinstance(link.step, Affine) and link.parent is not None
        and not link.step.scale.shape and not link.step.shift.shape and link.step.shift == 0
    ):  # fmt: skip
        scale *= float(link.step.scale)
        link = link.parent
        found.append((link, scale))
    return found


def quotient(first: Flow, second: Flow) -> Flow:
    """The quotient of two values: (x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + epsilon), a layer norm."""
    root, centred = second.link, settled(first).link
    added = root.parent
    if root.step == ROOT and added is not None and isinstance(added.step, Affine) and centred.step == CENTRED:
        mean = added.parent
        square = None if mean is None or mean.step != MEAN else mean.parent
        plain = added.step.scale.shape == added.step.shift.shape == () and added.step.scale == 1
        if plain and square is not None and square.step == SQUARE and square.parent is centred:
            one = np.ones(centred.size, np.float32)
            assert centred.parent is not None
            norm = layers.LayerNorm(one, 0 * one, float(added.step.shift))
            return Flow(Link(centred.parent, norm, centred.shape), first.shape, first.rows)
    raise NoLayer(f"Div joins two values ({_ONE_CHAIN}, layer normalization in it)")


def difference(first: Flow, second: Flow) -> Flow:
    """The difference of two values: x - mean(x), log-probabilities, or x less one number for all."""
    first = settled(first)
    if second.link.parent is first.link and second.link.step == LOG_SUM_EXP:
        return elementwise(first, Softmax())
    if second.link.parent is first.link and second.link.step == MEAN:
        return elementwise(first, CENTRED)
    if _spreads(second, first):
        return elementwise(first, Common())
    raise NoLayer(f"Sub joins two values ({_ONE_CHAIN})")


def total(first: Flow, second: Flow) -> Flow:
    """The sum of two values: x plus one number for all, as the state's value in a dueling network."""
    for x, one in ((first, second), (second, first)):
        if _spreads(one, x):
            return elementwise(x, Common())
    raise NoLayer(f"Add joins two values ({_ONE_CHAIN}: no residual connections)")


def _spreads(one: Flow, x: Flow) -> bool:
    try:
        shape = np.broadcast_shapes(one.shape, x.shape)
    except ValueError:
        return False
    return math.prod(one.shape) == one.rows and math.prod(x.shape) > x.rows and shape == x.shape
