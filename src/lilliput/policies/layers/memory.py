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


@final
@dataclass(frozen=True)
class PreviousAction:
    """The input with the policy's own last actions at `start`, the oldest first; before an episode's first were zeros.

    Attributes:
        start: where in the output they stand.
        actions: how many numbers an action is.
        steps: how many of the last actions.
        head: how many of the policy's last layers stand behind what is remembered: those that move and clip the action
            for a robot whose observation holds it as the network gave it. 0: the action itself.
    """

    start: int
    actions: int
    steps: int = 1
    head: int = 0

    def __post_init__(self) -> None:
        if self.start < 0 or self.head < 0 or self.actions < 1 or not 1 <= self.steps <= MAX_HISTORY:
            raise LilliputError(
                f"a previous action of {self.actions} numbers and {self.steps} steps at {self.start}, {self.head} "
                f"layers behind it; at least one number, 1 to {MAX_HISTORY} steps and nothing below 0 are needed"
            )

    @property
    def size(self) -> int:
        """How many numbers it puts into its input."""
        return self.steps * self.actions


Recurrent = Lstm | Gru
Memory = Lstm | Gru | History | PreviousAction

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
        case PreviousAction(steps=steps, actions=actions):
            return {"previous": (steps, actions)}
        case _:
            assert_never(layer)


def initial_state(layer: Memory, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """What it remembers at an episode's start, float32, in the order of `state_shapes`."""
    shapes = state_shapes(layer, shape).values()
    if not isinstance(layer, Recurrent) or layer.initial is None:
        return tuple(np.zeros(one, np.float32) for one in shapes)
    return tuple(layer.initial.astype(np.float32))
