"""A policy between integers: what each number of its observation counts, and how the numbers behind it become integers.

Only what was quantized statically can; a first layer whose weights alone were can as well, on the observation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64, Int32, Int64

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.export.requantize import Straight
from lilliput.policies.fixed_point import ACTION_BITS, FixedPoint, Observation
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

BOUNDED = 1e6
"""Bounds of an observation space from here on say nothing of the numbers."""

_SHORT = 32_767
_MOST_SUM = (1 << 31) - 1
_SUM_BITS = 30
_CLOSE_BITS = 4
"""Numbers whose ranges differ by no more than so many powers of two count in one unit, those of the largest."""
_FARTHEST_CHOICE = 1 << 18
"""Of a choice: what sums in units of a weight's code saturate at, where no clip tells."""
_CLOSE_TO_TANH = 12.0
"""Beyond it tanh is 1 in units of 2^-16."""


@final
@dataclass(frozen=True, eq=False)
class Block:
    """A linear layer and the activations behind it."""

    index: int
    layer: layers.QuantizedDense
    between: tuple[Layer, ...]


@final
@dataclass(frozen=True, eq=False)
class Parts:
    """A policy that integers can do.

    Attributes:
        indices: the numbers of the observation that are read, None: all in their order.
        standardize: in front of the first linear layer.
        blocks: the linear layers; head: what is behind the last of them.
        n_inputs: that the first linear layer has; n_numbers: of the observation.
    """

    indices: np.ndarray | None
    standardize: layers.Standardize | None
    blocks: tuple[Block, ...]
    head: tuple[Layer, ...]
    n_inputs: int
    n_numbers: int


def parts_of(policy: Policy) -> Parts:
    """The policy as integers do it.

    Raises:
        LilliputError: they cannot; it says at which layer and why.
    """
    shape = spaces.input_shape(policy.observation_space)
    if len(shape) != 1 or spaces.input_dtype(policy.observation_space) != "float32":
        raise LilliputError(
            "--observation: the observation is an image or bytes; integers are for vectors of real numbers"
        )
    if policy.has_memory:
        raise LilliputError("--observation: the policy has a memory, which is kept in floats; leave --observation out")
    indices: np.ndarray | None = None
    standardize: layers.Standardize | None = None
    blocks: list[Block] = []
    behind: list[Layer] = []
    for index, layer in enumerate(policy.layers):
        match layer:
            case layers.Flatten():
                continue
            case layers.SelectInputs(indices=chosen) if not blocks and standardize is None:
                indices = chosen if indices is None else indices[chosen]
            case layers.Standardize() if not blocks and standardize is None:
                standardize = layer
            case layers.QuantizedDense(input=layers.StaticRange()):
                blocks, behind = _with(blocks, behind, index, layer)
            case layers.QuantizedDense(input=None) if not blocks and standardize is None:
                blocks, behind = _with(blocks, behind, index, layer)
            case layers.LayerNorm():
                raise _refused(index, layer, "its mean and variance are of real numbers")
            case _ if isinstance(layer, layers.Linear):
                raise _refused(index, layer, _why(layer, behind_a_standardize=standardize is not None))
            case _ if blocks:
                behind.append(layer)
            case _:
                raise _refused(index, layer, "it stands in front of the first linear layer")
    if not blocks:
        raise LilliputError("--observation: the policy has no linear layer")
    _, first = blocks[0].layer.weight.shape
    blocks[-1] = Block(blocks[-1].index, blocks[-1].layer, ())
    return Parts(indices, standardize, tuple(blocks), tuple(behind), first, int(shape[0]))


def _with(
    blocks: Sequence[Block], behind: Sequence[Layer], index: int, layer: layers.QuantizedDense
) -> tuple[list[Block], list[Layer]]:
    done = [*blocks]
    if done:
        done[-1] = Block(done[-1].index, done[-1].layer, tuple(behind))
    return [*done, Block(index, layer, ())], []


