"""LSTM and GRU of an ONNX file whose state comes in and goes out, as rsl_rl exports them (obs, h_in, c_in)."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow
from lilliput.policies.load.flow import Flow
from lilliput.policies.load.onnx_constant import Constant
from lilliput.policies.load.onnx_graph import Graph, attribute

OPERATORS: Final = ("LSTM", "GRU")
PLACES: Final = {5: 1, 6: 2}
"""Inputs of the operators that are their state, and the outputs that are the next one."""
_MOVING: Final = (
    "Identity", "Slice", "Gather", "Squeeze", "Unsqueeze", "Reshape", "Concat", "Split", "Transpose", "Cast",
)  # fmt: skip
"""Operators that a state may go through on its way in and out."""
_TORCH_ORDER: Final = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""ONNX has the gates in the order input, output, forget, cell, and update, reset, new."""
_ACTIVATIONS: Final = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}

MAX_STATE: Final = 1 << 20
"""Numbers of a state."""

BEGINS: Final = "the file does not say what its memory begins an episode with: taken as zeros"


@final
@dataclass(frozen=True)
class State:
    """A value that is remembered, or part of it."""

    shape: tuple[int, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class RecurrentState:
    """How a file remembers.

    Attributes:
        inputs: by name, each with the output that is its next value.
        values: the same inputs as the file declares them.
        nodes, tensors: that the outputs need besides what the action does.
    """

    inputs: dict[str, str]
    values: tuple[Any, ...]
    nodes: tuple[Any, ...]
    tensors: tuple[Any, ...]

    @property
    def guesses(self) -> list[str]:
        """What the file leaves open."""
        crossed = [key for key, new in self.inputs.items() if _plain(key) != _plain(new)]
        words = (f"by the graph the output {self.inputs[key][:40]!r} goes back in as {key[:40]!r}" for key in crossed)
        return [BEGINS, *words]


def of(graph: Graph) -> RecurrentState | None:
    """The memory of the file; None where it has none. Its inputs are no observations.

    Raises:
        LilliputError: a state that nothing gives or takes, or that is also something else.
    """
    cells = [node for node in graph.nodes if node.op_type in OPERATORS]
    if not cells:
        return None
    names = {value.name for value in graph.inputs}
    into = {name: _uses(graph.nodes, name) for name in names}
    states = sorted(name for name, uses in into.items() if uses and all(use is not None for use in uses))
    taken = {use for name in states for use in into[name]}
    for node in cells:
        places = tuple(PLACES) if node.op_type == "LSTM" else (5,)
        wanted = {(_key(node), place) for place in places}
        if not wanted <= taken:
            raise LilliputError(
                f"{graph.name}: the memory of its {node.op_type} does not come from an input of its own: it "
                "starts anew at each decision, or is also something else; export it with the state as inputs and "
                "outputs (obs, h_in, c_in)"
            )
    found: dict[str, str] = {}
    nodes, tensors = dict[int, Any](), dict[str, Any]()
    for value in graph.model.graph.output:
        if value.name == graph.output:
            continue
        given = _sources(graph, value.name)
        twin = next((name for name in states if into[name] == given and name not in found), None)
        if twin is not None:
            found[twin] = value.name
            more, constants = graph.beside(value.name)
            nodes |= {id(node): node for node in more}
            tensors |= {tensor.name: tensor for tensor in constants}
    missing = [name for name in states if name not in found]
    if missing:
        raise LilliputError(
            f"{graph.name}: no output of the file is the next value of its input {missing[0][:40]!r}; export the model "
            "with the new state among its outputs"
        )
    if any(node.op_type not in (*_MOVING, *OPERATORS, "Constant") for node in nodes.values()):
        raise LilliputError(f"{graph.name}: the new state is computed with other operators than its LSTM or GRU")
    values = tuple(value for value in graph.inputs if value.name in found)
    for value in values:
        if math.prod(state_shape(value)) > MAX_STATE:
            raise LilliputError(f"{graph.name}: the input {value.name[:40]!r} has more than {MAX_STATE} numbers")
    return RecurrentState(found, values, tuple(nodes.values()), tuple(tensors.values()))


def state_shape(value: Any) -> tuple[int, ...]:
    """The shape of a state, for one episode."""
    return tuple(max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def _key(node: Any) -> str:
    """What tells a cell from others: one of the values that it gives."""
    return next((key for key in node.output if key), node.name)


def _plain(name: str) -> str:
    """The name without the words that tell an input from an output."""
    return re.sub(r"in|out|new|next|prev|\W|_|n$", "", name.lower())


def _uses(nodes: Iterable[Any], name: str) -> set[tuple[str, int] | None]:
    """Which states of which cells a value becomes; None among them: also something else."""
    found: set[tuple[str, int] | None] = set()
    moved = {name}
    for node in nodes:
        at = [i for i, key in enumerate(node.input) if key in moved]
        if not at:
            continue
        if node.op_type in OPERATORS:
            found |= {(_key(node), i) if i in PLACES else None for i in at}
        elif node.op_type in _MOVING and at[0] == 0:
            moved |= set(node.output)
        else:
            found.add(None)
    return found


def _sources(graph: Graph, output: str) -> set[tuple[str, int] | None]:
    """Which next states of which cells an output is made of."""
    producers = {key: node for node in graph.model.graph.node for key in node.output if key}
    constants = {tensor.name for tensor in graph.model.graph.initializer}
    back = {new: old for old, new in PLACES.items()}
    found: set[tuple[str, int] | None] = set()
    todo, seen = [output], set[str]()
    while todo:
        key = todo.pop()
        node = producers.get(key)
        if key in seen or key in constants or (node is not None and node.op_type == "Constant"):
            continue
        seen.add(key)
        if node is None:
            found.add(None)
        elif node.op_type in OPERATORS:
            place = list(node.output).index(key)
            found.add((_key(node), back[place]) if place in back else None)
        elif node.op_type in _MOVING:
            todo += node.input if node.op_type == "Concat" else node.input[:1]
        else:
            found.add(None)
    return found


def moved(node: Any) -> list[State]:
    """The outputs of a node that takes a state and is no cell."""
    if node.op_type not in _MOVING:
        raise LilliputError(f"{node.op_type[:40]} changes the memory; supported: to pass it to an LSTM or GRU")
    return [State() for _ in node.output]


def recurrent(node: Any, arguments: list[Any]) -> list[Any]:
    """The outputs of an LSTM or GRU on one step: the value twice, as the sequence and as its end, and the cell's state.

    Raises:
        LilliputError: a kind that no layer is.
    """
    kind = node.op_type
    x, w, r, bias, lengths, *states = [*arguments, *[None] * (8 - len(arguments))]
    count = len(_TORCH_ORDER[kind])
    if not isinstance(x, Flow) or not isinstance(w, Constant) or not isinstance(r, Constant) or lengths is not None:
        raise LilliputError(f"{kind} without constant weights, or of sequences of several lengths")
    if attribute(node, "direction", "forward") != "forward" or len(w.array) != 1 or attribute(node, "layout", 0):
        raise LilliputError(f"{kind} in both directions or with another layout; supported: forward, (step, batch, ...)")
    named = [part for part in node.attribute if part.name == "activations"]
    if named and [text.decode().lower() for text in named[0].strings] != _ACTIVATIONS[kind]:
        raise LilliputError(f"{kind} with other activations than {', '.join(_ACTIVATIONS[kind])}")
    changed = [one.name for one in node.attribute if one.name in ("clip", "activation_alpha", "activation_beta")]
    if changed or attribute(node, "input_forget", 0) or (kind == "LSTM" and states[2] is not None):
        raise LilliputError(
            f"{kind} with {', '.join(changed) or 'peepholes or coupled gates'}; supported: the plain one"
        )
    if not all(isinstance(one, State) for one in states[: 1 + (kind == "LSTM")]):
        raise LilliputError(f"{kind} whose state is computed or constant; supported: an input of the file")
    if len(x.shape) != 3 or x.shape[0] != 1 or x.shape[1] != x.rows:
        raise LilliputError(f"{kind} takes a value of shape {list(x.shape)}; supported: one step, (1, batch, numbers)")
    n = r.array.shape[-1]
    rows = np.concatenate([np.arange(n) + gate * n for gate in _TORCH_ORDER[kind]])
    weights = [np.ascontiguousarray(one.array[0], np.float32) for one in (w, r)]
    if any(one.shape[0] != count * n for one in weights):
        raise LilliputError(f"{kind} has weights of the shapes {[list(one.shape) for one in weights]}")
    biases: list[np.ndarray | None] = [None, None]
    if isinstance(bias, Constant):
        given = bias.array.astype(np.float32).reshape(-1)
        if len(given) != 2 * count * n:
            raise LilliputError(f"{kind} has {len(given)} numbers of bias; it takes {2 * count * n}")
        biases = [given[: count * n], given[count * n :]]
    first, second = (
        layers.Dense(weight[rows], None if b is None else b[rows]) for weight, b in zip(weights, biases, strict=True)
    )
    layer: layers.Recurrent = (
        layers.Lstm(first, second)
        if kind == "LSTM"
        else layers.Gru(first, second, None, not attribute(node, "linear_before_reset", 0))
    )
    whole = flow.vector(x)
    link = flow.Link(whole.link, layer, layers.output_shape(layer, whole.link.shape))
    return [Flow(link, (1, 1, x.shape[1], n), x.rows), Flow(link, (1, x.shape[1], n), x.rows), State()]
