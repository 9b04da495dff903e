"""Layers that remember: what they give depends on the steps of the episode before.

The conventions are torch's: gates stand one after the other in the order input, forget, cell, output (LSTM) and reset,
update, new (GRU), and a bias comes with the weights of the input as with those of the hidden state. Both linear parts
are layers of their own, so that whatever stores and multiplies a Dense layer stores and multiplies them.
"""

from dataclasses import dataclass
from typing import assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.layers.array import freeze_real
from lilliput.policies.layers.linear import Dense, QuantizedDense

MAX_HISTORY = 1024
"""Steps that a history may hold."""


@final
@dataclass(frozen=True, eq=False)
class Lstm:
    """i, f, g, o = input(x) + recurrent(h); c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c); gives h.

    Attributes:
        input: of 4 n outputs for n units.
        recurrent: the same for the hidden state, of n inputs.
        initial: h and c at an episode's start, (2, n); None: zeros.
    """

    input: Dense | QuantizedDense
    recurrent: Dense | QuantizedDense
    initial: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.initial is not None:
            freeze_real(self, "initial")


@final
@dataclass(frozen=True, eq=False)
class Gru:
    """r, z, n = input(x) and recurrent(h), summed for r and z; h = (1 - sigmoid(z)) new + sigmoid(z) h; gives h.

    new = tanh(n of input(x) + sigmoid(r) * (n of recurrent(h))) or, where the reset comes first,
    tanh(n of input(x) + n of recurrent(sigmoid(r) * h)).

    Attributes:
        input: of 3 n outputs for n units.
        recurrent: the same for the hidden state, of n inputs.
        initial: h at an episode's start, (1, n); None: zeros.
        reset_first: whether the reset gate is applied before the weights (ONNX's linear_before_reset = 0, Keras's
            reset_after = False) and not, as torch and Flax do, behind them.
    """

    input: Dense | QuantizedDense
    recurrent: Dense | QuantizedDense
    initial: np.ndarray | None = None
    reset_first: bool = False

    def __post_init__(self) -> None:
        if self.initial is not None:
            freeze_real(self, "initial")


@final
@dataclass(frozen=True)
class History:
    """The last `length` inputs as one vector, the oldest first; before an episode's start they were zeros."""

    length: int

    def __post_init__(self) -> None:
        if not 2 <= self.length <= MAX_HISTORY:
            raise LilliputError(f"a history holds {self.length} steps; it must be from 2 to {MAX_HISTORY}")


Recurrent = Lstm | Gru
Memory = Lstm | Gru | History

GATES = {Lstm: 4, Gru: 3}
"""Outputs of the linear parts a unit."""


def n_units(layer: Recurrent) -> int:
    """How many numbers the hidden state has."""
    return layer.recurrent.weight.shape[1] if len(layer.recurrent.weight.shape) == 2 else 0


def state_shapes(layer: Memory, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of each array that the layer remembers of an episode, by name, for an input of `shape`."""
    match layer:
        case Lstm():
            return {"h": (n_units(layer),), "c": (n_units(layer),)}
        case Gru():
            return {"h": (n_units(layer),)}
        case History(length=length):
            return {"history": (length - 1, *shape)}
        case _:
            assert_never(layer)


def initial_state(layer: Memory, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """What it remembers at an episode's start, float32, in the order of `state_shapes`."""
    shapes = state_shapes(layer, shape).values()
    if isinstance(layer, History) or layer.initial is None:
        return tuple(np.zeros(one, np.float32) for one in shapes)
    return tuple(layer.initial.astype(np.float32))
