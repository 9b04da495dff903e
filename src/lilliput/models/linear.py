"""The linear layers of a model, which are pruned and quantized: where their weights stand, and which mean zero."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never, final

import numpy as np
from jaxtyping import Bool, Num, Shaped

from lilliput.models.model import Graph, Model, Module, to_numpy

if TYPE_CHECKING:
    import onnx
    import torch

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
INTEGER = ("ConvInteger", "MatMulInteger")
FOREIGN = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QAttention",
    "MatMulNBits",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
)
"""Layers of codes that no step here writes or reads."""
QUANTIZED = ("DequantizeLinear", *INTEGER, *FOREIGN)
_REAL = (1, 10, 11, 16)
"""ONNX's numbers of float32, float16, float64 and bfloat16."""
_MUCH = 0.05
_SUFFIX = re.compile("(_Transposed)?(_quantized)?$")
"""What onnxruntime's quantizers put behind the name of a weight."""


@final
@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of a linear layer.

    Attributes:
        name: of the tensor.
        array: its values, or codes.
        columns: whether outputs are its columns, not its first axis.
        zero: the code that stands for 0 (of each output, or of all); 0 where values are real.
        scale: what a code of 1 more is; 1 where values are real.
    """

    name: str
    array: Num[np.ndarray, "..."]
    columns: bool
    zero: Num[np.ndarray, "..."]
    scale: Num[np.ndarray, "..."]

    @property
    def is_zero(self) -> Bool[np.ndarray, "..."]:
        """Where it stands for 0."""
        return self.array == self.zero

    @property
    def rows(self) -> Num[np.ndarray, "outputs inputs"]:
        """What it stands for, a row an output."""
        array = (
            (self.array.astype(np.float32) - self.zero) * self.scale
            if self.array.dtype.name.startswith(("int", "uint"))
            else self.array
        )
        return as_rows(array, self.columns)


def is_transposed(part: "torch.nn.Module") -> bool:
    """Whether it is transformers' Conv1D, GPT-2's linear layer, whose weight has a column an output."""
    return type(part).__name__ == "Conv1D" and type(part).__module__ == "transformers.pytorch_utils"


def rows_of(part: "torch.nn.Module") -> "torch.Tensor":
    """The weight of a linear layer with a row an output: the tensor itself, or a view of it, which may be written."""
    weight: Any = part.weight
    return weight.T if is_transposed(part) else weight


def as_rows(array: Shaped[np.ndarray, "..."], columns: bool) -> Shaped[np.ndarray, "outputs inputs"]:
    """A weight with a row an output."""
    return array.T.reshape(array.shape[-1], -1) if columns else array.reshape(len(array), -1)


def as_stored(
    rows: Shaped[np.ndarray, "outputs inputs"], shape: tuple[int, ...], columns: bool
) -> Shaped[np.ndarray, "..."]:
    """Rows in the shape of the tensor that they are from."""
    return rows.reshape(shape[::-1]).T if columns else rows.reshape(shape)


def linear_of(model: Model) -> list[Weight]:
    """The weights of a model's linear layers: of a language model those that a step may change are in its blocks."""
    match model.network:
        case Module(module=module):
            from torch import nn

            return [
                Weight(name, to_numpy(module.get_parameter(name)), is_transposed(part), np.zeros(()), np.ones(()))
                for name, part in ((f"{name}.weight", part) for name, part in module.named_modules())
                if isinstance(part, nn.Linear | nn.Conv2d) or is_transposed(part)
            ]
        case Graph(proto=proto):
            return list(in_graph(proto))
        case _:
            assert_never(model.network)


