"""An ONNX graph in a folder, as onnxruntime runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from lilliput.files import write_whole
from lilliput.models.export.exporter import Exporter
from lilliput.models.graph import graph_of
from lilliput.models.model import Model
from lilliput.models.session import Session, open_onnx

_FILE = "model.onnx"


@final
@dataclass(frozen=True)
class Onnx(Exporter):
    """model.onnx: the graph as it is, or what torch exports of the module."""

    NAME: ClassVar[str] = "onnx"
    WHAT: ClassVar[str] = "onnxruntime, and whatever else runs ONNX"

    def write(self, model: Model, folder: Path) -> tuple[str, ...]:
        """That zeros take as much as other numbers, where weights were pruned; writes the graph."""
        write_whole(folder / _FILE, graph_of(model).SerializeToString(deterministic=True))
        if model.tokenizer is not None:
            model.tokenizer.library.save_pretrained(folder)
        if not model.pruned:
            return ()
        return ("pruned weights are written as zeros, which take as much as others: the file is not smaller for them",)

    def open(self, folder: Path) -> Session:
        """The graph in onnxruntime, on one thread."""
        return open_onnx(str(folder / _FILE), n_threads=1)
