"""The weights of a model that steps work on, changed in a copy: with Hessians from a walk, or each by itself."""

import copy
import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from lilliput.models.compress.calibration_text import calibration_windows
from lilliput.models.compress.context import Context
from lilliput.models.compress.walk import linear_weights, walk
from lilliput.models.linear import is_transposed, rows_of
from lilliput.models.model import Model, Module, module_of
from lilliput.models.storage import Quantized

if TYPE_CHECKING:
    import torch

Result = tuple[np.ndarray, Quantized | None]
"""The new weight, and how it is stored where that is not as it is."""

Change = Callable[[str, np.ndarray, np.ndarray | None], Result]
"""From a weight's name, the weight and, where there is one, its Hessian."""


def matrices(model: Model, step: str) -> dict[str, np.ndarray]:
    """The weights of all linear layers inside the model's blocks, by name, as float32."""
    linear = linear_weights(module_of(model, step))
    return {name: rows_of(part).detach().float().cpu().numpy() for name, part in linear.items()}


def changed(
    model: Model,
    step: str,
    change: Change,
    context: Context,
    *,
    source: str = "",
    samples: int = 0,
    tokens: int = 0,
    pruned: bool = False,
) -> Model:
    """A copy of the model with each linear weight of its blocks changed, from the front.

    Args:
        model: what to change.
        step: whose name errors carry.
        change: what to make of each weight.
        context: seeds and progress.
        source: of calibration text; empty: the weights are changed without Hessians.
        samples: windows of text.
        tokens: the length of each.
        pruned: whether the zeros of the changed weights are there on purpose, for later steps to keep.
    """
    module = copy.deepcopy(module_of(model, step))
    stored: dict[str, Quantized] = dict(model.stored)
    masks: dict[str, np.ndarray] = dict(model.pruned)
    columns = {name for name, part in linear_weights(module).items() if is_transposed(part)}

    def settled(name: str, weight: np.ndarray, hessian: np.ndarray | None) -> np.ndarray:
        new, storage = change(name, weight, hessian)
        if pruned:
            masks[name] = (new == 0).T if name in columns else new == 0
        if storage is None:
            stored.pop(name, None)
        else:
            stored[name] = storage
        return new

    if source:
        walk(module, calibration_windows(model, context, source, samples, tokens), settled, context)
    else:
        _each(module, settled)
    assert isinstance(model.network, Module)
    return dataclasses.replace(
        model,
        network=dataclasses.replace(model.network, module=module),
        stored=MappingProxyType(stored),
        pruned=MappingProxyType(masks),
    )


def _each(module: "torch.nn.Module", change: Callable[[str, np.ndarray, None], np.ndarray]) -> None:
    import torch

    with torch.inference_mode():
        for name, part in linear_weights(module).items():
            rows_of(part).copy_(torch.from_numpy(change(name, rows_of(part).detach().float().cpu().numpy(), None)))


def kept_of(model: Model, name: str) -> np.ndarray | None:
    """Which weights an earlier step kept, a row an output; None where none was pruned."""
    if name not in model.pruned:
        return None
    kept = ~model.pruned[name]
    return kept.T if is_transposed(linear_weights(module_of(model, name))[name]) else kept
