"""ONNX files of MLP and CNN policies: a single chain from the observation to the action becomes layers."""

import math
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load.onnx_chain import Affine, Argmax, Bounds, Softmax, Step, chain
from lilliput.policies.load.onnx_graph import Graph
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "onnx"
ACTION_NAMES = (
    "action",
    "actions",
    "output",
    "continuous_actions",
    "discrete_actions",
    "deterministic_continuous_actions",
    "mean",
    "mu",
    "logits",
)
"""Which of several outputs is the action, first match first."""

Core = layers.Dense | layers.Conv2d | layers.LayerNorm
"""What holds trained numbers, and can take up a scaling behind it."""

_CORE = (layers.Dense, layers.Conv2d, layers.LayerNorm)


def read_onnx(source: Source) -> Policy:
    """The policy in an ONNX file.

    Raises:
        LilliputError: no ONNX file, weights in other files, or a graph that is no chain of supported operators.
    """
    import onnx
    from google.protobuf.message import DecodeError

    data, name = source.data, source.name
    try:
        graph = onnx.ModelProto.FromString(data).graph
    except DecodeError as error:
        raise LilliputError(f"{name} is not a readable ONNX file; export it again") from error
    if not graph.node or not graph.output:
        raise LilliputError(f"{name} is an ONNX file without nodes or outputs; export it again")
    parsed = Graph(graph, name)
    if len(parsed.inputs) != 1:
        names = ", ".join(value.name[:30] for value in parsed.inputs[:4]) or "none"
        raise LilliputError(f"{name} has {len(parsed.inputs)} inputs ({names}); supported: one observation")
    guesses: list[str] = []
    named = source.output
    output = _choose_output(graph, guesses) if named is None else _named_output(graph, named, name)
    steps = chain(parsed, output, parsed.inputs[0].name)
    if not any(isinstance(step, layers.Dense | layers.Conv2d) for step in steps):
        raise LilliputError(
            f"{name} has no Gemm, MatMul or Conv between its input and {output[:60]!r}; it is no policy"
        )
    space = _observation_space(parsed.inputs[0], steps, name)
    guesses.append("the bounds of the observation are not in the file: taken as those of its type")
    stack, action_space = _assemble(steps, space.shape, name, guesses)
    if source.action == "discrete" and isinstance(action_space, spaces.Box):
        stack, action_space = [*stack, layers.ArgmaxAction(action_space.shape)], spaces.Discrete(action_space.shape[0])
    if source.action == "tanh":
        raise LilliputError(f"{name}: what an ONNX file gives is the action or a choice; leave action='tanh' away")
    if source.action == "continuous" and not isinstance(action_space, spaces.Box):
        raise LilliputError(f"{name} ends in a choice; leave action='continuous' away")
    return Policy(space, action_space, tuple(stack), Provenance(framework=FRAMEWORK, guesses=tuple(guesses)))


def _named_output(graph: Any, output: str, name: str) -> str:
    names = [value.name for value in graph.output]
    if output not in names:
        raise LilliputError(f"{name} has no output {output!r}; it has {', '.join(names[:8])}")
    return output


def _choose_output(graph: Any, guesses: list[str]) -> str:
    names = [value.name for value in graph.output]
    if len(names) == 1:
        return names[0]
    chosen = next((name for wanted in ACTION_NAMES for name in names if name.lower() == wanted), names[0])
    guesses.append(
        f"the file has several outputs ({', '.join(name[:30] for name in names[:4])}): the action is {chosen[:30]}"
    )
    return chosen


def _observation_space(value: Any, steps: list[Step], name: str) -> spaces.Box:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    types = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.UINT8: "uint8",
    }
    if tensor.elem_type not in types:
        raise LilliputError(f"{name}: the input {value.name[:40]!r} is not of a float type or uint8; export it so")
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    shape = dims[1:]
    first = next(step for step in steps if isinstance(step, layers.Dense | layers.Conv2d))
    if len(shape) == 1 and shape[0] < 1 and isinstance(first, layers.Dense):
        shape = [first.weight.shape[1]]
    if not shape or min(shape) < 1 or len(shape) > 4 or math.prod(shape) > spaces.MAX_ELEMENTS:
        raise LilliputError(
            f"{name}: the input has the shape {dims}; it must be (batch, ...) with fixed sizes behind the batch"
        )
    dtype = types[tensor.elem_type]
    low, high = (0.0, 255.0) if dtype == "uint8" else (-np.inf, np.inf)
    return spaces.Box(tuple(shape), np.asarray(low), np.asarray(high), dtype)


