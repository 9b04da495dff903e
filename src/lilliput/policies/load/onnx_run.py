"""The policy read from an ONNX file against the file itself, run by onnxruntime.

Only what was read is run: the nodes that lead to the action, all of the closed set of operators, with the constants
inside. Nothing is left to onnxruntime that could read another file or run without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.onnxruntime_errors import refusals
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load.onnx_graph import DOMAINS, Graph
from lilliput.policies.load.onnx_memory import RecurrentState, state_shape
from lilliput.policies.policy import Policy

N_OBSERVATIONS = 64
"""Of each kind: of the space, of the normalizer's range, of a standard normal distribution."""
_OF_CODES = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm")
RELATIVE = 1e-4
HALF = 1e-2
EPISODES, NEAR_TIES = 2, 0.03
"""Of policies with a memory; choices that may differ in them, because two numbers are nearly equal."""
STEADY_PART, FLIPPED = 0.85, 0.1
"""Of quantized policies so many observations must agree; a code that flips moves the others by no more than that."""


@final
@dataclass(frozen=True)
class Run:
    """How the file takes observations.

    Attributes:
        shapes: of its inputs, for one observation.
        rows: observations that it takes at once, if it is not `free`; batched: whether it has an axis for them.
        transposed: whether the policy's observation is the file's with its channels first.
        scores: the values that each choice is made from, where the file chooses.
    """

    shapes: tuple[tuple[int, ...], ...]
    rows: int
    batched: bool
    free: bool
    transposed: bool
    scores: tuple[str, ...]


def check(policy: Policy, graph: Graph, run: Run) -> None:
    """Check that the file, run by onnxruntime, acts as the policy that was read from it.

    Raises:
        LilliputError: onnxruntime does not run the file, or the file acts otherwise than the policy.
    """
    session = _session(graph, run)
    for observations in _drawn(policy, np.random.default_rng(0)):
        outputs = _outputs(session, graph, run, observations)
        _compare(policy, graph, run, observations, outputs)


def check_episodes(policy: Policy, graph: Graph, run: Run, memory: RecurrentState) -> None:
    """Check that the file, run step by step with its new state given back, acts as the policy that was read from it.

    Raises:
        LilliputError: onnxruntime does not run the file, or the file acts otherwise than the policy.
    """
    if run.rows != 1 and not run.free:
        raise LilliputError(f"{graph.name}: its memory is of {run.rows} rows at once; export it for one")
    session = _session(graph, run, memory)
    for kind in range(EPISODES):
        for drawn in _drawn(policy, np.random.default_rng(kind)):
            state = {value.name: np.zeros(state_shape(value), np.float32) for value in memory.values}
            rows: list[np.ndarray] = []
            for row in drawn:
                found = _outputs(
                    session, graph, Run(run.shapes, 1, run.batched, False, run.transposed, run.scores), row[None], state
                )
                rows.append(found[0])
                after = found[len(found) - len(state) :]
                state = {key: one.reshape(state[key].shape) for key, one in zip(memory.inputs, after, strict=True)}
            _compare_episode(policy, graph, drawn, np.concatenate(rows))


def _compare_episode(policy: Policy, graph: Graph, observations: np.ndarray, theirs: np.ndarray) -> None:
    seen = observations.astype(np.float32)
    if not policy.is_discrete:
        _close(
            policy, graph, observations, reference.act_episode(policy, seen).reshape(len(seen), -1), theirs, "actions"
        )
        return
    chosen = _choices(policy, theirs)
    ours = reference.act_episode(policy, seen).reshape(len(seen), -1)
    if ours.shape != chosen.shape or np.mean((ours != chosen).any(axis=1)) > NEAR_TIES:
        raise LilliputError(
            f"{graph.name}: onnxruntime runs the file to other choices than what was read of it; the file does "
            "something that this reader misses"
        )


def check_masks(policy: Policy, graph: Graph, run: Run, masks: Sequence[str]) -> None:
    """Check that ones in these masks, which the graph has as constants, leave the choice to the observation.

    Raises:
        LilliputError: it is zeros that do: a 1 forbids.
    """
    drawn = _drawn(policy, np.random.default_rng(0))[0]
    given = graph.tensors
    varied = []
    for number in (1, 0):
        graph.tensors = [_filled(one, number) if one.name in masks else one for one in given]
        theirs = _outputs(_session(graph, run), graph, run, drawn)[0]
        varied.append(len(np.unique(_choices(policy, theirs), axis=0)))
    graph.tensors = list(given)
    if varied[0] == 1 < varied[1]:
        raise LilliputError(
            f"{graph.name}: the input {masks[0][:40]!r} forbids a choice where it is 1: with ones the choice is always "
            "the same; export the policy without its mask, or with one in which 1 allows"
        )


