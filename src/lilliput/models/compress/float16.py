"""What float16 holds of a model's constants, and an ONNX graph in it, by onnxruntime's converter."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress.context import Context
from lilliput.models.compress.onnx_graph import A_MARK, quiet
from lilliput.models.graph import as_graph, graph_of
from lilliput.models.linear import QUANTIZED
from lilliput.models.model import Graph, Model

if TYPE_CHECKING:
    import onnx

LARGEST: Final = float(np.finfo(np.float16).max)


def is_marked(name: str, array: Float[np.ndarray, "..."]) -> bool:
    """Whether the constant holds finite numbers for which float16's largest stands; infinity stays what it is.

    A mask must not become infinite: (1 - seen) * mask would be no number where a place is seen.

    Raises:
        LilliputError: it holds a number that float16 does not, and that is none of those.
    """
    sizes = np.abs(array[np.isfinite(array)])
    beyond = sizes[sizes > LARGEST]
    if (beyond < A_MARK).any():
        raise LilliputError(f"half: {name} holds {beyond[beyond < A_MARK].max():g}; float16 ends at {LARGEST:.0f}")
    return beyond.size > 0


def tell_marks(names: list[str], context: Context) -> None:
    """Say for how many constants float16's largest number stands."""
    if names:
        context.tell(
            f"half: {LARGEST:.0f}, float16's largest number, stands for larger ones in {len(names)} constants that "
            f"hide places or leave ends open, such as {names[0]}"
        )


def half_graph(model: Model, context: Context) -> Model:
    """The model that stores and computes in float16, with inputs and outputs as they were.

    Raises:
        NotApplicable: no weight is longer.
        LilliputError: a weight that float16 does not hold, or a graph that cannot be converted.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = graph_of(model)
    if any(node.op_type in QUANTIZED for node in proto.graph.node):
        raise LilliputError("half: the graph has codes, whose scales stay float32; leave half out")
    real = [(name, array) for name, array in _constants(proto.graph) if array.dtype == np.float32]
    if not any(array.size > 1 for _, array in real):
        raise NotApplicable("half: no weight is longer than 16 bits; nothing to halve")
    marked = {name for name, array in real if is_marked(name, array)}
    with quiet():
        found = ONNXModel(convert_float_to_float16(proto, keep_io_types=True))
        # It puts casts behind the nodes that read them, where onnxruntime runs the graph and ONNX forbids it.
        found.topological_sort()
    halved = [name for name, array in _constants(found.model.graph) if array.dtype == np.float16]
    if not halved:
        raise LilliputError("half: onnxruntime's converter left every weight as it was")
    tell_marks([name for name in halved if name in marked], context)
    return dataclasses.replace(as_graph(model), network=Graph(found.model))


def _constants(graph: "onnx.GraphProto") -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of every constant: stored ones, and those that stand in nodes, of branches too."""
    from onnx import numpy_helper

    for tensor in graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        for part in node.attribute:
            if part.type == part.TENSOR:
                yield node.name or node.output[0], numpy_helper.to_array(part.t)
            elif part.type == part.GRAPH:
                yield from _constants(part.g)
