"""ONNX files of MLP and CNN policies: what becomes of the observation, as layers that are held to the file itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load import (
    flow,
    flow_choice,
    flow_layers,
    onnx_constant,
    onnx_mask,
    onnx_memory,
    onnx_node,
    onnx_output,
    onnx_qoperator,
    onnx_run,
    plain,
)
from lilliput.policies.load.flow import Choices, Flow
from lilliput.policies.load.onnx_constant import Constant, folded
from lilliput.policies.load.onnx_graph import DOMAINS, Graph, check_names, constant_node
from lilliput.policies.load.source import Source
from lilliput.policies.load.work_limit import Work
from lilliput.policies.play.wrappers import TransposeImage, format_wrapper
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "onnx"
MAX_METADATA, MAX_KEY, MAX_TEXT = 256, 80, 16_384
ROWS = 7
"""Observations that a free batch is followed with: a number that no reshape hits by chance, and small."""


def read_onnx(source: Source) -> Policy:
    """The policy in an ONNX file.

    Raises:
        LilliputError: no ONNX file, a graph that is no chain of supported operators, an action that cannot be told
            from the other outputs, or a policy that acts otherwise than the file does.
    """
    import onnx
    from google.protobuf.message import DecodeError

    name = source.name
    try:
        model = onnx.ModelProto.FromString(source.data)
    except DecodeError as error:
        raise LilliputError(f"{name} is not a readable ONNX file; export it again") from error
    if not model.graph.node or not model.graph.output:
        raise LilliputError(
            f"{name} is an ONNX file without nodes or outputs, or another program's that begins like one (Core ML's "
            ".mlmodel, a saved_model.pb); export the policy as ONNX"
        )
    if source.action == "tanh":
        raise LilliputError(f"{name}: what an ONNX file gives is the action or a choice; leave action='tanh' away")
    check_names(model.graph, name)
    output, guess = onnx_output.action_output(model, source)
    graph = Graph(model, output, source.folder, name)
    masks = [value.name for value in graph.inputs if onnx_mask.is_mask(value.name)]
    guesses = [*([guess] if guess else []), *onnx_mask.unmasked(graph)]
    memory = onnx_memory.of(graph)
    if memory is not None:
        graph.inputs = [value for value in graph.inputs if value.name not in memory.inputs]
        guesses += memory.guesses
    guesses += onnx_output.doubts_of_memory(model, output, [value.name for value in graph.inputs], name)
    read = _read(graph, source, guesses, memory)
    if memory is None:
        onnx_run.check(read.policy, graph, read.run)
        if masks:
            onnx_run.check_masks(read.policy, graph, read.run, masks)
    else:
        onnx_run.check_episodes(read.policy, graph, read.run, memory)
    return read.policy


@final
@dataclass(frozen=True, eq=False)
class _Read:
    policy: Policy
    run: onnx_run.Run


@final
@dataclass(frozen=True)
class _Batch:
    """How the inputs are taken: `rows` observations; with an axis for them or not; any number of them or not."""

    rows: int
    batched: bool
    free: bool


def _read(graph: Graph, source: Source, guesses: list[str], memory: onnx_memory.RecurrentState | None) -> _Read:
    """The policy, by the first way to take the inputs' first axis that the graph agrees with."""
    if not graph.inputs:
        raise LilliputError(f"{graph.name}: {graph.output[:40]!r} does not depend on an input; export the actor alone")
    dims = [_dims(value) for value in graph.inputs]
    refused: LilliputError | None = None
    for batch in _batches(dims):
        try:
            return _read_as(graph, source, batch, dims, list(guesses), memory)
        except LilliputError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _batches(dims: Sequence[list[int]]) -> list[_Batch]:
    first = {one[0] if one else 1 for one in dims}
    alone = [_Batch(1, batched=False, free=False)]
    if any(len(one) < 2 for one in dims):
        return alone
    if first & {0} or len(first) > 1:
        return [_Batch(ROWS, batched=True, free=True), _Batch(1, batched=True, free=False)]
    (rows,) = first
    return [_Batch(rows, batched=True, free=False), *alone]


def _dims(value: Any) -> list[int]:
    """The sizes of an input, 0 where one is free."""
    return [max(dim.dim_value, 0) if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]