def _filled(tensor: Any, number: int) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.full(list(tensor.dims), number, np.float32), tensor.name)


def _choices(policy: Policy, theirs: np.ndarray) -> np.ndarray:
    """What the file's outputs choose: the indices that they are, or those of the largest."""
    last = policy.layers[-1]
    if not isinstance(last, layers.ArgmaxAction) or not theirs.shape[1] == sum(last.sizes) > len(last.sizes):
        return theirs
    groups = np.split(theirs, np.cumsum(last.sizes)[:-1], axis=1)
    return np.stack([group.argmax(axis=1) for group in groups], axis=1)


def _drawn(policy: Policy, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of observations as the policy takes them; real ones in float64, which the file may compute in."""
    space = policy.observation_space
    shape = (N_OBSERVATIONS, *spaces.input_shape(space))
    if spaces.input_dtype(space) == "uint8":
        return [rng.integers(0, 256, shape).astype(np.uint8)]
    found = [rng.normal(size=shape)]
    if isinstance(space, spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
        found.append(rng.uniform(space.low, space.high, shape))
    first = policy.layers[0]
    if isinstance(first, layers.Standardize):
        found.append(first.mean + rng.normal(size=shape) / first.scale.astype(np.float64))
    return found


def _session(graph: Graph, run: Run, memory: RecurrentState | None = None) -> Any:
    import onnx
    import onnxruntime
    from onnx import helper

    model = onnx.ModelProto()
    model.ir_version = graph.model.ir_version
    kept = {*DOMAINS, *(node.domain for node in graph.nodes)}  # of a closed set of operators
    model.opset_import.extend(entry for entry in graph.model.opset_import if entry.domain in kept)
    model.graph.name = "policy"
    model.graph.node.extend(graph.nodes)
    model.graph.input.extend(graph.inputs)
    model.graph.initializer.extend(graph.tensors)
    model.graph.output.extend(value for value in graph.model.graph.output if value.name == graph.output)
    model.graph.output.extend(helper.make_empty_tensor_value_info(key) for key in dict.fromkeys(run.scores))
    if memory is not None:
        model.graph.node.extend(memory.nodes)
        model.graph.input.extend(memory.values)
        model.graph.initializer.extend(memory.tensors)
        model.graph.output.extend(helper.make_empty_tensor_value_info(key) for key in memory.inputs.values())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # The file as it is written; its int8 products exact on processors whose own ones saturate.
    integers = any(node.op_type in _OF_CODES for node in graph.nodes)
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if integers else level.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except refusals() as error:
        raise LilliputError(
            f"{graph.name}: onnxruntime {onnxruntime.__version__} does not open it, so what was read cannot be "
            f"compared with it: {' '.join(str(error).split())[:200]}"
        ) from error


def _outputs(
    session: Any, graph: Graph, run: Run, observations: np.ndarray, state: dict[str, np.ndarray] | None = None
) -> list[np.ndarray]:
    """The file's outputs for the observations, each (n, ...); with a memory for one, which is given beside it."""
    from onnx import helper

    n = len(observations)
    kinds = [helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in graph.inputs]
    raw = observations.transpose(0, 2, 3, 1) if run.transposed else observations
    parts = np.split(raw.reshape(n, -1), np.cumsum([int(np.prod(shape)) for shape in run.shapes])[:-1], axis=1)
    # Ranges that the file takes from all that it gets are those of one observation.
    each = run.rows
    if run.free:
        each = 1 if any(node.op_type == "DynamicQuantizeLinear" for node in graph.nodes) else n
    found: list[list[np.ndarray]] = []
    for start in range(0, n, each):
        at = np.arange(start, start + each) % n
        feed = {
            value.name: np.ascontiguousarray(part[at].reshape((each, *shape) if run.batched else shape), kind)
            for value, part, shape, kind in zip(graph.inputs, parts, run.shapes, kinds, strict=True)
        }
        try:
            results = session.run(None, feed | (state or {}))
        except refusals() as error:
            raise LilliputError(
                f"{graph.name}: onnxruntime does not run it: {' '.join(str(error).split())[:200]}"
            ) from error
        found.append([np.asarray(result).reshape(each, -1) for result in results])
    return [np.concatenate(parts)[:n] for parts in zip(*found, strict=True)]


def _compare(policy: Policy, graph: Graph, run: Run, observations: np.ndarray, outputs: list[np.ndarray]) -> None:
    inputs = reference.layer_inputs(policy, observations)
    if not policy.is_discrete:
        _close(policy, graph, observations, inputs[-1].reshape(len(observations), -1), outputs[0], "actions")
        return
    ours, last = inputs[-2], policy.layers[-1]
    assert isinstance(last, layers.ArgmaxAction)
    file_chooses = bool(run.scores)
    softened = any(node.op_type in ("Softmax", "LogSoftmax", "Sub", "Add") for node in graph.nodes)
    theirs = np.concatenate(outputs[1:], axis=1) if len(outputs) > 1 else outputs[0]
    if theirs.shape == ours.shape and not softened:
        _close(policy, graph, observations, ours, theirs, "numbers behind its choices")
    ends = np.cumsum(last.sizes)
    allowed = _noise(policy, observations, ours, before_choice=True) + RELATIVE * np.abs(ours).max()
    for index, (end, size) in enumerate(zip(ends, last.sizes, strict=True)):
        group = ours[:, end - size : end]
        chosen = outputs[0][:, index] if file_chooses else outputs[0][:, end - size : end].argmax(axis=1)
        chosen = chosen.astype(np.int64)
        if (chosen < 0).any() or (chosen >= size).any():
            raise LilliputError(f"{graph.name}: onnxruntime gives choices outside of 0 to {size - 1}: it was misread")
        missed = group.max(axis=1) - np.take_along_axis(group, chosen[:, None], axis=1)[:, 0]
        if (wrong := missed > allowed).any():
            raise LilliputError(
                f"{graph.name}: onnxruntime runs the file to other choices than what was read of it, in "
                f"{int(wrong.sum())} of {len(wrong)} observations, by {missed.max():.3g} in the numbers behind them; "
                "the file does something that this reader misses"
            )


def _close(
    policy: Policy, graph: Graph, observations: np.ndarray, ours: np.ndarray, theirs: np.ndarray, what: str
) -> None:
    """Check that both agree up to the rounding of float32 and, in quantized policies, of single codes."""
    if ours.shape != theirs.shape:
        raise LilliputError(
            f"{graph.name}: onnxruntime gives {list(theirs.shape[1:])} numbers, what was read of it "
            f"{list(ours.shape[1:])}: it was misread"
        )
    ours, theirs = (part.astype(np.float64) for part in (ours, theirs))
    both = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    if (np.isfinite(ours) != np.isfinite(theirs)).any():
        raise LilliputError(f"{graph.name}: onnxruntime gives finite {what} where what was read of it does not")
    if not both.any():
        return
    ours, theirs, observations = ours[both], theirs[both], observations[both]
    apart = np.abs(ours - theirs).max(axis=1)
    largest = float(np.abs(theirs).max())
    allowed = 1e-6 + (HALF if _has_halves(graph) else RELATIVE) * largest
    wrong = apart > allowed
    if wrong.any():
        wrong &= apart > allowed + _noise(policy, observations, ours, before_choice=policy.is_discrete)
    if any(isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d) for layer in policy.layers):
        wrong = np.ones(1, bool) if wrong.mean() > 1 - STEADY_PART else apart > max(allowed, FLIPPED * largest)
    if wrong.any():
        raise LilliputError(
            f"{graph.name}: onnxruntime runs the file to other {what} than what was read of it: they differ by "
            f"{apart.max():.3g}, and reach {largest:.3g}; {_cause(graph, observations)}"
        )


