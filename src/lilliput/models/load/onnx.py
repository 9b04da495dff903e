"""ONNX graphs: opened and checked, never executed while they are read."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.decoder_inputs import TOKENS
from lilliput.models.library import transformers
from lilliput.models.load.hugging_face import readable
from lilliput.models.load.loader import Loader, LoadRequest
from lilliput.models.model import Family, Graph, Model, Port, Provenance
from lilliput.models.plain import in_order, plain
from lilliput.models.text import Tokenizer

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 1 << 31


_TASKS: Mapping[str, Family] = MappingProxyType({"classify": "classification", "detect": "detection"})
"""The family of what Ultralytics writes into a file's metadata as its task."""


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
        """The graph; a classifier unless another family is named, by the user, a task or the file's metadata."""
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
            in_order(proto)
            onnx.checker.check_model(proto)
        except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
            raise LilliputError(f"{path.name!r} is no ONNX graph: {' '.join(str(error).split())[:160]}") from error
        named = {one.key: one.value for one in proto.metadata_props}.get("task", "")
        family = request.family or request.asked or _TASKS.get(named)
        proto, guesses = plain(proto)
        inputs, outputs = ports(proto)
        sha256 = hashlib.sha256(data).hexdigest()
        if family == "language":
            return _language(proto, Provenance(request.source, "", sha256, self.NAME, "as in the file", guesses), path)
        if family is None:
            family = "classification"
            says = f"says that its task is {named[:40]!r}" if named else "does not say what it answers to"
            guesses += (f"{path.name} {says}; taken for a classifier (--family names another)",)
        provenance = Provenance(request.source, "", sha256, self.NAME, "as in the file", guesses)
        return Model(Graph(proto), family, inputs, outputs, provenance=provenance)


def _language(proto: "onnx.ModelProto", provenance: Provenance, path: Path) -> Model:
    """A language model, which is asked by tokens alone; its tokenizer stands beside it, or beside its folder.

    Raises:
        LilliputError: it takes no tokens, or there is no tokenizer.
    """
    inputs, outputs = ports(proto)
    tokens = [port for port in inputs if port.name == TOKENS and port.dtype == "int64" and len(port.axes) == 2]
    logits = [port for port in outputs if len(port.axes) == 3 and np.dtype(port.dtype).kind == "f"]
    if not tokens or not logits or logits[0].name != "logits":
        shown = "; ".join(f"{port.name} {port.dtype}{list(port.axes)}" for port in (*inputs[:3], *outputs[:2]))
        raise LilliputError(
            f"{path.name!r} has {shown}; a language model takes input_ids (int64, two axes) and gives logits (three)"
        )
    folder = next((one for one in (path.parent, path.parent.parent) if (one / "tokenizer.json").is_file()), None)
    if folder is None:
        raise LilliputError(f"{path.name!r} has no tokenizer.json beside it; put its tokenizer there")
    with readable(folder):
        library = transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    vocabulary = logits[0].axes[-1]
    # Open axes by our names, which golden answers and timings know: exporters have many for them.
    named = tuple(own if isinstance(axis, str) else axis
                  for axis, own in zip(tokens[0].axes, ("batch", "tokens"), strict=True))  # fmt: skip
    others = [port.name for port in inputs if port.name != TOKENS]
    if others:
        shown = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        said = f"it takes {shown} besides tokens: every token is seen, and nothing came before"
        provenance = dataclasses.replace(provenance, guesses=(*provenance.guesses, said))
    tokenizer = Tokenizer(library, vocabulary if isinstance(vocabulary, int) else None)
    return Model(
        Graph(proto), "language", (Port(TOKENS, "int64", named),), (logits[0],), tokenizer, provenance=provenance
    )


def ports(proto: "object") -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs (without weights) and outputs of a graph."""
    graph = proto.graph  # type: ignore[attr-defined]
    weights = {tensor.name for tensor in graph.initializer}
    given = tuple(_port(value) for value in graph.input if value.name not in weights)
    return given, tuple(_port(value) for value in graph.output)


def _port(value: "object") -> Port:
    import onnx

    if value.type.WhichOneof("value") != "tensor_type":  # type: ignore[attr-defined]
        raise LilliputError(f"{value.name!r} is no tensor; graphs of tensors are read")  # type: ignore[attr-defined]
    tensor = value.type.tensor_type  # type: ignore[attr-defined]
    name = value.name  # type: ignore[attr-defined]
    # Old converters of Paddle write -1 where an axis is open.
    axes = tuple(dim.dim_value if dim.dim_value > 0 else dim.dim_param or "any" for dim in tensor.shape.dim)
    return Port(name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, axes)


def _check_external(proto: "object", path: Path) -> None:
    """Checks that weights beside the file are in its own folder.

    Raises:
        LilliputError: one is named elsewhere.
    """
    for tensor in proto.graph.initializer:  # type: ignore[attr-defined]
        for entry in tensor.external_data:
            named = Path(entry.value) if entry.key == "location" else None
            if named is None:
                continue
            if named.is_absolute() or ".." in named.parts:
                raise LilliputError(f"{path.name!r} has weights outside of its folder; only files beside it are read")
            if not (path.parent / named).is_file():
                raise LilliputError(
                    f"{path.name!r} has its weights in {entry.value!r}, which is not beside it: put it there"
                )
