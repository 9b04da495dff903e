"""A chain of steps as the layers of a policy, and the action space that they show."""

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer
from lilliput.policies.load import flow
from lilliput.policies.load.flow import (
    IDENTITY_OUTPUTS,
    Affine,
    Bounds,
    Codes,
    Common,
    Link,
    Partial,
    RangePart,
    Select,
    Softmax,
    Step,
    Sums,
)
from lilliput.policies.load.flow_pattern import CENTRED
from lilliput.policies.load.flow_select import is_transposed_image, taken_up

_CORE = (
    *(layers.Dense, layers.Conv2d, layers.LayerNorm, layers.QuantizedDense, layers.QuantizedConv2d),
    *(layers.Lstm, layers.Gru),
)


KIND_UNSAID = "the file does not say what kind of action it gives: taken as continuous"
TRANSPOSED = "the observation is transposed to channels, height, width by the wrapper that the environment gets"


def assemble(
    last: Link, shape: tuple[int, ...], sizes: tuple[int, ...] | None, guesses: list[str]
) -> tuple[tuple[int, ...], list[Layer], spaces.ActionSpace]:
    """The observation's shape, the layers, and the action space.

    Args:
        last: the chain's end.
        shape: of the observation.
        sizes: of the groups that a choice each is made from; None: the chain's end is the action.
        guesses: what was assumed is put here.

    Raises:
        LilliputError: the steps are no policy's.
    """
    links = flow.steps(last)
    chain = [_step(link) for link in links]
    if any(isinstance(link.step, Codes) for link in links):
        guesses.append(
            "values are rounded to codes where no linear layer takes them: an identity of codes stands for each, and "
            "counts in model_bytes"
        )
    chain = taken_up(chain, shape)
    if chain and isinstance(chain[0], Select) and is_transposed_image(chain[0], shape):
        shape = (shape[2], shape[0], shape[1])
        chain = chain[1:]
        guesses.append(TRANSPOSED)
    cores = [index for index, step in enumerate(chain) if isinstance(step, _CORE)]
    if not any(isinstance(chain[index], layers.Linear | layers.Recurrent) for index in cores):
        raise LilliputError("no Gemm, MatMul or Conv between its input and its output; it is no policy")
    prefix, pending, inner = _prefix(chain[: cores[0]], shape, chain[cores[0]])
    body, inner = _body(chain[cores[0] : cores[-1] + 1], pending, inner)
    rest = chain[cores[-1] + 1 :]
    while rest and isinstance(rest[0], Affine):
        folded = _fold_behind(body[-1], rest[0], inner)
        if folded is None:
            break
        body[-1], rest = folded, rest[1:]
    head, action_space = _head(rest, inner, sizes, guesses)
    return shape, prefix + body + head, action_space


def _step(link: Link) -> Step:
    step = link.step
    assert step is not None
    match step:
        case Partial() if step == CENTRED:
            return Common()
        case Partial(what=what):
            raise LilliputError(f"{what} is part of no layer that is known; supported: layer normalization, GELU")
        case RangePart():
            raise LilliputError("a smallest or largest number of the observation is taken; supported: dynamic codes")
        case Sums():
            raise LilliputError("sums of integer products without a scale; export the model again")
        case Codes(range=layers.StaticRange() as range_, real=True) if (
            len(link.shape) == 1 and link.size <= IDENTITY_OUTPUTS
        ):
            # Rounding to codes by itself: the identity on codes, exact.
            scale = np.asarray(np.float32(1) / range_.inverse_scale)
            point = np.float32(range_.zero_point) * scale
            eye = QuantizedTensor(np.eye(link.size, dtype=np.int8), scale.astype(np.float32), 8)
            bias = np.broadcast_to(-point, (link.size,)).astype(np.float32)
            return layers.QuantizedDense(eye, np.ascontiguousarray(bias), range_)
        case Codes():
            raise LilliputError(
                "values are quantized where no linear layer takes them; supported: the inputs of linear layers (load "
                "the model from before it was quantized, and use quantize())"
            )
        case _:
            return step


def _prefix(
    chain: list[Step], shape: tuple[int, ...], first: Step
) -> tuple[list[Layer], Affine | None, tuple[int, ...]]:
    """What is done to the observation before the first layer, a scaling that this takes up, and the shape."""
    found: list[Layer] = []
    pending: Affine | None = None
    unclipped = np.asarray(np.inf)
    for step in chain:
        match step:
            case Affine():
                pending = step if pending is None else _composed(pending, step)
            case Bounds():
                if not np.array_equal(step.low, -step.high) or not (step.high > 0).all():
                    raise LilliputError(
                        "the observation is clipped to bounds that are not symmetric; supported: from -c to c"
                    )
                found.append(_standardize(pending or _NOTHING, step.high, shape))
                pending = None
            case layers.Flatten():
                if len(shape) != 1:
                    found += [] if pending is None else [_standardize(pending, unclipped, shape)]
                    pending = None
                    found.append(step)
                    shape = layers.output_shape(step, shape)
            case layers.SelectInputs():
                found.append(step)
                shape = layers.output_shape(step, shape)
            case _:
                raise LilliputError(
                    f"{type(step).__name__} stands before the first layer; "
                    "supported there: scaling, clipping, flattening"
                )
    is_vector = pending is not None and pending.scale.size + pending.shift.size > 2
    if is_vector and isinstance(first, layers.Conv2d) and not any(first.padding):
        return found, pending, shape
    return found + ([] if pending is None else [_standardize(pending, unclipped, shape)]), None, shape


