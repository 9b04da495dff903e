"""torch's LSTM and GRU in a state dict: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, and so on."""

import re
from collections.abc import Iterable
from typing import Final

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import network
from lilliput.policies.load.network import State

PARTS: Final = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_KINDS = {gates: kind for kind, gates in layers.GATES.items()}


def keys(prefix: str) -> tuple[str, ...]:
    """The expressions of the keys of such a module."""
    return tuple(rf"{re.escape(prefix)}\.{part}_l\d+" for part in PARTS)


def is_there(names: Iterable[str], prefix: str) -> bool:
    """Whether a key of such a module is among the names."""
    return any(name.startswith(f"{prefix}.weight_ih_l") for name in names)


def levels(state: State, prefix: str, name: str) -> list[layers.Recurrent]:
    """The layers of the module, one a level; a number of gates tells an LSTM from a GRU.

    Raises:
        LilliputError: levels that are not whole or not numbered from 0, an RNN, or one with a projection.
    """
    expression = re.compile(rf"{re.escape(prefix)}\.\w+_l(\d+)")
    numbers = sorted({int(found[1]) for key in state if (found := expression.fullmatch(key))})
    if numbers != list(range(len(numbers))):
        raise LilliputError(f"{name}: {prefix} has the levels {numbers[:8]}; they are numbered from 0")
    stack: list[layers.Recurrent] = []
    for level in numbers:
        biased = any(f"{prefix}.{part}_l{level}" in state for part in PARTS[2:])
        ih, hh = (network.array(state, f"{prefix}.{part}_l{level}", name) for part in PARTS[:2])
        b_ih, b_hh = (network.array(state, f"{prefix}.{part}_l{level}", name) if biased else None for part in PARTS[2:])
        n = hh.shape[1] if hh.ndim == 2 else 0
        gates = len(hh) // n if n and len(hh) % n == 0 else 0
        if gates not in _KINDS:
            raise LilliputError(
                f"{name}: {prefix}.weight_hh_l{level} has the shape {list(hh.shape)}; supported: an LSTM (4 n, n) and "
                "a GRU (3 n, n), without a projection"
            )
        made = _KINDS[gates](layers.Dense(ih, b_ih), layers.Dense(hh, b_hh))
        assert isinstance(made, layers.Recurrent)
        stack.append(made)
    return stack