def _read_as(
    graph: Graph,
    source: Source,
    batch: _Batch,
    dims: list[list[int]],
    guesses: list[str],
    memory: onnx_memory.RecurrentState | None,
) -> _Read:
    name = graph.name
    boxes = [_box(value, one, batch, graph) for value, one in zip(graph.inputs, dims, strict=True)]
    if len(boxes) > 1 and any(box.dtype != boxes[0].dtype for box in boxes):
        raise LilliputError(f"{name}: its inputs are of several types; supported: one, or several of float32")
    values, scores = _followed(graph, boxes, batch, memory)
    result = values.get(graph.output)
    if isinstance(result, _Refused):
        raise result.error
    if not isinstance(result, Flow | Choices):
        raise LilliputError(f"{name}: the output {graph.output[:40]!r} does not depend on the observation")
    sizes, last = _chosen(result, source, guesses, graph.output, name)
    if source.action == "continuous" and sizes is not None:
        raise LilliputError(f"{name} ends in a choice; leave action='continuous' away")
    groups = result.groups if isinstance(result, Choices) else ()
    seen = [scores[id(group)] for group in groups if id(group) in scores]
    guesses.append("the bounds of the observation are not in the file: taken as those of its type")
    shape, stack, action_space = flow_layers.assemble(last.link, _shape(boxes), sizes, guesses)
    if source.action == "continuous" or onnx_output.is_continuous(graph.output):
        guesses[:] = [guess for guess in guesses if guess != flow_layers.KIND_UNSAID]
    head = stack[max(index for index, layer in enumerate(stack) if isinstance(layer, layers.Linear)) :]
    if not any(isinstance(layer, layers.SquashAction | layers.ClipAction) for layer in head):
        guesses += onnx_output.doubts_of_spread(graph.model, graph.output)
    coded = [
        one for one in values.values() if isinstance(one, Constant) and one.coded is not None and one.array.ndim > 1
    ]
    if coded and any(isinstance(layer, layers.Dense | layers.Conv2d) for layer in stack):
        guesses.append("codes of weights that int8 does not hold are kept as the float32 numbers that they stand for")
    transposed = flow_layers.TRANSPOSED in guesses
    if source.action == "continuous" and not isinstance(action_space, spaces.Box):
        raise LilliputError(f"{name} ends in probabilities of choices; leave action='continuous' away")
    wrappers = (format_wrapper(TransposeImage()),) if transposed else ()
    provenance = Provenance(
        framework=FRAMEWORK, guesses=tuple(guesses), wrappers=wrappers, contract=_contract(graph.model, name)
    )
    if isinstance(action_space, spaces.Box):
        action_space = _as_the_file_shapes_it(action_space, last, batch)
    policy = Policy(_space(graph, boxes, shape), action_space, tuple(stack), provenance)
    run = onnx_run.Run(
        tuple(box.shape for box in boxes), batch.rows, batch.batched, batch.free, transposed, tuple(seen)
    )
    return _Read(policy, run)


def _followed(
    graph: Graph, boxes: Sequence[spaces.Box], batch: _Batch, memory: onnx_memory.RecurrentState | None
) -> tuple[dict[str, Any], dict[int, str]]:
    """What becomes of observations in each value of the graph; and of groups of choices, what the largest was taken of.

    Raises:
        LilliputError: a node that no policy here can hold, or one too many numbers.
    """
    inputs = flow.observation([box.shape for box in boxes], batch.rows, batched=batch.batched)
    values: dict[str, Any] = {key: Constant(array) for key, array in graph.constants().items()}
    values |= {value.name: one for value, one in zip(graph.inputs, inputs, strict=True)}
    values |= dict.fromkeys(memory.inputs if memory is not None else (), onnx_memory.State())
    scores: dict[int, str] = {}
    work = Work()
    for node in onnx_qoperator.spelled_out(graph.nodes):
        results = _evaluated(graph, node, values)
        work.spend(_cost(node, [values[key] for key in node.input if key], results))
        for key, result in zip(node.output, results, strict=False):
            values[key] = result
            if node.op_type == "ArgMax" and isinstance(result, Choices):
                scores[id(result.groups[0])] = node.input[0]
    return values, scores


