"""Half precision: every real weight as float16."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, assert_never, final

import numpy as np

if TYPE_CHECKING:
    import torch

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import onnx_graph
from lilliput.models.compress.context import Context
from lilliput.models.compress.step import Step
from lilliput.models.model import Graph, Model, Module, weights


@final
@dataclass(frozen=True)
class Half(Step):
    """Stores and computes everything that is not a code in float16."""

    NAME: ClassVar[str] = "half"
    VERSION: ClassVar[int] = 2

    def apply(self, model: Model, context: Context) -> Model:
        """The model in half precision."""
        match model.network:
            case Module() if model.family != "language":
                return onnx_graph.half(model)  # on processors torch has no kernels for it
            case Module(module=module):
                _check(model)
                halved = _halved(module)
                return dataclasses.replace(model, network=dataclasses.replace(model.network, module=halved))
            case Graph():
                return onnx_graph.half(model)
            case _:
                assert_never(model.network)


def _halved(module: "torch.nn.Module") -> "torch.nn.Module":
    """A copy whose weights are float16; tables that no file holds stay as they are, as whoever loads it has them.

    Module.half would halve the frequencies of rotary embeddings too, which from_pretrained computes in float32.
    """
    module = copy.deepcopy(module)
    stored = module.state_dict(keep_vars=True)
    for tensor in stored.values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.half()
    return module


def _check(model: Model) -> None:
    real = [(name, array) for name, array in weights(model) if array.dtype.kind == "f" and name not in model.stored]
    if not any(array.dtype.itemsize > 2 for _, array in real):
        raise NotApplicable("half: no weight is longer than 16 bits; nothing to halve")
    for name, array in real:
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            raise LilliputError(f"half: {name} holds {np.abs(array).max():g}; float16 ends at 65504")
