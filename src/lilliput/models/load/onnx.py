"""ONNX graphs of classifiers, detectors and generators: opened and checked, never executed while they are read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.linear import LAYERS
from lilliput.models.load.loader import Loader, LoadRequest
from lilliput.models.model import Graph, Model, Port, Provenance

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 1 << 31


@final
@dataclass(frozen=True)
class Onnx(Loader):
    """A file that ends in .onnx."""

    NAME: ClassVar[str] = "onnx"
    WHAT: ClassVar[str] = "ONNX files"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether it is a file of that name."""
        return request.source.lower().endswith(".onnx") and Path(request.source).is_file()

    def load(self, request: LoadRequest) -> Model:
        """The graph; a classifier unless another family is named."""
        import onnx
        from google.protobuf.message import DecodeError

        path = Path(request.source)
        if path.stat().st_size > MAX_BYTES:
            raise LilliputError(f"{path.name!r} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
        data = path.read_bytes()
        try:
            proto = onnx.load_model_from_string(data)
            _check_external(proto, path)
            onnx.load_external_data_for_model(proto, str(path.parent))
            onnx.checker.check_model(proto)
        except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
            raise LilliputError(f"{path.name!r} is no ONNX graph: {' '.join(str(error).split())[:160]}") from error
        family = request.family or request.asked
        guesses = _tensors_alone(proto)
        _stored(proto)
        inputs, outputs = ports(proto)
        if family is None:
            family = "classification"
            guesses += (
                f"{path.name} does not say what it answers to; taken for a classifier (--family names another)",
            )
        sha256 = hashlib.sha256(data).hexdigest()
        provenance = Provenance(request.source, "", sha256, self.NAME, "as in the file", guesses)
        return Model(Graph(proto), family, inputs, outputs, provenance=provenance)


def ports(proto: "object") -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs (without weights) and outputs of a graph."""
    graph = proto.graph  # type: ignore[attr-defined]
    weights = {tensor.name for tensor in graph.initializer}
    given = tuple(_port(value) for value in graph.input if value.name not in weights)
    return given, tuple(_port(value) for value in graph.output)


def _tensors_alone(proto: "onnx.ModelProto") -> tuple[str, ...]:
    """What was left out of the graph's outputs, a sentence each: scikit-learn's dictionaries and names of classes.

    Behind a ZipMap, which makes a dictionary of each row of probabilities, those rows become the output.
    """
    from onnx import TensorProto, helper

    said: list[str] = []
    for node in [node for node in proto.graph.node if node.op_type == "ZipMap"]:
        n = max(len(part.ints) + len(part.strings) for part in node.attribute)
        for output in proto.graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, ["batch", n]))
        proto.graph.node.remove(node)
        said.append(f"{node.output[0]} is a dictionary a row; its numbers are read, as {node.input[0]}")
    for output in list(proto.graph.output):
        if output.type.tensor_type.elem_type == TensorProto.STRING and len(proto.graph.output) > 1:
            proto.graph.output.remove(output)
            said.append(f"{output.name} is the name of a class; it is left out")
    if said:
        _without_dead_ends(proto)
    return tuple(said)


def _without_dead_ends(proto: "onnx.ModelProto") -> None:
    """Take out what no output is made of: the names that were looked up."""
    if any(part.type in (part.GRAPH, part.GRAPHS) for node in proto.graph.node for part in node.attribute):
        return  # what a branch reads is not followed
    wanted = {output.name for output in proto.graph.output}
    for node in reversed(list(proto.graph.node)):
        if wanted.isdisjoint(node.output):
            proto.graph.node.remove(node)
        else:
            wanted.update(node.input)
    for tensor in list(proto.graph.initializer):
        if tensor.name not in wanted:
            proto.graph.initializer.remove(tensor)


def _stored(proto: "onnx.ModelProto") -> None:
    """Make weights that stand in Constant nodes stored ones, as everything that reads weights has them."""
    weights = {name for node in proto.graph.node if node.op_type in LAYERS for name in node.input[1:]}
    for node in [node for node in proto.graph.node if node.op_type == "Constant" and node.output[0] in weights]:
        for part in node.attribute:
            if part.name == "value":
                proto.graph.initializer.add().CopyFrom(part.t)
                proto.graph.initializer[-1].name = node.output[0]
                proto.graph.node.remove(node)


def _port(value: "object") -> Port:
    import onnx

    if value.type.WhichOneof("value") != "tensor_type":  # type: ignore[attr-defined]
        raise LilliputError(f"{value.name!r} is no tensor; graphs of tensors are read")  # type: ignore[attr-defined]
    tensor = value.type.tensor_type  # type: ignore[attr-defined]
    name = value.name  # type: ignore[attr-defined]
    axes = tuple(dim.dim_value or dim.dim_param or "any" for dim in tensor.shape.dim)
    return Port(name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, axes)


def _check_external(proto: "object", path: Path) -> None:
    """Checks that weights beside the file are in its own folder.

    Raises:
        LilliputError: one is named elsewhere.
    """
    for tensor in proto.graph.initializer:  # type: ignore[attr-defined]
        for entry in tensor.external_data:
            named = Path(entry.value) if entry.key == "location" else None
            if named is not None and (named.is_absolute() or ".." in named.parts):
                raise LilliputError(f"{path.name!r} has weights outside of its folder; only files beside it are read")