def _space(graph: Graph, boxes: Sequence[spaces.Box], shape: tuple[int, ...]) -> spaces.ObservationSpace:
    """The observations of a graph: of one input in the shape that its first layer takes them in, or of several."""
    if len(boxes) > 1:
        return spaces.Dict(tuple((value.name, box) for value, box in zip(graph.inputs, boxes, strict=True)))
    low, high = (np.asarray(bound.reshape(-1)[0]) for bound in (boxes[0].low, boxes[0].high))
    return spaces.Box(shape, low, high, boxes[0].dtype)


def _cost(node: Any, arguments: list[Any], results: list[Any]) -> int:
    """How many numbers the node computes with."""
    found = [one for one in results if isinstance(one, Constant)]
    if found and arguments and all(isinstance(one, Constant) for one in arguments):
        return onnx_constant.cost(node, arguments, found)
    return sum(math.prod(one.shape) for one in results if isinstance(one, Flow | Choices))


def _contract(model: Any, name: str) -> tuple[tuple[str, str], ...]:
    """What stands in the file's metadata, but for what Lilliput itself writes; what is too long, or is said in two
    ways, by a text that tells so and is no setting's.
    """
    if model.producer_name == "lilliput":
        return ()
    found = tuple((entry.key, entry.value) for entry in model.metadata_props)
    if len(found) > MAX_METADATA or not all(isinstance(text, str) for pair in found for text in pair):
        raise LilliputError(f"{name} has {len(found)} entries of metadata, or such that are no text; export it again")
    kept: dict[str, str] = {}
    for key, text in found:
        short = key if len(key) <= MAX_KEY else f"{key[:MAX_KEY]}... ({len(key)} characters)"
        whole = text if len(text) <= MAX_TEXT else f"({len(text)} characters: not kept)"
        kept[short] = whole if kept.get(short, whole) == whole else "(twice in the file and not the same: not kept)"
    return tuple(kept.items())


def _shape(boxes: Sequence[spaces.Box]) -> tuple[int, ...]:
    """The shape of one observation as the chain begins with it."""
    return boxes[0].shape if len(boxes) == 1 else (sum(box.size for box in boxes),)


@final
@dataclass(frozen=True, eq=False)
class _Refused:
    """A value that no policy here can hold, of a known shape: what only its shape is needed for may go on."""

    error: LilliputError
    shape: tuple[int, ...]


_ELEMENTWISE = frozenset(
    (
        "Abs", "Add", "Cast", "Celu", "Clip", "Cos", "Div", "Equal", "Exp", "Greater", "Identity", "Less", "Log", "Max",
        "Min", "Mish", "Mul", "Neg", "Not", "PRelu", "Pow", "RandomNormalLike", "Reciprocal", "Selu", "Sign", "Sin",
        "Softplus", "Sqrt", "Sub", "Where",
    )
)  # fmt: skip
"""Operators that give the shape to which what they take is broadcast."""


def _evaluated(graph: Graph, node: Any, values: dict[str, Any]) -> list[Any]:
    if node.op_type.startswith(("QLinear", "QGemm")):
        raise LilliputError(
            f"{graph.name} is quantized with the operator {node.op_type[:40]}; supported: "
            f"{', '.join(onnx_qoperator.OPERATORS)}, onnxruntime's QDQ form (quant_format=QuantFormat.QDQ) and "
            "quantize_dynamic, or the model from before it was quantized"
        )
    if node.domain not in DOMAINS:
        raise LilliputError(
            f"{graph.name} has the operator {node.domain[:40]}.{node.op_type[:40]}; supported: those of ONNX itself"
        )
    missing = [key for key in node.input if key and values.get(key) is None]
    if missing:
        raise LilliputError(f"{graph.name}: {node.op_type[:40]} takes {missing[0][:40]!r}, which nothing gives")
    arguments = [values[key] if key else None for key in node.input]
    refused = next((one for one in arguments if isinstance(one, _Refused)), None)
    if refused is not None and node.op_type == "Shape" and not node.attribute:
        return [Constant(np.array(refused.shape, np.int64))]
    try:
        if refused is not None:
            raise refused.error
        return _results(graph, node, arguments)
    except LilliputError as found:
        named = found if graph.name in str(found) else LilliputError(f"{graph.name}: {found}")
        shape = _broadcast(arguments) if node.op_type in _ELEMENTWISE else None
        if shape is None:
            raise named from None
        return [_Refused(named, shape)]
    # Inputs too few, axes out of range, types of another kind: what a damaged node makes numpy and onnx raise.
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise LilliputError(
            f"{graph.name}: node {node.op_type[:40]!r} is damaged, or used in a way that is not supported"
        ) from error


