"""An ONNX graph's nodes, attributes and constants, with sizes checked; nothing is executed."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load import onnx_external

MAX_NODES = 10_000
MAX_ELEMENTS = 1 << 27
DOMAINS = ("", "ai.onnx")


class Graph:
    """What of a model leads to one of its outputs.

    Attributes:
        name: of the file, for errors.
        opset: version of the operators.
        nodes: those that the output needs, in an order in which they can run.
        inputs: those that the output needs.
        tensors: the constants that it needs, their bytes inside.
    """

    def __init__(self, model: Any, output: str, folder: Path, name: str) -> None:
        self.name, self.output = name, output
        graph = model.graph
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in DOMAINS), default=1)
        if len(graph.node) > MAX_NODES:
            raise LilliputError(f"{name} has {len(graph.node)} nodes; at most {MAX_NODES} are read")
        producers = {key: node for node in graph.node for key in node.output if key}
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes = _in_order(producers, tensors, output, name)
        used = {key for node in self.nodes for key in node.input} | {output}
        if used & {sparse.values.name for sparse in graph.sparse_initializer}:
            raise LilliputError(f"{name} has sparse initializers; export it with dense ones")
        self.inputs = [value for value in graph.input if value.name in used and value.name not in tensors]
        self.tensors = [_inside(tensor, folder, name) for key, tensor in tensors.items() if key in used]
        self.model, self._folder, self._made = model, folder, (producers, tensors)

    def beside(self, output: str) -> tuple[list[Any], list[Any]]:
        """The nodes and the constants that another output needs besides those of this one."""
        producers, tensors = self._made
        known = {id(node) for node in self.nodes}
        nodes = [node for node in _in_order(producers, tensors, output, self.name) if id(node) not in known]
        there = {tensor.name for tensor in self.tensors}
        used = {key for node in nodes for key in node.input if key in tensors and key not in there}
        return nodes, [_inside(tensors[key], self._folder, self.name) for key in sorted(used)]

    def constants(self) -> dict[str, np.ndarray]:
        """The constants' values, by name."""
        return {tensor.name: array(tensor, self.name) for tensor in self.tensors}


def check_names(graph: Any, name: str) -> None:
    """Check that all names are text.

    Raises:
        LilliputError: a name is no text; protobuf gives bytes where one is not UTF-8.
    """
    if not all(isinstance(text, str) for text in _texts(graph)):
        raise LilliputError(f"{name} has a name that is not UTF-8; export the model again")


def _in_order(producers: dict[str, Any], tensors: dict[str, Any], output: str, name: str) -> list[Any]:
    """The nodes that the output needs, each after those that it needs."""
    found: list[Any] = []
    state: dict[int, bool] = {}  # by id: whether it is done
    todo = [output]
    while todo:
        node = producers.get(todo[-1])
        if todo[-1] in tensors or node is None or state.get(id(node)):
            todo.pop()
            continue
        if id(node) not in state:
            if not node.input and node.op_type != "Constant":
                raise LilliputError(f"{name}: node {node.op_type[:40]!r} has no input; export the model again")
            state[id(node)] = False
            missing = [key for key in node.input if key and key in producers and not state.get(id(producers[key]))]
            if any(state.get(id(producers[key])) is False for key in missing):
                raise LilliputError(f"{name} goes in circles; export the model again")
            todo += missing
            continue
        if any(state.get(id(producers[key])) is False for key in node.input if key in producers):
            raise LilliputError(f"{name} goes in circles; export the model again")
        state[id(node)] = True
        found.append(node)
        todo.pop()
    return found


def _inside(tensor: Any, folder: Path, name: str) -> Any:
    """The tensor with its bytes inside, checked."""
    from onnx import TensorProto

    where = f"{name}: tensor {tensor.name[:60]!r}"
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS or len(tensor.dims) > 8:
        raise LilliputError(f"{where} has the shape {list(tensor.dims)[:9]}; at most {MAX_ELEMENTS} elements are read")
    kinds = (
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32,
        TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL,
    )  # fmt: skip
    if tensor.data_type not in kinds:
        raise LilliputError(
            f"{where} is of the type {tensor.data_type}; supported: floats, int8, uint8, int32 and int64"
        )
    if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
        return tensor
    inside = TensorProto()
    inside.CopyFrom(tensor)
    inside.ClearField("external_data")
    inside.ClearField("data_location")
    inside.raw_data = onnx_external.read(tensor, folder, where)
    return inside


def array(tensor: Any, name: str) -> np.ndarray:
    """The values of a tensor whose bytes are inside."""
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise LilliputError(f"{name}: tensor {tensor.name[:60]!r} is damaged; export the model again") from error


def constant_node(node: Any, name: str) -> np.ndarray:
    """The value of a node of the kind Constant."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                if attribute.t.external_data:
                    raise LilliputError(f"{name}: a Constant's value is in another file; export the model again")
                return array(_inside(attribute.t, Path(), name), name)
            case "value_float":
                return np.asarray(attribute.f, np.float32)
            case "value_int":
                return np.asarray(attribute.i)
            case "value_floats":
                return np.asarray(attribute.floats, np.float32)
            case "value_ints":
                return np.asarray(attribute.ints, np.int64)
    raise LilliputError(f"{name}: a Constant of text or of zeros; supported: numbers")


def attribute(node: Any, key: str, default: Any) -> Any:
    """The node's attribute, of the type of its default: a number, a text or (also for None) whole numbers."""
    for found in node.attribute:
        if found.name != key:
            continue
        match default:
            case float() if found.type == found.FLOAT:
                return float(found.f)
            case int() if found.type == found.INT:
                return int(found.i)
            case str() if found.type == found.STRING:
                return found.s.decode("utf-8", "replace")
            case list() | None if found.type == found.INTS:
                return [int(value) for value in found.ints]
        raise LilliputError(f"{node.op_type}.{key} is of an unexpected type; export the model again")
    return default


def _texts(graph: Any) -> Iterator[Any]:
    """Every name in the graph."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output, *(part.name for part in node.attribute))
        yield from (part.t.name for part in node.attribute)
