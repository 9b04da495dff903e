"""An ONNX graph as it is written: nodes in order of execution, and constants, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


class GraphBuilder:
    """What has been added so far: nodes in order of execution, and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The name of the output of a new node."""
        return self.node_of_several(op, *inputs, outputs=(f"v{len(self.nodes)}",), **attributes)[0]

    def node_of_several(self, op: str, *inputs: str, outputs: tuple[str, ...], **attributes: Any) -> tuple[str, ...]:
        """The names of the outputs of a new node."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs

    def name_output(self, value: str, name: str) -> None:
        """Gives the value the name of an output of the model."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, known in enumerate(names):
                    if known == value:
                        names[i] = name

    def constant(self, array: np.ndarray | np.generic) -> str:
        """The name of a constant; the same one for the same array."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = f"c{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def real(self, array: np.ndarray) -> str:
        """A constant read as float32, stored as it is."""
        name = self.constant(array)
        return name if array.dtype == np.float32 else self.cast(name, np.float32)

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        """The value as another type."""
        from onnx import helper

        return self.node("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def clip(self, value: str, low: np.ndarray | np.generic, high: np.ndarray | np.generic) -> str:
        """min(max(value, low), high), nothing where both are infinite."""
        low, high = (np.asarray(bound, np.float32) for bound in (low, high))
        if (low == low.flat[0]).all() and (high == high.flat[0]).all():
            if np.isneginf(low.flat[0]) and np.isposinf(high.flat[0]):
                return value
            return self.node("Clip", value, self.constant(low.flat[0]), self.constant(high.flat[0]))
        return self.node("Min", self.node("Max", value, self.constant(low)), self.constant(high))