def _assemble(
    steps: list[Step], shape: tuple[int, ...], name: str, guesses: list[str]
) -> tuple[list[Layer], spaces.ActionSpace]:
    """The layers, and the action space that they show."""
    cores = [index for index, step in enumerate(steps) if isinstance(step, _CORE)]
    stack = _prefix(steps[: cores[0]], shape, name)
    for layer in stack:
        shape = layers.output_shape(layer, shape)
    body, pending = _body(steps[cores[0] : cores[-1] + 1], shape, name)
    if pending is not None:
        raise LilliputError(
            f"{name}: a scaling stands where no layer can take it up; supported: before or behind Gemm, MatMul and Conv"
        )
    for layer in body:
        shape = layers.output_shape(layer, shape)
    rest = steps[cores[-1] + 1 :]
    while rest and isinstance(rest[0], Affine) and isinstance(body[-1], _CORE):
        body[-1] = _fold_behind(body[-1], rest[0], shape, name)
        rest = rest[1:]
    head, action_space = _head(rest, shape, name, guesses)
    return stack + body + head, action_space


def _prefix(steps: list[Step], shape: tuple[int, ...], name: str) -> list[Layer]:
    """What is done to the observation before the first layer: Standardize and Flatten."""
    found: list[Layer] = []
    pending: Affine | None = None
    unclipped = np.asarray(np.inf)
    for step in steps:
        match step:
            case Affine():
                scale, shift = _fitting(step.scale, shape, name), _fitting(step.shift, shape, name)
                pending = Affine(scale, shift) if pending is None else _composed(pending, scale, shift)
            case Bounds():
                low, high = _fitting(step.low, shape, name), _fitting(step.high, shape, name)
                if not np.array_equal(low, -high) or not (high > 0).all():
                    raise LilliputError(
                        f"{name}: the observation is clipped to bounds that are not symmetric; supported: from -c to c"
                    )
                found.append(_standardize(pending or Affine(np.ones(()), np.zeros(())), high, shape, name))
                pending = None
            case layers.Flatten():
                if len(shape) != 1:
                    found += [] if pending is None else [_standardize(pending, unclipped, shape, name)]
                    pending = None
                    found.append(step)
                    shape = layers.output_shape(step, shape)
            case _:
                raise LilliputError(
                    f"{name}: {type(step).__name__} stands before the first layer; "
                    "supported there: scaling, clipping, flattening"
                )
    return found + ([] if pending is None else [_standardize(pending, unclipped, shape, name)])


def _standardize(affine: Affine, clip: np.ndarray, shape: tuple[int, ...], name: str) -> layers.Standardize:
    if (affine.scale == 0).any():
        raise LilliputError(f"{name}: the observation is multiplied by zero; remove that input")
    mean = np.asarray(-affine.shift / affine.scale)
    return layers.Standardize(_sized(mean, shape), _sized(affine.scale, shape), _sized(clip, shape))


def _body(steps: list[Step], shape: tuple[int, ...], name: str) -> tuple[list[Layer], Affine | None]:
    """From the first trained layer to the last."""
    found: list[Layer] = []
    pending: Affine | None = None
    for step in steps:
        match step:
            case Affine() if found and pending is None and isinstance(found[-1], _CORE):
                found[-1] = _fold_behind(found[-1], step, shape, name)
                continue
            case Affine():
                scale, shift = _fitting(step.scale, shape, name), _fitting(step.shift, shape, name)
                pending = Affine(scale, shift) if pending is None else _composed(pending, scale, shift)
                continue
            case layers.Dense() if pending is not None:
                new: Layer = _fold_before(step, pending, name)
                pending = None
            case layers.LayerNorm(weight=weight, bias=bias) if weight.size == 1 and len(shape) == 1:
                new = layers.LayerNorm(np.repeat(weight, shape[0]), np.repeat(bias, shape[0]), step.epsilon)
            case Bounds(low=low, high=high) if low.size == 1 and high.size == 1:
                new = layers.HardTanh(float(low.reshape(-1)[0]), float(high.reshape(-1)[0]))
            case layers.Flatten() if len(shape) == 1:
                continue
            case Bounds() | Softmax() | Argmax():
                raise LilliputError(f"{name}: {type(step).__name__} stands between two layers; supported: activations")
            case _:
                new = step
        if pending is not None:
            raise LilliputError(
                f"{name}: a scaling stands before {type(new).__name__}; supported: beside Gemm, MatMul and Conv"
            )
        shape = layers.output_shape(new, shape)
        found.append(new)
    return found, pending


def _composed(first: Affine, scale: np.ndarray, shift: np.ndarray) -> Affine:
    return Affine(np.asarray(first.scale * scale), np.asarray(first.shift * scale + shift))


