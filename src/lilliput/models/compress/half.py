"""Half precision: every real weight as float16."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import ClassVar, assert_never, final

import numpy as np

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
    VERSION: ClassVar[int] = 1

    def apply(self, model: Model, context: Context) -> Model:
        """The model in half precision."""
        match model.network:
            case Module() if model.family != "language":
                return onnx_graph.half(model)  # on processors torch has no kernels for it
            case Module(module=module):
                _check(model)
                halved = copy.deepcopy(module).half()
                return dataclasses.replace(model, network=dataclasses.replace(model.network, module=halved))
            case Graph():
                return onnx_graph.half(model)
            case _:
                assert_never(model.network)


def _check(model: Model) -> None:
    real = [(name, array) for name, array in weights(model) if array.dtype.kind == "f" and name not in model.stored]
    if not any(array.dtype.itemsize > 2 for _, array in real):
        raise NotApplicable("half: no weight is longer than 16 bits; nothing to halve")
    for name, array in real:
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            raise LilliputError(f"half: {name} holds {np.abs(array).max():g}; float16 ends at 65504")