def _why(layer: Layer, *, behind_a_standardize: bool) -> str:
    static = 'quantize(scheme="static") makes one of it that can'
    match layer:
        case layers.QuantizedDense(input=layers.DynamicRange()):
            return f"its input is quantized dynamically, by a range that each observation has of its own; {static}"
        case layers.QuantizedDense() if behind_a_standardize:
            return f"its input is real numbers behind a normalizer; {static}, fold_inputs() takes the normalizer away"
        case layers.QuantizedDense():
            return f"only its weights are quantized, and its input is real numbers; {static}"
        case _:
            return f"its weights are real numbers; {static}"


def _refused(index: int, layer: Layer, why: str) -> LilliputError:
    return LilliputError(f"--observation: integers cannot do layer {index}, {type(layer).__name__}: {why}")


def units(policy: Policy, observation: Observation, seen: np.ndarray | None = None) -> FixedPoint:
    """How the numbers of the policy's observation count: int16 as finely as what is known of their range allows.

    Args:
        policy: the policy.
        observation: the kind of integer.
        seen: raw observations, (n, numbers), for numbers whose range nothing else tells: twice the largest fits.

    Raises:
        LilliputError: integers cannot do the policy, or nothing tells the range of a number that is to be an int16.
    """
    parts = parts_of(policy)
    if observation == "q16.16":
        return FixedPoint(observation, (16,) * parts.n_numbers)
    farthest = _farthest(policy, parts)
    read = np.arange(parts.n_numbers) if parts.indices is None else parts.indices
    if seen is not None:
        farthest = np.where(farthest < BOUNDED, farthest, 2 * np.abs(seen[:, read]).max(axis=0))
    untold = [int(number) for number, most in zip(read, farthest, strict=True) if not most < BOUNDED]
    if untold:
        raise LilliputError(
            f"--observation int16: nothing tells how large number {untold[0]} of the observation becomes (its space "
            "has no bounds, the first layer no input range); give --observations, or take --observation q16.16"
        )
    bits = np.clip(np.floor(np.log2(_SHORT / np.maximum(farthest, 1e-6))), -15, 24).astype(int)
    weight = parts.blocks[0].layer.weight.values.astype(np.int64)
    if parts.blocks[0].layer.input is None:
        if np.ptp(bits) <= _CLOSE_BITS:  # one unit for all: none has to be shifted
            bits[:] = bits.min()
        # Sums of numbers that count in one unit have to fit.
        while np.abs(weight * 2 ** (bits.max() - bits)).sum(axis=1).max() * (_SHORT + 1) > _MOST_SUM:
            if bits.max() <= bits.min():
                raise LilliputError(f"--observation int16: sums of {parts.n_inputs} products do not fit; take q16.16")
            bits = np.minimum(bits, bits.max() - 1)
    every = np.zeros(parts.n_numbers, int)
    every[read] = bits
    return FixedPoint(observation, tuple(every.tolist()))


def _farthest(policy: Policy, parts: Parts) -> Float64[np.ndarray, " inputs"]:
    """How large each number that is read becomes at most, or until where it makes a difference; infinite: unknown."""
    space = policy.observation_space
    boxes = (space,) if isinstance(space, spaces.Box) else tuple(box for _, box in space.boxes)
    bounds = np.concatenate(
        [np.broadcast_to(np.maximum(np.abs(box.low), np.abs(box.high)), box.shape).reshape(-1) for box in boxes]
    )
    bounds = np.where(bounds < BOUNDED, bounds, np.inf)
    if parts.indices is not None:
        bounds = bounds[parts.indices]
    range_ = parts.blocks[0].layer.input
    if not isinstance(range_, layers.StaticRange):
        return bounds
    slope, offset = standardized(parts, range_)
    top = affine.unsigned_max(range_.bits)
    with np.errstate(divide="ignore"):
        ends = np.abs([(-0.5 - offset) / slope, (top + 0.5 - offset) / slope])
    return np.where(np.isfinite(ends).all(axis=0), ends.max(axis=0), bounds)


