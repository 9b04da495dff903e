"""An ONNX graph as a torch function whose weights can be trained."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from lilliput.errors import LilliputError
from lilliput.models.compress.onnx_graph import A_MARK
from lilliput.models.compress.operators import operators

if TYPE_CHECKING:
    import onnx
    import torch


@final
class Trainable:
    """A graph whose real constants of more than one number, masks aside, are tensors with a gradient.

    Attributes:
        proto: the graph.
        weights: those tensors by name.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        """Reads the graph.

        Raises:
            LilliputError: it has an operator that is not known here.
        """
        import torch
        from onnx import helper, numpy_helper

        self.proto, table = proto, operators()
        for node in proto.graph.node:
            if node.op_type not in table or node.domain not in ("", "ai.onnx"):
                raise LilliputError(f"the graph has {node.op_type}, which cannot be trained here")
        opset = next((one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")), 1)
        self._nodes: list[tuple[str, Any, list[str], list[str], dict[str, Any]]] = [
            (node.op_type, table[node.op_type], list(node.input), list(node.output),
             {"num_outputs": len(node.output), "opset": opset}
             | {part.name: helper.get_attribute_value(part) for part in node.attribute})
            for node in proto.graph.node
        ]  # fmt: skip
        self._outputs = [value.name for value in proto.graph.output]
        constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
        self.weights = {
            name: tensor.requires_grad_()
            for name, tensor in constants.items()
            if tensor.is_floating_point() and tensor.numel() > 1 and not (tensor.abs() >= A_MARK).any()
        }
        self._constants = constants | self.weights

    def __call__(self, feeds: Mapping[str, "torch.Tensor"]) -> "list[torch.Tensor]":
        """The outputs in their order.

        Raises:
            LilliputError: an operator is told what is not known here.
        """
        known: dict[str, Any] = {**self._constants, **feeds, "": None}
        for kind, function, inputs, outputs, settings in self._nodes:
            try:
                found = function([known[name] for name in inputs], settings)
            except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
                said = f"as it stands in the graph ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
                raise LilliputError(f"{kind} cannot be trained here {said}") from error
            for name, one in zip(outputs, found if isinstance(found, tuple) else (found,), strict=False):
                known[name] = one
        return [known[name] for name in self._outputs]
