"""torch's LSTM and GRU, and their cells, in a TorchScript program: it writes their memory back to its buffers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow
from lilliput.policies.load.flow import Flow
from lilliput.policies.load.torchscript_place import WritesInPlace

CELLS: Final = {"lstm_cell": layers.Lstm, "gru_cell": layers.Gru}
OPERATORS: Final = {"lstm": layers.Lstm, "gru": layers.Gru, **CELLS}
READING_NOTHING: Final = ("size", "dim", "len", "__is__", "__isnot__", "clone", "contiguous", "detach")
"""Operators that a buffer of the state may go through too: what they give is that buffer, or no number of it."""

MAX_LEVELS = 32


@final
@dataclass(frozen=True, eq=False)
class RecurrentCall:
    """One call of such an operator.

    Attributes:
        before: the buffers that it reads.
        shown: the output that is its new state too (of LSTMCell and GRUCell); None: its states are values of their own.
        written: the places in `before` that a new state was written to so far.
    """

    before: tuple[np.ndarray, ...]
    shown: Flow | None = None
    written: set[int] = field(default_factory=set)


@final
@dataclass(frozen=True, eq=False)
class Next:
    """The new state of a cell, in the place of one of its buffers."""

    cell: RecurrentCall
    place: int


def recurrent(name: str, given: Sequence[Any]) -> tuple[RecurrentCall, Any]:
    """The call, and what it gives: the output and the new states; of a cell the new states alone.

    Raises:
        LilliputError: a kind of LSTM or GRU that no layer is, or one whose state does not come from buffers.
    """
    if name in CELLS:
        return _one_step(name, given)
    if len(given) != 9:
        raise LilliputError(f"{name} takes sequences of several lengths; supported: one observation at a time")
    x, states, weights, has_bias, n_levels, dropout, training, both_ways, batch_first = given
    del batch_first  # a single step is first of both axes
    if training and dropout and n_levels != 1:
        raise LilliputError(f"its {name} is still training (dropout between its levels): save it after .eval()")
    before = tuple(states) if isinstance(states, list | tuple) else (states,)
    if both_ways is not False or not isinstance(n_levels, int) or not 1 <= n_levels <= MAX_LEVELS:
        raise LilliputError(f"{name} of {n_levels} levels, in both directions {both_ways}; supported: in one direction")
    if not isinstance(x, Flow) or not all(isinstance(one, np.ndarray) for one in before):
        raise LilliputError(f"the state of its {name} is computed, not kept in buffers; supported: buffers")
    each = 4 if has_bias else 2
    if not isinstance(weights, list | tuple) or len(weights) != each * n_levels:
        found = len(weights) if isinstance(weights, list | tuple) else "no"
        raise LilliputError(f"its {name} has {found} arrays for {n_levels} levels; supported: {each} a level")
    whole = flow.vector(x)
    flow.over_last(x, name)
    for level in range(n_levels):
        layer = _layer(name, weights[each * level : each * (level + 1)], [_first(one, level) for one in before])
        try:
            shape = layers.output_shape(layer, whole.link.shape)
        except LilliputError as error:
            raise LilliputError(f"{name}: {error}") from None
        whole = Flow(flow.Link(whole.link, layer, shape), (*x.shape[:-1], *shape), x.rows)
    cell = RecurrentCall(before)
    return cell, (whole, *(Next(cell, place) for place in range(len(before))))


def _one_step(name: str, given: Sequence[Any]) -> tuple[RecurrentCall, Any]:
    """The same of an LSTMCell or GRUCell, whose new state, or the first of both, is its output."""
    x, states, *weights = given
    before = tuple(states) if isinstance(states, list | tuple) else (states,)
    if not isinstance(x, Flow) or not all(isinstance(one, np.ndarray) for one in before):
        raise LilliputError(f"the state of its {name} is computed, not kept in buffers; supported: buffers")
    if any(one.ndim != 2 or len(one) != 1 for one in before):
        raise LilliputError(f"a state of shape {list(before[0].shape)}; supported: one observation at a time")
    whole = flow.vector(x)
    flow.over_last(x, name)
    layer = _layer(name, [one for one in weights if one is not None], [_first(one, 0) for one in before])
    try:
        shape = layers.output_shape(layer, whole.link.shape)
    except LilliputError as error:
        raise LilliputError(f"{name}: {error}") from None
    shown = Flow(flow.Link(whole.link, layer, shape), (*x.shape[:-1], *shape), x.rows)
    cell = RecurrentCall(before, shown)
    return cell, (shown, Next(cell, 1)) if name == "lstm_cell" else shown


def _layer(name: str, weights: Sequence[Any], first: list[np.ndarray]) -> layers.Recurrent:
    """One level, by torch's order of weights."""
    if not all(isinstance(one, np.ndarray) and one.dtype.kind == "f" for one in weights):
        raise LilliputError(f"the weights of its {name} are no arrays of floats")
    arrays = [np.ascontiguousarray(one, np.float32) for one in weights]
    biases = arrays[2:] or [None, None]
    linear = [layers.Dense(weight, bias) for weight, bias in zip(arrays, biases, strict=False)]
    initial = np.stack(first) if any(one.any() for one in first) else None
    return OPERATORS[name](linear[0], linear[1], initial)


def _first(buffer: np.ndarray, level: int) -> np.ndarray:
    """What a level remembers at the start: the file's buffers are (levels, 1, units)."""
    if buffer.ndim not in (2, 3) or (buffer.ndim == 3 and buffer.shape[1] != 1) or level >= len(buffer):
        raise LilliputError(f"a state of shape {list(buffer.shape)}; supported: one observation at a time")
    return np.ascontiguousarray(buffer[level].reshape(-1), np.float32)


def new_state(value: Any, cells: Sequence[RecurrentCall]) -> Next | None:
    """The new state that a value is, whatever shape it has; None: it is none."""
    if isinstance(value, Next):
        return value
    if isinstance(value, Flow) and value.index is None:
        for cell in cells:
            if cell.shown is not None and value.link is cell.shown.link:
                return Next(cell, 0)
    return None


def write(buffer: Any, value: Next) -> None:
    """Note that a buffer gets its new state.

    Raises:
        LilliputError: it is another buffer than that which was read.
    """
    if buffer is not value.cell.before[value.place]:
        raise WritesInPlace("it writes a new state to another buffer than it read; supported: the same")
    value.cell.written.add(value.place)


def check(cells: Sequence[RecurrentCall], read: Sequence[np.ndarray]) -> None:
    """Refuse a program that forgets, or whose states are also something else.

    Args:
        cells: the calls that the program made.
        read: the arrays whose numbers were used beside them.

    Raises:
        LilliputError: a new state is written nowhere, two stand in one buffer, or one is read by other operators.
    """
    if any(len(cell.written) < len(cell.before) for cell in cells):
        raise LilliputError(
            "its LSTM or GRU keeps no state: forward starts anew at each step; save a module that writes the new state "
            "to its buffers"
        )
    states = [state for cell in cells for state in cell.before]
    if any(np.may_share_memory(one, other) for i, one in enumerate(states) for other in states[:i]):
        raise WritesInPlace("two states of its LSTMs or GRUs stand in one buffer; supported: a buffer for each")
    if any(np.may_share_memory(state, one) for state in states for one in read):
        raise WritesInPlace(
            "a state of its LSTM or GRU is read by other operators too; supported: by the LSTM or GRU alone"
        )