def in_graph(proto: "onnx.ModelProto") -> Iterator[Weight]:
    """The weights of a graph's linear layers, each once, real or quantized by onnxruntime."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    behind = {node.output[0]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    turned = _turned(proto, behind)
    seen: set[str] = set()

    def value(name: str) -> np.ndarray:
        return numpy_helper.to_array(stored[name]) if name in stored else np.zeros(())

    for node in proto.graph.node:
        if node.op_type not in (*LAYERS, *INTEGER) or len(node.input) < 2:
            continue
        name, zero, scale, axis, block = node.input[1], np.zeros(()), np.ones(()), None, 0
        is_turned = name in turned
        name = turned.get(name, name)
        if name in behind:
            source = behind[name]
            name, scale = source.input[0], value(source.input[1])
            zero = value(source.input[2]) if len(source.input) > 2 else zero
            axis = next((part.i for part in source.attribute if part.name == "axis"), 1)
            block = next((part.i for part in source.attribute if part.name == "block_size"), 0)
        elif node.op_type in INTEGER and len(node.input) > 3:
            zero = value(node.input[3])
        if name not in stored or name in seen or len(stored[name].dims) < 2:
            continue
        seen.add(name)
        array = numpy_helper.to_array(stored[name])
        transposed = any(part.name == "transB" and part.i for part in node.attribute)
        columns = node.op_type in ("MatMul", "MatMulInteger") or (node.op_type == "Gemm" and not transposed)
        yield Weight(
            name, array, columns != is_turned, *(_spread(part, array.shape, axis, block) for part in (zero, scale))
        )


def _turned(proto: "onnx.ModelProto", behind: "Mapping[str, onnx.NodeProto]") -> dict[str, str]:
    """What a Transpose gives of the codes of a matrix, which stand behind DequantizeLinear: by its name, theirs.

    Exporters of torch's linear layers leave it there. Codes that something else reads too, as a tied embedding's are,
    are not only a layer's.
    """
    read = Counter(name for node in proto.graph.node for name in node.input)
    found = {}
    for node in proto.graph.node:
        if node.op_type != "Transpose" or node.input[0] not in behind:
            continue
        name = node.input[0]
        perm = next((list(part.ints) for part in node.attribute if part.name == "perm"), [1, 0])
        if perm == [1, 0] and read[name] == 1 and read[behind[name].input[0]] == 1:
            found[node.output[0]] = name
    return found


def elsewhere(proto: "onnx.ModelProto") -> str:
    """How much of a graph's matrices stands in other nodes than linear layers, and in which; empty: hardly any.

    Steps leave those as they are: embeddings, recurrent layers, weights that are computed before they are used.
    """
    linear = {weight.name for weight in in_graph(proto)}
    reader: dict[str, str] = {}
    for node in proto.graph.node:
        for name in node.input:
            reader.setdefault(name, node.op_type)
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and reader[node.input[0]] == "DequantizeLinear":
            reader[node.input[0]] = reader.get(node.output[0], "nothing")
    scales = {name for node in proto.graph.node if node.op_type == "DequantizeLinear" for name in node.input[1:]}
    codes = {node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    every = {tensor.name: math.prod(tensor.dims) for tensor in proto.graph.initializer
             if len(tensor.dims) > 1 and (tensor.data_type in _REAL or tensor.name in codes | linear)}  # fmt: skip
    rest = {name: size for name, size in every.items() if name not in linear | scales}
    n, of = sum(rest.values()), sum(every.values())
    if n < _MUCH * of:
        return ""
    kinds = sorted({reader.get(name, "nothing") for name in rest})
    return f"{n / of:.0%} of the weights stand in other nodes than linear layers ({', '.join(kinds[:6])})"


def _spread(part: np.ndarray, shape: tuple[int, ...], axis: int | None, block: int) -> np.ndarray:
    """Scales or zero points in a shape that meets the weight's."""
    if part.size == 1 or axis is None:
        return part.reshape(()) if part.size == 1 else part
    axis %= len(shape)
    if block:
        return np.repeat(part, block, axis).take(range(shape[axis]), axis)
    return part.reshape([-1 if at == axis else 1 for at in range(len(shape))])


def still_zero(model: Model) -> tuple[int, int] | None:
    """How many weights were pruned, and how many of them are zero now; None where one is not found again."""
    found = {_SUFFIX.sub("", weight.name): weight for weight in linear_of(model)}
    n = still = 0
    for name, mask in model.pruned.items():
        weight = found.get(_SUFFIX.sub("", name))
        if weight is None:
            return None
        zero = np.broadcast_to(weight.is_zero, weight.array.shape)
        zero = zero.T if ("_Transposed" in weight.name) != ("_Transposed" in name) else zero
        if zero.shape != mask.shape:
            return None
        n += int(np.count_nonzero(mask))
        still += int(np.count_nonzero(mask & zero))
    return n, still


def groups_of_four(model: Model) -> tuple[int, int]:
    """Of the pruned weights: how many groups of four neighbouring inputs there are, and how many have two zeros."""
    names = {_SUFFIX.sub("", name) for name in model.pruned}
    n = found = 0
    for weight in linear_of(model):
        if _SUFFIX.sub("", weight.name) not in names:
            continue
        rows = as_rows(np.broadcast_to(weight.is_zero, weight.array.shape), weight.columns)
        whole = rows.shape[1] // 4 * 4
        groups = rows[:, :whole].reshape(len(rows), -1, 4).sum(axis=2)
        n += groups.size
        found += int(np.count_nonzero(groups >= 2))
    return n, found
