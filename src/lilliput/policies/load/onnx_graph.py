"""An ONNX graph's nodes, attributes and constants, with sizes checked; nothing is executed."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lilliput.errors import LilliputError

MAX_NODES = 10_000
MAX_ELEMENTS = 1 << 27
_DOMAINS = ("", "ai.onnx")


class Graph:
    """The graph's nodes by what they produce, and its constants."""

    def __init__(self, graph: Any, name: str) -> None:
        self.name = name
        self.producers: dict[str, Any] = {}
        self.constants: dict[str, np.ndarray] = {}
        if len(graph.node) > MAX_NODES:
            raise LilliputError(f"{name} has {len(graph.node)} nodes; at most {MAX_NODES} are read")
        if not all(isinstance(text, str) for text in _texts(graph)):
            raise LilliputError(f"{name} has a name that is not UTF-8; export the model again")
        for tensor in graph.initializer:
            self.constants[tensor.name] = self._array(tensor)
        if graph.sparse_initializer:
            raise LilliputError(f"{name} has sparse initializers; export it with dense ones")
        for node in graph.node:
            if node.domain not in _DOMAINS:
                raise LilliputError(
                    f"{name} has the operator {node.domain[:40]}.{node.op_type[:40]}; supported: those of ONNX itself"
                )
            if not node.input and node.op_type != "Constant":
                raise LilliputError(f"{name}: node {node.op_type[:40]!r} has no input; export the model again")
            for output in node.output:
                self.producers[output] = node
        self.inputs = [value for value in graph.input if value.name not in self.constants]

    def _array(self, tensor: Any) -> np.ndarray:
        from onnx import TensorProto, numpy_helper

        where = f"{self.name}: tensor {tensor.name[:60]!r}"
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise LilliputError(f"{where} is in another file; export the model as one file")
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS or len(tensor.dims) > 8:
            raise LilliputError(
                f"{where} has the shape {list(tensor.dims)[:9]}; at most {MAX_ELEMENTS} elements are read"
            )
        kinds = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32)
        if tensor.data_type not in kinds:
            raise LilliputError(f"{where} is of the type {tensor.data_type}; supported: floats, int32 and int64")
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise LilliputError(f"{where} is damaged; export the model again") from error

    def constant(self, key: str, depth: int = 0) -> np.ndarray | None:
        """The value of that name where it does not depend on the input."""
        if key in self.constants:
            return self.constants[key]
        node = self.producers.get(key)
        if node is None or depth > 8:
            return None
        value: np.ndarray | None = None
        if node.op_type == "Constant":
            value = self._constant_node(node)
        elif node.op_type in ("Identity", "Cast", "Transpose", "Unsqueeze", "Squeeze") and node.input:
            inner = self.constant(node.input[0], depth + 1)
            if inner is not None:
                value = self._rearranged(node, inner, depth)
        if value is not None:
            self.constants[key] = value
        return value

    def _constant_node(self, node: Any) -> np.ndarray | None:
        for attribute in node.attribute:
            match attribute.name:
                case "value":
                    return self._array(attribute.t)
                case "value_float":
                    return np.asarray(attribute.f, np.float32)
                case "value_int":
                    return np.asarray(attribute.i)
                case "value_floats":
                    return np.asarray(attribute.floats, np.float32)
                case "value_ints":
                    return np.asarray(attribute.ints, np.int64)
        return None

    def _rearranged(self, node: Any, value: np.ndarray, depth: int) -> np.ndarray | None:
        try:
            match node.op_type:
                case "Transpose":
                    order = self.attribute(node, "perm", None)
                    return value.transpose(order)
                case "Unsqueeze" | "Squeeze":
                    given = self.constant(node.input[1], depth + 1) if len(node.input) > 1 else None
                    axes = (
                        self.attribute(node, "axes", None)
                        if given is None
                        else [int(axis) for axis in given.reshape(-1)]
                    )
                    if node.op_type == "Squeeze":
                        return value.squeeze(None if axes is None else tuple(axes))
                    return None if axes is None else np.expand_dims(value, tuple(axes))
                case _:
                    return value
        except (ValueError, TypeError, IndexError) as error:
            raise LilliputError(
                f"{self.name}: a constant cannot be rearranged by {node.op_type}; export the model again"
            ) from error

    def attribute(self, node: Any, key: str, default: Any) -> Any:
        """The node's attribute, of the type of its default: a number, a text or (also for None) whole numbers."""
        for attribute in node.attribute:
            if attribute.name != key:
                continue
            match default:
                case float() if attribute.type == attribute.FLOAT:
                    return float(attribute.f)
                case int() if attribute.type == attribute.INT:
                    return int(attribute.i)
                case str() if attribute.type == attribute.STRING:
                    return attribute.s.decode("utf-8", "replace")
                case list() | None if attribute.type == attribute.INTS:
                    return [int(value) for value in attribute.ints]
            raise LilliputError(f"{self.name}: {node.op_type}.{key} is of an unexpected type; export the model again")
        return default


def _texts(graph: Any) -> Iterator[Any]:
    """Every name in the graph; protobuf gives bytes where one is not UTF-8."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output, *(part.name for part in node.attribute))
        yield from (part.t.name for part in node.attribute)
