"""Integers between two static layers: from one layer's sums straight to the next one's codes.

A code is a step function of the sum: `round((sum * scale + bias) * inverse_scale) + zero_point`, clamped, with an
activation in between; it rises, or it falls and then rises (SiLU, GELU). Integers compute it more exactly than float32
does: the code is the reference's unless the number that the reference rounds lies within its own rounding error of a
tie (`steadiness` keeps golden examples clear of those).
After Jacob et al., arXiv 1712.05877, section 2.2. A curved activation has a table of its steps instead of a clamp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never, final

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from lilliput.policies import affine, layers, reference
from lilliput.policies.layers import Layer

OFFSET_SHIFT = 16
"""An offset counts so many bits above the multiplier's lowest."""

TABLE_SHIFT = 20
"""Bits of a product below a value that is looked up in a table."""

SUM_BITS = 24
"""A sum of products fits so many bits with its sign: kernels keep 8 bits below it."""

_MULTIPLIER_BITS = 30
_VALUE_BITS = 30
_BINS = 256
_MOST_STEPS = 7
_ROUNDS = 80

_FAR = 1e4
"""No code begins farther out, but in ranges of a width that no policy has."""


@final
@dataclass(frozen=True, eq=False)
class CodeTable:
    """Codes of a curved activation: by the 8 highest bits of a value, then by comparing with the steps in its bin.

    Attributes:
        first: how many steps lie below each of 256 bins, modulo 256.
        steps: steps[c] is the smallest value beyond the step c.
        shift: bits of a value within a bin, which holds at most 7 steps.
        late: from this bin on 256 steps more lie below.
        falling: steps down, which come before the steps up; without any, the code is the number of steps.
        low: the code between the steps down and the steps up.
    """

    first: UInt8[np.ndarray, " 256"]
    steps: Int32[np.ndarray, " steps"]
    shift: int
    late: int
    falling: int
    low: int

    @property
    def nbytes(self) -> int:
        """Bytes of flash."""
        return self.first.nbytes + self.steps.nbytes


@final
@dataclass(frozen=True, eq=False)
class Requantization:
    """The code is (sum * up * multiplier + (offset << 16)) >> shift, between low and high; with a table what that holds
    for offset + (sum * up * multiplier >> 20).

    Attributes:
        up: what sums are multiplied by first; 1 for 8-bit weights, whose sums are long enough.
        multiplier, offset: one a row.
        centred_offset: the offset for sums of codes less `centre` (see there).
    """

    up: int
    multiplier: Int32[np.ndarray, " rows"]
    offset: Int32[np.ndarray, " rows"]
    centred_offset: Int32[np.ndarray, " rows"]
    shift: int
    low: int
    high: int
    table: CodeTable | None


def centre(weight: np.ndarray) -> Int64[np.ndarray, " rows"]:
    """What a row's sum of products is less where codes count from 128 in the even columns and from 255 in the odd."""
    codes = weight.astype(np.int64)
    return 128 * codes[:, 0::2].sum(axis=1) + 255 * codes[:, 1::2].sum(axis=1)


def is_paired(layer: layers.QuantizedDense) -> bool:
    """Whether the layer's sums and weights fit kernels that take two weights as one number of 16 bits."""
    if not isinstance(layer.input, layers.StaticRange):
        return False
    found = reach(layer)
    farthest = np.max(np.abs([found, found - centre(layer.weight.values)]))
    return bool(layer.weight.values.min() > -128 and farthest < 1 << (SUM_BITS - 1))


