"""Bits for each layer under a byte budget, given out by how much each layer's rounding moves the actions."""

import heapq
import itertools
import math
from collections.abc import Mapping

_MAX_COMBINATIONS = 20_000

_CANDIDATES = 8


def allocations(
    error: Mapping[int, Mapping[int, float]], nbytes: Mapping[int, Mapping[int, int]], budget: int
) -> list[dict[int, int]]:
    """Bits for each layer that together fit the budget, those of the least summed error first; none where none fit.

    Args:
        error: for each layer and number of bits, the squared error of the actions when that layer alone is rounded.
        nbytes: for each layer and number of bits, the layer's bytes.
        budget: of all layers together.
    """

    def size(bits: Mapping[int, int]) -> int:
        return sum(nbytes[index][b] for index, b in bits.items())

    def loss(bits: Mapping[int, int]) -> tuple[float, int]:
        return sum(error[index][b] for index, b in bits.items()), size(bits)

    choices = [sorted(errors) for errors in error.values()]
    if math.prod(map(len, choices)) > _MAX_COMBINATIONS:
        return _step_by_step(error, nbytes, budget)
    every = (dict(zip(error, bits, strict=True)) for bits in itertools.product(*choices))
    return heapq.nsmallest(_CANDIDATES, (bits for bits in every if size(bits) <= budget), key=loss)


def _step_by_step(
    error: Mapping[int, Mapping[int, float]], nbytes: Mapping[int, Mapping[int, int]], budget: int
) -> list[dict[int, int]]:
    """From the most bits, the layer that loses least for each byte it saves gives up bits, until all fit."""
    bits = {index: max(errors) for index, errors in error.items()}
    while sum(nbytes[index][b] for index, b in bits.items()) > budget:
        moves = [
            ((error[index][fewer] - error[index][b]) / (nbytes[index][b] - nbytes[index][fewer]), index, fewer)
            for index, b in bits.items()
            for fewer in error[index]
            if nbytes[index][fewer] < nbytes[index][b]
        ]
        if not moves:
            return []
        _, index, fewer = min(moves)
        bits[index] = fewer
    return [bits]