def _results(graph: Graph, node: Any, arguments: list[Any]) -> list[Any]:
    if node.op_type == "Constant":
        return [Constant(constant_node(node, graph.name))]
    if node.op_type in onnx_memory.OPERATORS:
        return onnx_memory.recurrent(node, arguments)
    if any(isinstance(one, onnx_memory.State) for one in arguments):
        return list(onnx_memory.moved(node))
    if not any(isinstance(one, Flow | Choices) for one in arguments):
        return list(folded(node, arguments, graph.opset))
    return onnx_node.evaluate(node, arguments)


def _broadcast(arguments: list[Any]) -> tuple[int, ...] | None:
    """The shape of the arguments together; None where they do not fit."""
    shapes = [one.array.shape if isinstance(one, Constant) else one.shape for one in arguments if one is not None]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _chosen(
    result: Flow | Choices, source: Source, guesses: list[str], output: str, name: str
) -> tuple[tuple[int, ...] | None, Flow]:
    """The sizes of the groups of which the largest are chosen (None: no choice), and the numbers behind the action."""
    if isinstance(result, Choices):
        if source.action == "continuous":
            raise LilliputError(f"{name} ends in a choice; leave action='continuous' away")
        return flow_choice.together(result)
    size = math.prod(result.shape) // result.rows
    last = flow.settled(result)
    scores = source.action is None and onnx_output.is_scores(output)
    if scores or source.action == "discrete":
        plain.check_row(result.shape, result.rows)
    if source.action == "discrete":
        guesses.append(plain.one_number_a_choice(size))
        return (size,), flow.vector(last)
    if scores:
        guesses.append(f"the output {output[:40]!r} is a number a choice: the action is the choice of the largest")
        guesses.append(plain.one_number_a_choice(size))
        return (size,), flow.vector(last)
    return None, last


def _as_the_file_shapes_it(space: spaces.Box, last: Flow, batch: _Batch) -> spaces.Box:
    """The action space in the shape of the output, behind the axis of the observations."""
    shape = last.shape[1:] if batch.batched and len(last.shape) > 2 and last.shape[0] == batch.rows else space.shape
    return spaces.Box(shape, space.low.reshape(shape), space.high.reshape(shape), space.dtype)


def _box(value: Any, dims: list[int], batch: _Batch, graph: Graph) -> spaces.Box:
    from onnx import TensorProto

    types = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.UINT8: "uint8",
    }
    tensor = value.type.tensor_type
    if tensor.elem_type not in types:
        raise LilliputError(
            f"{graph.name}: the input {value.name[:40]!r} is not of a float type or uint8; export it so"
        )
    shape = dims[1:] if batch.batched else dims
    if len(shape) == 1 and shape[0] < 1:
        shape = [_width(graph)]
    if not shape or min(shape) < 1 or len(shape) > 4 or math.prod(shape) > spaces.MAX_ELEMENTS:
        raise LilliputError(
            f"{graph.name}: the input has the shape {dims}; it must be (batch, ...) with fixed sizes behind the batch"
        )
    if batch.rows * math.prod(shape) > flow.MAX_ELEMENTS:
        raise LilliputError(
            f"{graph.name} takes {batch.rows} observations at once; export it with a free batch (dynamic_axes) or one"
        )
    dtype = types[tensor.elem_type]
    low, high = (0.0, 255.0) if dtype == "uint8" else (-np.inf, np.inf)
    return spaces.Box(tuple(shape), np.asarray(low), np.asarray(high), dtype)


def _width(graph: Graph) -> int:
    """The inputs of the first dense layer, where the file does not give the observation's size."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.tensors}
    for node in graph.nodes:
        if node.op_type in ("Gemm", "MatMul") and len(sizes.get(node.input[1], ())) == 2:
            shape = sizes[node.input[1]]
            turned = any(part.name == "transB" and part.i for part in node.attribute)
            return shape[-1] if turned else shape[0]
    return 0
