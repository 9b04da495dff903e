"""Structured pruning: whole channels of a graph are taken out, and its layers are smaller."""

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress.channels import channels_of, without
from lilliput.models.compress.context import Context
from lilliput.models.compress.step import Step
from lilliput.models.graph import as_graph, graph_of, simplified
from lilliput.models.linear import QUANTIZED
from lilliput.models.model import Graph, Model
from lilliput.parameter import check_fields, check_integer, check_ratio

if TYPE_CHECKING:
    import onnx


@final
@dataclass(frozen=True)
class PruneUnits(Step):
    """Takes the least important `ratio` of the channels out of every layer (rounded down); inputs and outputs stay.

    Layers whose outputs are added lose the same channels. What something else is done with than channel by channel (a
    reshape, a split, a softmax over them) keeps all.

    Attributes:
        ratio: of each layer's channels, in [0, 1).
        importance: the `l1` or `l2` norm of all weights and biases that make a channel.
        multiple: what is left of a layer is a multiple of it (rounded down, at least one): processors compute so many
            at once, and a layer of 45 channels may take longer than one of 48.
    """

    NAME: ClassVar[str] = "prune_units"
    VERSION: ClassVar[int] = 1

    ratio: float
    importance: Literal["l1", "l2"] = "l2"
    multiple: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "ratio", self.ratio)
        check_integer(self, "multiple", self.multiple, 1, 1024)

    def check(self, model: Model) -> None:
        """See `Step.check`."""
        if model.family == "language":
            raise LilliputError("prune_units: channels of ONNX graphs are removed; for a language model: prune_weights")

    def apply(self, model: Model, context: Context) -> Model:
        """The model with fewer channels."""
        self.check(model)
        from onnx import TensorProto

        proto = graph_of(model)
        if any(node.op_type in QUANTIZED for node in proto.graph.node):
            raise LilliputError("prune_units: the graph is quantized; prune_units before quantize")
        if short := next((t.name for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT16), None):
            raise LilliputError(
                f"prune_units: {short} is float16; channels of float32 are removed: half() comes behind"
            )
        proto = simplified(proto)
        _own_constants(proto)
        channels = channels_of(proto)
        size = channels.importance(1 if self.importance == "l1" else 2)
        gone: set[int] = set()
        for units in channels.classes():
            order = units[np.argsort([size[int(unit)] for unit in units], kind="stable")]
            gone.update(order[: self.n_removed(len(units))].tolist())
        if not gone:
            raise NotApplicable(
                f"prune_units: a ratio of {self.ratio:g} removes no channel of the {len(channels.classes())} sets of "
                "layers whose channels can be removed"
            )
        kept = without(proto, channels, frozenset(gone))
        _shared_constants(proto)
        _check(proto)
        masks = {name: _cut(mask, kept.get(name, {})) for name, mask in model.pruned.items()}
        return dataclasses.replace(as_graph(model), network=Graph(proto), pruned=MappingProxyType(masks))

    def n_removed(self, n: int) -> int:
        """How many of n channels go."""
        left = n - int(self.ratio * n + 1e-9)
        if left == n or n <= self.multiple:
            return 0
        return n - max(left - left % self.multiple, self.multiple)


def _cut(mask: np.ndarray, axes: dict[int, np.ndarray]) -> np.ndarray:
    for axis, stays in axes.items():
        if len(stays) != mask.shape[axis]:
            return mask  # of a tensor that was rewritten: it is not found again
        mask = np.compress(stays, mask, axis=axis)
    return mask


def _own_constants(proto: "onnx.ModelProto") -> None:
    """Give every use of a constant one of its own, so that each may lose other channels."""
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    seen: set[str] = set()
    for number, node in enumerate(proto.graph.node):
        for place, name in enumerate(node.input):
            if name in stored and name in seen:
                copy = proto.graph.initializer.add()
                copy.CopyFrom(stored[name])
                copy.name = node.input[place] = f"{name}.{number}.{place}"
            seen.add(name)


def _shared_constants(proto: "onnx.ModelProto") -> None:
    """Make equal constants one again."""
    first: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    for tensor in list(proto.graph.initializer):
        key = (
            tensor.data_type,
            tuple(tensor.dims),
            tensor.raw_data,
            tuple(tensor.float_data),
            tuple(tensor.int64_data),
        )
        if first.setdefault(key, tensor.name) != tensor.name:
            names[tensor.name] = first[key]
            proto.graph.initializer.remove(tensor)
    for node in proto.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def _check(proto: "onnx.ModelProto") -> None:
    import onnx

    try:
        onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LilliputError(
            f"prune_units: the layers no longer fit each other, so nothing is removed: {str(error)[:160]}"
        ) from error
