"""The choices that a file makes: of one largest element, or of several."""

import math
from dataclasses import replace

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.flow import (
    Choices,
    Common,
    Flow,
    Softmax,
    Value,
    joined,
    rearranged,
    reshaped,
    settled,
    vector,
)

MAX_CHOICES = 256


def argmax(flow: Flow, axis: int, *, keep: bool) -> Choices:
    """The index of the largest element of each observation, or of each row of its table, over the last axis."""
    axis %= max(len(flow.shape), 1)
    each = math.prod(flow.shape) // (flow.shape[axis] * flow.rows)
    if not 1 <= each <= MAX_CHOICES or (each > 1 and axis != len(flow.shape) - 1):
        raise LilliputError(
            f"ArgMax takes a value of shape {list(flow.shape)} over axis {axis}; supported: one choice from all of an "
            f"observation, or one a row over the last axis, {MAX_CHOICES} at most"
        )
    shape = tuple(1 if i == axis else n for i, n in enumerate(flow.shape) if keep or i != axis)

    def group(index: int) -> Flow:
        return rearranged(
            flow, lambda array: np.moveaxis(array, axis, -1).reshape(flow.rows, each, -1)[:, index], "ArgMax"
        )

    return Choices(tuple(group(index) for index in range(each)), shape, flow.rows)


def together(choices: Choices) -> tuple[tuple[int, ...], Flow]:
    """How many options each choice has, and one vector of the elements of all."""
    groups = choices.groups
    sizes = tuple(math.prod(group.shape) // group.rows for group in groups)
    rows = [reshaped(group, (group.rows, size)) for group, size in zip(groups, sizes, strict=True)]
    whole = groups[0] if len(groups) == 1 else joined([_ranked(row) for row in rows], 1)
    assert isinstance(whole, Flow)
    return sizes, vector(whole)


def _ranked(group: Value) -> Flow:
    """The numbers of which a group's probabilities are, whose largest is at the same place."""
    assert isinstance(group, Flow)
    whole = settled(group)
    while isinstance(whole.link.step, Softmax | Common) and whole.link.parent is not None:
        whole = replace(whole, link=whole.link.parent)
    return whole