def _head(
    steps: list[Step], shape: tuple[int, ...], name: str, guesses: list[str]
) -> tuple[list[Layer], spaces.ActionSpace]:
    """From the last trained layer to the action."""
    found: list[Layer] = []
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    discrete = False
    for step in steps:
        match step:
            case Argmax() | Softmax():
                if isinstance(step, Softmax) and step is steps[-1]:
                    guesses.append("the file ends in probabilities: the action is the most probable choice")
                discrete = True
            case _ if discrete:
                raise LilliputError(f"{name}: {type(step).__name__} follows the choice; supported: nothing")
            case layers.Tanh():
                found.append(layers.SquashAction())
                low, high = np.full(shape, -1.0), np.full(shape, 1.0)
            case Affine():
                scale, shift = (_fitting(part, shape, name) for part in (step.scale, step.shift))
                before = found[-1] if found else None
                if isinstance(before, layers.RescaleAction):
                    found.pop()
                    whole = _composed(Affine(before.scale, before.offset), scale, shift)
                else:
                    whole = Affine(scale, shift)
                found.append(layers.RescaleAction(_sized(whole.scale, shape), _sized(whole.shift, shape)))
                ends = np.stack([low * scale + shift, high * scale + shift])
                low, high = ends.min(axis=0), ends.max(axis=0)
            case Bounds():
                bounds = [_fitting(part, shape, name) for part in (step.low, step.high)]
                low, high = (np.clip(end, *bounds) for end in (low, high))
                before = found[-1] if found else None
                if isinstance(before, layers.ClipAction):
                    found.pop()
                    bounds = [np.asarray(np.clip(part, *bounds)) for part in (before.low, before.high)]
                found.append(layers.ClipAction(*(_sized(part, shape) for part in bounds)))
            case layers.Flatten() if len(shape) == 1:
                pass
            case _:
                found.append(step)
                if isinstance(step, layers.Sigmoid):
                    low, high = np.zeros(shape), np.ones(shape)
    if len(shape) != 1:
        raise LilliputError(f"{name} gives an output of shape {list(shape)} an observation; it must be a vector")
    if discrete:
        return [*found, layers.ArgmaxAction(shape)], spaces.Discrete(shape[0])
    guesses.append("the file does not say what kind of action it gives: taken as continuous")
    if np.isnan(low).any() or np.isnan(high).any() or (low > high).any():
        raise LilliputError(
            f"{name}: the bounds of the action are not numbers or cross each other; export the model again"
        )
    return found, spaces.Box(shape, low, high)


def _fold_behind(layer: Core, affine: Affine, shape: tuple[int, ...], name: str) -> Core:
    """The layer with a scaling of its outputs taken up."""
    scale, shift = (_by_channel(part, shape, name) for part in (affine.scale, affine.shift))
    rows = layer.weight.shape[0]
    full = np.broadcast_to(scale, (rows,)).reshape((rows,) + (1,) * (layer.weight.ndim - 1))
    weight = (layer.weight * full).astype(np.float32)
    bias = (np.broadcast_to(shift, (rows,)) + (0.0 if layer.bias is None else layer.bias * scale)).astype(np.float32)
    match layer:
        case layers.Dense():
            return layers.Dense(weight, bias)
        case layers.LayerNorm():
            return layers.LayerNorm(weight, bias, layer.epsilon)
        case layers.Conv2d():
            return layers.Conv2d(weight, bias, layer.stride, layer.padding)


def _fold_before(layer: layers.Dense, affine: Affine, name: str) -> layers.Dense:
    """The layer with a scaling of its inputs taken up."""
    inputs = (layer.weight.shape[1],)
    scale, shift = (np.broadcast_to(_fitting(part, inputs, name), inputs) for part in (affine.scale, affine.shift))
    weight = layer.weight.astype(np.float64)
    bias = weight @ shift + (0.0 if layer.bias is None else layer.bias)
    return layers.Dense((weight * scale).astype(np.float32), bias.astype(np.float32))


def _by_channel(value: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A constant for a vector's elements, or an image's channels."""
    if len(shape) == 1 or value.size == 1 or value.shape == shape[:1]:
        return _fitting(value, shape[:1], name)
    fitting = value.reshape(value.shape[-3:]) if value.ndim == 4 and value.shape[0] == 1 else value
    if fitting.shape != (shape[0], 1, 1):
        raise LilliputError(
            f"{name}: a constant of shape {list(value.shape)} behind a convolution; supported: one number a channel"
        )
    return fitting.reshape(-1)


def _fitting(value: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The constant without the batch's axis, () or broadcastable to the shape."""
    if value.size == 1:
        return value.reshape(())
    trimmed = value.reshape(value.shape[1:]) if value.ndim == len(shape) + 1 and value.shape[0] == 1 else value
    if trimmed.ndim > len(shape) or any(
        a not in (1, b) for a, b in zip(trimmed.shape[::-1], shape[::-1], strict=False)
    ):
        raise LilliputError(
            f"{name}: a constant of shape {list(value.shape)} for values of shape {list(shape)}; export the model again"
        )
    return trimmed


def _sized(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32, () or of exactly the shape."""
    array = np.asarray(value, np.float32)
    return array if array.shape == () else np.ascontiguousarray(np.broadcast_to(array, shape))