_NOTHING = Affine(np.ones(()), np.zeros(()))


def _standardize(affine: Affine, clip: np.ndarray, shape: tuple[int, ...]) -> layers.Standardize:
    if (affine.scale == 0).any():
        raise LilliputError("the observation is multiplied by zero; remove that input")
    mean = np.asarray(-affine.shift / affine.scale)
    return layers.Standardize(_sized(mean, shape), _sized(affine.scale, shape), _sized(clip, shape))


def _sized(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32, () or of exactly the shape."""
    array = np.asarray(value, np.float32)
    return array if array.shape == () else np.ascontiguousarray(array.reshape(shape))


def _body(chain: list[Step], pending: Affine | None, shape: tuple[int, ...]) -> tuple[list[Layer], tuple[int, ...]]:
    """From the first trained layer to the last, and the shape of what that gives."""
    found: list[Layer] = []
    for step in chain:
        match step:
            case Affine():
                folded = None if pending is not None or not found else _fold_behind(found[-1], step, shape)
                if folded is not None:
                    found[-1] = folded
                else:
                    pending = step if pending is None else _composed(pending, step)
                    pending = None if _does_nothing(pending) else pending
                continue
            case layers.Dense() | layers.Conv2d() if pending is not None:
                new: Layer = _fold_before(step, pending, shape)
                pending = None
            case Bounds(low=low, high=high) if not low.shape and not high.shape and low == 0 and high == np.inf:
                new = layers.Relu()
            case Bounds(low=low, high=high) if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise LilliputError(
                    "values between two layers are cut off on one side (clamp, Clip, Min or Max with one bound); "
                    "supported there: two bounds, and ReLU"
                )
            case Bounds(low=low, high=high) if not low.shape and not high.shape:
                new = layers.HardTanh(float(low), float(high))
            case layers.Flatten() if len(shape) == 1:
                continue
            case Bounds() | Softmax() | Common() | Select() | Partial() | Codes() | Sums() | RangePart():
                raise LilliputError(f"{type(step).__name__} stands between two layers; supported: activations")
            case _:
                new = step
        if pending is not None and not isinstance(new, layers.Flatten):
            raise LilliputError(
                f"a scaling stands before {type(new).__name__}; supported: beside Gemm, MatMul and Conv"
            )
        shape = layers.output_shape(new, shape)
        found.append(new)
    return found, shape


def _does_nothing(affine: Affine) -> bool:
    return bool((affine.scale == 1).all() and (affine.shift == 0).all())


def _composed(first: Affine, then: Affine) -> Affine:
    return Affine(np.asarray(first.scale * then.scale), np.asarray(first.shift * then.scale + then.shift))


def _head(
    chain: list[Step], shape: tuple[int, ...], sizes: tuple[int, ...] | None, guesses: list[str]
) -> tuple[list[Layer], spaces.ActionSpace]:
    """From the last trained layer to the action."""
    chain = [step for step in chain if not (isinstance(step, layers.Flatten) and len(shape) == 1)]
    if len(shape) != 1:
        raise LilliputError(f"it gives an output of shape {list(shape)} an observation; it must be a vector")
    if chain and isinstance(chain[-1], Softmax) and sizes is None:
        guesses.append("the file ends in probabilities: the action is the most probable choice")
        sizes = shape
    if sizes is not None:
        return _choice(chain, sizes)
    found: list[Layer] = []
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    for step in chain:
        match step:
            case layers.Tanh():
                found.append(layers.SquashAction())
                low, high = np.full(shape, -1.0), np.full(shape, 1.0)
            case Affine():
                whole = step
                if found and isinstance(found[-1], layers.RescaleAction):
                    before = found.pop()
                    assert isinstance(before, layers.RescaleAction)
                    whole = _composed(Affine(before.scale.astype(np.float64), before.offset.astype(np.float64)), step)
                found.append(layers.RescaleAction(_sized(whole.scale, shape), _sized(whole.shift, shape)))
                with np.errstate(invalid="ignore"):
                    ends = np.stack([low * step.scale + step.shift, high * step.scale + step.shift])
                low, high = ends.min(axis=0), ends.max(axis=0)
            case Bounds():
                bounds = step.low, step.high
                low, high = (np.clip(end, *bounds) for end in (low, high))
                if found and isinstance(found[-1], layers.ClipAction):
                    before = found.pop()
                    assert isinstance(before, layers.ClipAction)
                    bounds = tuple(np.asarray(np.clip(part, *bounds)) for part in (before.low, before.high))
                found.append(layers.ClipAction(*(_sized(part, shape) for part in bounds)))
            case Common():
                raise LilliputError(
                    "one number is added to all outputs, as in a dueling network: if they are a number a choice, say "
                    "so (action='discrete', --action discrete)"
                )
            case Softmax() | Select() | Partial() | Codes() | Sums() | RangePart():
                raise LilliputError(f"{type(step).__name__} stands before the action; supported: activations, scaling")
            case _:
                found.append(step)
                if isinstance(step, layers.Sigmoid):
                    low, high = np.zeros(shape), np.ones(shape)
    if not any(isinstance(layer, layers.SquashAction) for layer in found):  # nobody squashes scores
        guesses.append(KIND_UNSAID)
    if np.isnan(low).any() or np.isnan(high).any() or (low > high).any():
        raise LilliputError("the bounds of the action are not numbers or cross each other; export the model again")
    return found, spaces.Box(shape, low, high)


def _choice(chain: list[Step], sizes: tuple[int, ...]) -> tuple[list[Layer], spaces.ActionSpace]:
    """The choice of the largest; what does not change which that is, is left out."""
    found: list[Layer] = []
    left: list[Step] = list(chain)
    while left and isinstance(left[-1], Softmax | Common):
        if isinstance(left[-1], Common) and len(sizes) > 1:
            raise LilliputError("one number is added to several choices' values; export the model without it")
        left.pop()
    for step in left:
        match step:
            case Softmax() | Common() | Select() | Partial() | Codes() | Sums() | RangePart():
                raise LilliputError(
                    f"{type(step).__name__} stands before other steps of the choice; supported: at its end"
                )
            case Affine():
                found.append(layers.RescaleAction(*(_sized(part, (sum(sizes),)) for part in (step.scale, step.shift))))
            case Bounds():
                found.append(layers.ClipAction(*(_sized(part, (sum(sizes),)) for part in (step.low, step.high))))
            case _:
                found.append(step)
    space = spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)
    return [*found, layers.ArgmaxAction(sizes)], space


def _fold_behind(layer: Layer, affine: Affine, shape: tuple[int, ...]) -> Layer | None:
    """The layer with a scaling of its outputs taken up; None where it cannot be."""
    if not isinstance(layer, _CORE) or isinstance(layer, layers.Recurrent):
        return None
    scale, shift = (_by_channel(part, shape) for part in (affine.scale, affine.shift))
    if scale is None or shift is None:
        return None
    if isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d):
        if layer.bias is not None or (scale != 1).any():
            return None
        bias = np.ascontiguousarray(np.broadcast_to(shift, layer.weight.shape[:1]), np.float32)
        if isinstance(layer, layers.QuantizedDense):
            return layers.QuantizedDense(layer.weight, bias, layer.input)
        return layers.QuantizedConv2d(layer.weight, bias, layer.input, layer.stride, layer.padding)
    rows = layer.weight.shape[0]
    weight = layer.weight
    if (scale != 1).any():
        full = np.broadcast_to(scale, (rows,)).reshape((rows,) + (1,) * (weight.ndim - 1))
        weight = (weight * full).astype(np.float32)
    bias = (np.broadcast_to(shift, (rows,)) + (0.0 if layer.bias is None else layer.bias * scale)).astype(np.float32)
    match layer:
        case layers.Dense():
            return layers.Dense(weight, bias)
        case layers.LayerNorm():
            return layers.LayerNorm(weight, bias, layer.epsilon)
        case layers.Conv2d():
            return layers.Conv2d(weight, bias, layer.stride, layer.padding)


def _fold_before(
    layer: layers.Dense | layers.Conv2d, affine: Affine, shape: tuple[int, ...]
) -> layers.Dense | layers.Conv2d:
    """The layer with a scaling of its inputs taken up."""
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, layers.Conv2d):
        by_channel = [_by_channel(part, shape) for part in (affine.scale, affine.shift)]
        parts = [np.broadcast_to(part, shape[:1])[:, None, None] for part in by_channel if part is not None]
        if len(parts) < 2 or any(layer.padding):
            raise LilliputError("a scaling stands before a convolution that pads, or differs within a channel")
        scale, shift = parts
        bias = (weight * shift).sum(axis=(1, 2, 3)) + (0.0 if layer.bias is None else layer.bias)
        return layers.Conv2d((weight * scale).astype(np.float32), bias.astype(np.float32), layer.stride, layer.padding)
    scale, shift = (np.broadcast_to(part, (weight.shape[1],)) for part in (affine.scale, affine.shift))
    bias = weight @ shift + (0.0 if layer.bias is None else layer.bias)
    return layers.Dense((weight * scale).astype(np.float32), bias.astype(np.float32))


def _by_channel(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """One number for all, or one for each channel of a value of that shape; None where it differs within a channel."""
    if not value.shape:
        return value
    rows = value.reshape(shape[0], -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None
