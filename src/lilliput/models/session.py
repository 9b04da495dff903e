"""A model that answers: arrays in by port, arrays out by port, from torch or onnxruntime."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.decoder_inputs import TOKENS, with_inputs
from lilliput.models.model import Graph, Model, Module, to_numpy
from lilliput.onnxruntime_errors import refusals

if TYPE_CHECKING:
    import onnxruntime
    import torch


class Session(ABC):
    """Something that answers, wherever it runs."""

    @abstractmethod
    def answer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Every output by name, for one batch of inputs by name."""


@final
@dataclass(frozen=True, eq=False)
class TorchSession(Session):
    """A torch module: it takes its inputs by name, and gives a tensor, a tuple in the outputs' order, or a mapping."""

    module: "torch.nn.Module"
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def answer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Every output, as float32 where it is a shorter real number."""
        import torch

        device = next((tensor.device for tensor in self.module.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(feeds[name]).to(device) for name in self.inputs}
            try:
                if set(self.inputs) == {"input_ids"}:
                    found = self.module(**tensors, use_cache=False)
                else:
                    found = self.module(*(tensors[name] for name in self.inputs))
            except (RuntimeError, IndexError) as error:
                raise LilliputError(f"torch does not run the model: {' '.join(str(error).split())[:200]}") from error
            if isinstance(found, torch.Tensor):
                found = (found,)
            given = [found[name] for name in self.outputs] if isinstance(found, Mapping) else list(found)
            return {name: _real(one) for name, one in zip(self.outputs, given, strict=False)}


@final
@dataclass(frozen=True, eq=False)
class OnnxSession(Session):
    """An ONNX graph in onnxruntime."""

    runtime: "onnxruntime.InferenceSession"

    def answer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Every output that the graph has; of a language model without the keys and values for what may come behind."""
        names = [output.name for output in self.runtime.get_outputs()]
        if TOKENS in feeds:
            feeds = with_inputs(feeds, self.runtime.get_inputs())
            names = [name for name in names if not name.startswith("present")]
        try:
            found = self.runtime.run(names, dict(feeds))
        except refusals() as error:
            raise LilliputError(f"onnxruntime does not run the graph: {' '.join(str(error).split())[:200]}") from error
        return {name: np.asarray(one) for name, one in zip(names, found, strict=True)}


def open_session(model: Model, *, n_threads: int = 0) -> Session:
    """The model itself, answering; `n_threads` of onnxruntime (0: as many as there are cores)."""
    match model.network:
        case Module(module=module):
            return TorchSession(module, tuple(p.name for p in model.inputs), tuple(p.name for p in model.outputs))
        case Graph(proto=proto):
            return open_onnx(proto.SerializeToString(), n_threads=n_threads)
        case _:
            assert_never(model.network)


def open_onnx(graph: bytes | str, *, n_threads: int = 0) -> OnnxSession:
    """A graph, or the file of one, in onnxruntime on the processor.

    Raises:
        LilliputError: onnxruntime does not take it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    try:
        return OnnxSession(onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]))
    except refusals() as error:
        raise LilliputError(f"onnxruntime does not take the graph: {' '.join(str(error).split())[:200]}") from error


def _real(tensor: "torch.Tensor") -> np.ndarray:
    return to_numpy(tensor.float() if tensor.is_floating_point() else tensor)
