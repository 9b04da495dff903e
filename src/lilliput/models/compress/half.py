"""Half precision: every real weight as float16."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, assert_never, final

if TYPE_CHECKING:
    import torch

from lilliput.errors import NotApplicable
from lilliput.models.compress.context import Context
from lilliput.models.compress.float16 import LARGEST, half_graph, is_marked, tell_marks
from lilliput.models.compress.step import Step
from lilliput.models.model import Graph, Model, Module, weights


@final
@dataclass(frozen=True)
class Half(Step):
    """Stores and computes everything that is not a code in float16."""

    NAME: ClassVar[str] = "half"
    VERSION: ClassVar[int] = 3

    def apply(self, model: Model, context: Context) -> Model:
        """The model in half precision."""
        match model.network:
            case Module() if model.family != "language":
                return half_graph(model, context)  # on processors torch has no kernels for it
            case Module(module=module):
                tell_marks(_marked(model), context)
                halved = _halved(module)
                return dataclasses.replace(model, network=dataclasses.replace(model.network, module=halved))
            case Graph():
                return half_graph(model, context)
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
            tensor.data = tensor.data.where(tensor.data.isinf(), tensor.data.clamp(-LARGEST, LARGEST)).half()
    return module


def _marked(model: Model) -> list[str]:
    """The constants in which float16's largest number stands for others.

    Raises:
        NotApplicable: no weight is longer than 16 bits.
        LilliputError: one holds a number that float16 does not.
    """
    real = [(name, array) for name, array in weights(model) if array.dtype.kind == "f" and name not in model.stored]
    if not any(array.dtype.itemsize > 2 for _, array in real):
        raise NotApplicable("half: no weight is longer than 16 bits; nothing to halve")
    return [name for name, array in real if is_marked(name, array)]
