"""Masks of choices that an ONNX file takes beside the observation, as Unity ML-Agents' do: none is forbidden."""

from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.onnx_graph import Graph
from lilliput.policies.load.onnx_output import words_of

MAX_OPTIONS: Final = 1 << 16
_OTHER_WORDS: Final = {
    "invalid", "illegal", "forbidden", "unavailable", "disallowed", "blocked", "banned", "not", "last", "previous",
    "prev",
}  # fmt: skip
"""Of masks in which 1 forbids, and of those of a step before, which are observations."""


def unmasked(graph: Graph) -> list[str]:
    """What is said of the graph's masks, in whose place it has ones from now on: they are no observation.

    Raises:
        LilliputError: a mask of no fixed size, or of too many choices.
    """
    from onnx import numpy_helper

    masks = [value for value in graph.inputs if is_mask(value.name)]
    for value in masks:
        size = _size(value)
        if not 1 <= size <= MAX_OPTIONS:
            raise LilliputError(
                f"{graph.name}: the input {value.name[:40]!r} masks choices and has no fixed size, or one above "
                f"{MAX_OPTIONS}; export it with one"
            )
        graph.tensors.append(numpy_helper.from_array(np.ones((1, size), np.float32), value.name))
    graph.inputs = [value for value in graph.inputs if value not in masks]
    return [
        f"the input {value.name[:40]!r} is taken as ones, which forbid nothing: where the environment forbids actions, "
        "the policy may choose one of them"
        for value in masks
    ]


def is_mask(name: str) -> bool:
    """Whether the name is one of a mask of actions in which 1 allows.

    >>> is_mask("action_masks"), is_mask("ActionMask"), is_mask("mask"), is_mask("actions")
    (True, True, False, False)
    >>> is_mask("invalid_action_mask"), is_mask("illegalActionsMask"), is_mask("last_action_mask")
    (False, False, False)
    """
    found = set(words_of(name))
    return bool(found & {"action", "actions"}) and bool(found & {"mask", "masks"}) and not found & _OTHER_WORDS


def _size(value: Any) -> int:
    shape = value.type.tensor_type.shape.dim
    return shape[-1].dim_value if shape else 0