def is_short(layer: layers.QuantizedDense) -> bool:
    """Whether the layer's sums fit 32 bits."""
    return isinstance(layer.input, layers.StaticRange) and int(np.max(np.abs(reach(layer)))) < 1 << 31


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of products.

    Attributes:
        reach: the smallest and the largest of each row.
        raised: whether kernels multiply them by a power of two first.
        centre: what they are less, see `centre`.
        unit: what one stands for, in units of a weight's scale.
    """

    reach: Int64[np.ndarray, "2 rows"]
    raised: bool = False
    centre: Int64[np.ndarray, " rows"] | int = 0
    unit: float = 1.0


@final
@dataclass(frozen=True, eq=False)
class Straight:
    """(x * multiplier + offset * 2^16) >> shift, one or one each."""

    multiplier: Int32[np.ndarray, " n"]
    offset: Int32[np.ndarray, " n"]
    shift: int


def requantization(
    layer: layers.QuantizedDense, between: tuple[Layer, ...], following: layers.StaticRange, sums: Sums | None = None
) -> Requantization | None:
    """How the sums of `layer` become codes of `following`, or None where integers cannot tell.

    Args:
        layer: a static one, or one whose weights alone are quantized.
        between: activations.
        following: the next layer's input range.
        sums: of a layer whose weights alone are quantized.
    """
    scale, inverse = layer.weight.scale.astype(np.float64), float(following.inverse_scale.flat[0])
    lowest = _lowest(between)
    if following.inverse_scale.shape != () or not inverse > 0 or not (scale > 0).all() or lowest is None:
        return None
    if sums is None:
        if not isinstance(layer.input, layers.StaticRange):
            return None
        sums = Sums(reach(layer), raised=layer.weight.bits < 8, centre=centre(layer.weight.values))
    rows = len(layer.weight.values)
    slope = np.broadcast_to(scale * sums.unit, rows)
    bias = np.zeros(rows) if layer.bias is None else layer.bias.astype(np.float64)
    zero = np.asarray(following.zero_point)

    def code(y: np.ndarray) -> np.ndarray:
        y = y.astype(np.float32)
        for activation in between:
            y = reference.apply(activation, y)
        return affine.quantize_unsigned(y, following.inverse_scale.astype(np.float32), zero, following.bits).astype(
            np.int64
        )

    left, low, high = (int(code(np.array([y]))[0]) for y in (-1e30, max(lowest, -1e30), 1e30))
    if all(isinstance(activation, layers.Relu | layers.HardTanh) for activation in between):
        # Straight, so that the clamp is all there is to the activation; half a code rounds.
        return _straight(sums, slope * inverse, bias * inverse + float(zero) + 0.5, (low, high))
    at = _real_steps(code, np.arange(low + 1, high + 1), max(lowest, -_FAR), _FAR)
    falling = left - low
    if falling:
        at = np.concatenate([_real_steps(lambda y: -code(y), np.arange(1 - left, 1 - low), -_FAR, lowest), at])
    return _by_table(sums, slope, bias, at, falling, (low, high)) if len(at) else None


def _by_table(
    sums: Sums,
    slope: Float64[np.ndarray, " rows"],
    bias: Float64[np.ndarray, " rows"],
    at: Float64[np.ndarray, " steps"],
    falling: int,
    ends: tuple[int, int],
) -> Requantization | None:
    """The integers that find slope * sum + bias among the steps of a curve; `at`: where these are, falling first."""
    low, _ = ends
    # A value's bits above `shift` are its bin; the bins span the steps, one bin to spare at either end.
    bin_width = max((at[-1] - at[0]) / (_BINS - 2), 1e-30)
    start = at[0] - bin_width
    largest = np.max(np.abs(sums.reach), axis=0)
    farthest = float(np.max((slope * largest + np.abs(bias) + abs(start)) / bin_width))
    shift = int(np.floor(min(20, _VALUE_BITS - np.log2(max(farthest, _BINS)))))
    # How much too steep a row is for a multiplier, at that shift.
    excess = float(np.log2(slope.max() / bin_width)) + shift + TABLE_SHIFT - _MULTIPLIER_BITS
    up = max(0, int(np.ceil(excess))) if sums.raised else 0
    shift = int(np.floor(shift - max(0.0, excess - up)))
    if shift < 12 or largest.max() * 2.0**up >= 1 << 31:  # a step would be placed too coarsely
        return None
    units = 2.0**shift / bin_width
    steps = np.ceil((at - start) * units).astype(np.int64)
    below = 0 if falling else low
    first, last = (
        np.searchsorted(steps, (np.arange(_BINS) << shift) + end, side="right") + below
        for end in (0, (1 << shift) - 1)
    )  # fmt: skip
    never = np.iinfo(np.int32).max
    if int((last - first).max()) > _MOST_STEPS:
        return None
    every = np.concatenate([np.full(below, -never), steps, np.full(_MOST_STEPS, never)]).astype(np.int32)
    late = int(np.searchsorted(first, 256))
    table = CodeTable((first % 256).astype(np.uint8), every, shift, late, falling, low if falling else 0)
    multiplier = np.rint(slope * units * 2.0 ** (TABLE_SHIFT - up)).astype(np.int32)
    offset = (bias - start) * units
    stored = np.rint([offset, offset + slope * units * sums.centre])
    most = np.iinfo(np.int32).max
    # Codes are centred where a weight takes all of 8 bits; elsewhere nobody reads the second offset.
    if np.abs(stored[:1] if sums.raised else stored).max() > most:
        return None
    stored = np.clip(stored, -most, most).astype(np.int32)
    return Requantization(1 << up, multiplier, stored[0], stored[1], TABLE_SHIFT, *ends, table)


def _straight(
    sums: Sums,
    slope: Float64[np.ndarray, " rows"],
    offset: Float64[np.ndarray, " rows"],
    ends: tuple[int, int],
) -> Requantization | None:
    """The integers of slope * sum + offset, as many bits as there is room for."""
    offsets = np.stack([offset, offset + slope * sums.centre])
    room = _MULTIPLIER_BITS - np.log2(slope.max()), OFFSET_SHIFT + 30 - np.log2(np.abs(offsets).max() + 1e-9)
    exact = int(np.floor(min(*room, 54)))
    shift = max(exact, 32)  # kernels take the upper half of a product
    up = shift - exact
    if up and (not sums.raised or shift > room[1] or np.abs(sums.reach).max() * 2.0**up >= 1 << 31):
        return None
    multiplier = np.rint(slope * 2.0**exact).astype(np.int32)
    stored = np.rint(offsets * 2.0 ** (shift - OFFSET_SHIFT)).astype(np.int32)
    return Requantization(1 << up, multiplier, stored[0], stored[1], shift, *ends, None)


def _lowest(between: tuple[Layer, ...]) -> float | None:
    """Until where codes fall as sums rise, to rise from there: minus infinity where they only rise; None: neither."""
    first, *others = [_turn(one) for one in between] or [-np.inf]
    return first if all(turn == -np.inf for turn in others) else None


def _turn(layer: Layer) -> float | None:
    """Where an activation is lowest: minus infinity where it never falls; None for what is no such thing."""
    if not isinstance(layer, layers.Activation):
        return None
    match layer:
        case layers.Relu() | layers.Tanh() | layers.Sigmoid() | layers.HardTanh():
            return -np.inf
        case layers.Elu(alpha=bend) | layers.LeakyRelu(slope=bend):
            return -np.inf if bend >= 0 else None
        case layers.Silu():
            return -1.27846454
        case layers.Gelu():
            return -0.75179152
        case other:
            assert_never(other)


def reach(layer: layers.QuantizedDense) -> Int64[np.ndarray, "2 rows"]:
    """The smallest and the largest sum of each row."""
    assert isinstance(layer.input, layers.StaticRange)
    weight = layer.weight.values.astype(np.int64)
    sums = np.stack([np.minimum(weight, 0).sum(axis=1), np.maximum(weight, 0).sum(axis=1)])
    return affine.unsigned_max(layer.input.bits) * sums


def _real_steps(
    code: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, left: float, right: float
) -> Float64[np.ndarray, " codes"]:
    """Where between two ends each code begins, within the precision of float32."""
    lefts, rights = np.full(len(codes), left), np.full(len(codes), right)
    for _ in range(_ROUNDS):
        middle = (lefts + rights) / 2
        is_enough = code(middle) >= codes
        rights = np.where(is_enough, middle, rights)
        lefts = np.where(is_enough, lefts, middle)
    return rights