def standardized(parts: Parts, range_: layers.StaticRange) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of the codes of the first layer as a function of what is read, without rounding and ends."""
    slope = np.broadcast_to(range_.inverse_scale.astype(np.float64), parts.n_inputs)
    offset = np.broadcast_to(range_.zero_point.astype(np.float64), parts.n_inputs)
    if parts.standardize is None:
        return slope, offset
    scale = slope * parts.standardize.scale.astype(np.float64)
    return scale, offset - scale * parts.standardize.mean.astype(np.float64)


def ends(parts: Parts, range_: layers.StaticRange) -> tuple[int, int]:
    """The smallest and largest code of the first layer's inputs, which a normalizer's clip may keep from the last ones.

    Raises:
        LilliputError: they differ from input to input.
    """
    top = affine.unsigned_max(range_.bits)
    if parts.standardize is None or not np.isfinite(parts.standardize.clip).any():
        return 0, top
    clip = parts.standardize.clip.astype(np.float32)
    every = [
        np.clip(np.rint(side * clip * range_.inverse_scale.astype(np.float32)) + range_.zero_point, 0, top)
        for side in (np.float32(-1), np.float32(1))
    ]
    if any(np.ptp(one) for one in every):
        raise LilliputError(
            "--observation: the normalizer clips inputs at different codes; integers clip all alike: "
            'quantize(scheme="static", input="per_dimension") of observations that it does not clip'
        )
    return int(every[0].flat[0]), int(every[1].flat[0])


@final
@dataclass(frozen=True, eq=False)
class Line:
    """slope * x + offset, of x up to `farthest` in size, so many bits exact behind the point."""

    slope: np.ndarray
    offset: np.ndarray
    farthest: float
    least_bits: int = 0


def straight(slope: np.ndarray, offset: np.ndarray) -> Straight:
    """The integers of slope * x + offset, rounded to the nearest, with as many bits as there is room for."""
    offset = offset + 0.5
    steepest, farthest = float(np.abs(slope).max()), float(np.abs(offset).max())
    shift = int(np.floor(min(_SUM_BITS - np.log2(max(steepest, 1e-12)), 46 - np.log2(max(farthest, 1e-9)), 54)))
    if shift < 0:
        raise LilliputError(f"--observation: a layer multiplies by up to {steepest:.3g}, too much for integers")
    return Straight(_stored(slope * 2.0**shift), _stored(offset * 2.0 ** (shift - 16)), shift)


@final
@dataclass(frozen=True, eq=False)
class Scaled:
    """((x * 2^up * multiplier >> 32) + offset) >> shift, one or one each: no more than the upper half of a product."""

    multiplier: Int32[np.ndarray, " n"]
    offset: Int32[np.ndarray, " n"]
    up: int
    shift: int


def scaled(slope: np.ndarray, offset: np.ndarray, farthest: float, least_shift: int) -> Scaled | None:
    """The integers of slope * x + offset for x up to `farthest` in size, rounded to the nearest; None where fewer than
    `least_shift` bits of fractions would be left.
    """
    up = int(np.floor(31 - np.log2(farthest + 1)))
    offset = offset + 0.5
    steepest, largest = float(np.abs(slope).max()), float((np.abs(slope) * farthest + np.abs(offset)).max())
    shift = int(np.floor(min(up - 2 - np.log2(max(steepest, 1e-12)), 30 - np.log2(max(largest, 1e-9)), 30)))
    if shift < least_shift or up < 0:
        return None
    return Scaled(_stored(slope * 2.0 ** (shift + 32 - up)), _stored(offset * 2.0**shift), up, shift)


def short(slope: np.ndarray, offset: np.ndarray) -> Straight | None:
    """The integers of slope * x + offset for x of 16 bits, (x * multiplier + offset) >> shift within 32 bits.

    None where they would be further off than a fiftieth.
    """
    for shift in range(24, 16, -1):
        stored = np.rint([slope * 2.0**shift, (offset + 0.5) * 2.0**shift])
        if (np.abs(stored[0]) * (_SHORT + 1) + np.abs(stored[1])).max() <= _MOST_SUM:
            error = np.abs(stored[0] / 2.0**shift - slope) * _SHORT
            return Straight(_stored(stored[0]), _stored(stored[1]), shift) if error.max() < 0.02 else None
    return None


def _stored(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int32)


def sum_unit(parts: Parts, given: FixedPoint, head_is_choice: bool) -> tuple[int, int]:
    """Fraction bits of the sums of a first layer whose weights alone are quantized, and, in whole units, what they are
    saturated at (of q16.16; int16 needs no end).
    """
    block = parts.blocks[0]
    if given.observation == "int16":
        read = np.array(given.fraction_bits)
        return int((read if parts.indices is None else read[parts.indices]).max()), 0
    scale = block.layer.weight.scale.astype(np.float64)
    bias = np.zeros(1) if block.layer.bias is None else block.layer.bias.astype(np.float64)
    limit = _FARTHEST_CHOICE
    matters = _matters(parts) if not head_is_choice or len(parts.blocks) > 1 else None
    if matters is not None:
        limit = int(np.ceil((matters + np.abs(bias).max()) / np.abs(scale).min())) + 1
    limit = min(limit, 1 << (_SUM_BITS - 4))
    return min(16, _SUM_BITS - int(np.ceil(np.log2(limit)))), limit


def reach(parts: Parts, given: FixedPoint, head_is_choice: bool) -> Int64[np.ndarray, "2 outputs"]:
    """The smallest and largest sum of each row of such a first layer."""
    unit, limit = sum_unit(parts, given, head_is_choice)
    weight = parts.blocks[0].layer.weight.values.astype(np.int64)
    if given.observation == "q16.16":
        return np.stack([np.full(len(weight), side * limit << unit) for side in (-1, 1)])
    bits = np.array(given.fraction_bits)
    bits = bits if parts.indices is None else bits[parts.indices]
    most = (np.abs(weight) * (32768 << (unit - bits))).sum(axis=1)
    return np.stack([-most, most])


def _matters(parts: Parts) -> float | None:
    """The size of the first layer's outputs from which on a larger one makes no difference; None: there is none."""
    behind = parts.blocks[0].between or parts.head
    if len(parts.blocks) > 1:
        range_ = parts.blocks[1].layer.input
        assert isinstance(range_, layers.StaticRange)
        scale, zero = range_.inverse_scale.astype(np.float64), range_.zero_point.astype(np.float64)
        top = affine.unsigned_max(range_.bits)
        last = float(np.max(np.abs([(-1 - zero) / scale, (top + 1 - zero) / scale])))
        return max(last, _CLOSE_TO_TANH)  # sigmoid and tanh are flat there, and what rises straight has its last code
    match behind[0] if behind else None:
        case layers.ClipAction(low=low, high=high) if np.isfinite(low).all() and np.isfinite(high).all():
            return float(max(np.abs(low).max(), np.abs(high).max()))
        case layers.Tanh() | layers.SquashAction() | layers.Sigmoid():
            return _CLOSE_TO_TANH
        case _:
            return None


def action_integers(values: np.ndarray) -> Int32[np.ndarray, "..."]:
    """Real numbers in units of the action.

    Raises:
        LilliputError: one does not fit 32 bits.
    """
    stored = np.asarray(np.rint(values.astype(np.float64) * 2.0**ACTION_BITS))
    if not (np.abs(stored) <= _MOST_SUM).all():
        raise LilliputError(
            f"--observation: an action of {float(np.abs(values).max()):.3g} does not fit 16 bits before the point"
        )
    return stored.astype(np.int32)


def codes(between: tuple[Layer, ...], range_: layers.StaticRange, y: np.ndarray) -> tuple[int, ...]:
    """The codes of numbers behind activations."""
    for activation in between:
        y = reference.apply(activation, y)
    scale = range_.inverse_scale.astype(np.float32)
    codes = affine.quantize_unsigned(y, scale, np.asarray(range_.zero_point), range_.bits)
    return tuple(int(code) for code in codes)