def _has_halves(graph: Graph) -> bool:
    return any(tensor.data_type == 10 for tensor in graph.tensors) or any(
        value.type.tensor_type.elem_type == 10 for value in graph.inputs
    )


def _noise(policy: Policy, observations: np.ndarray, ours: np.ndarray, *, before_choice: bool) -> np.ndarray:
    """How far the rounding of float32 may move each row: what its own does to the last digits of the observations."""
    if observations.dtype == np.uint8 or policy.has_memory:
        return np.zeros(len(observations))
    exact = observations.astype(np.float32)
    if not np.allclose(exact, observations, rtol=1e-5, atol=0) or _is_far(policy):
        return np.zeros(len(observations))
    moved = exact * np.float32(1 + 2**-22)
    other = reference.layer_inputs(policy, moved)[-2 if before_choice else -1].reshape(len(ours), -1)
    with np.errstate(invalid="ignore"):
        return 8 * np.nan_to_num(np.abs(other - ours).max(axis=1))


def _is_far(policy: Policy) -> bool:
    """Whether float32 does not tell observations of the normalizer's range apart."""
    first = policy.layers[0]
    if not isinstance(first, layers.Standardize):
        return False
    return bool((np.spacing(np.abs(first.mean)) * np.abs(first.scale) > 1e-4).any())


def _cause(graph: Graph, observations: np.ndarray) -> str:
    if any(value.type.tensor_type.elem_type == 11 for value in graph.inputs):
        size = float(np.abs(observations).max())
        return (
            "the file takes float64, and float32, which policies take here, has steps of "
            f"{np.spacing(np.float32(size)):.2g} at {size:.3g}: take the offset off the observation before it reaches "
            "the policy, and export that"
        )
    return "the file does something that this reader misses"
