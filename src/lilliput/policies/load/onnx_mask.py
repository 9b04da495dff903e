"""Masks of choices that an ONNX file takes beside the observation, as Unity ML-Agents' do: none is forbidden."""

from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.onnx_graph import Graph
from lilliput.policies.load.onnx_output import words_of


def unmasked(graph: Graph) -> list[str]:
    """What is said of the graph's masks, in whose place it has ones from now on: they are no observation.

    Raises:
        LilliputError: a mask of no fixed size.
    """
    from onnx import numpy_helper

    masks = [value for value in graph.inputs if is_mask(value.name)]
    for value in masks:
        size = _size(value)
        if size < 1:
            raise LilliputError(
                f"{graph.name}: the input {value.name[:40]!r} masks choices and has no fixed size; export it with one"
            )
        graph.tensors.append(numpy_helper.from_array(np.ones((1, size), np.float32), value.name))
    graph.inputs = [value for value in graph.inputs if value not in masks]
    return [
        f"the input {value.name[:40]!r} is taken as ones, which forbid nothing: where the environment forbids actions, "
        "the policy may choose one of them"
        for value in masks
    ]


def is_mask(name: str) -> bool:
    """Whether the name is one of a mask of actions.

    >>> is_mask("action_masks"), is_mask("ActionMask"), is_mask("mask"), is_mask("actions")
    (True, True, False, False)
    """
    found = set(words_of(name))
    return bool(found & {"action", "actions"}) and bool(found & {"mask", "masks"})


def _size(value: Any) -> int:
    shape = value.type.tensor_type.shape.dim
    return shape[-1].dim_value if shape else 0
