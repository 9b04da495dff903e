"""Training after compression: a model learns to answer again as it did before it was made small."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.compress.calibration_pictures import calibration
from lilliput.models.compress.calibration_text import MAX_SAMPLES, MAX_TOKENS, calibration_windows
from lilliput.models.compress.context import Context
from lilliput.models.compress.imitation import imitate
from lilliput.models.compress.step import Step
from lilliput.models.compress.trainable import Trainable
from lilliput.models.graph import as_graph, graph_of, simplified
from lilliput.models.library import library
from lilliput.models.linear import QUANTIZED
from lilliput.models.model import Graph, Model, Module, module_of
from lilliput.models.picture import picture_port
from lilliput.models.session import open_session
from lilliput.parameter import check_fields, check_integer

if TYPE_CHECKING:
    import torch

_BATCH = 64


@final
@dataclass(frozen=True)
class Finetune(Step):
    """Trains all weights to give the uncompressed model's answers on calibration data; what was pruned stays zero.

    A language model imitates the probabilities of the next token, a classifier those of the classes, on pictures that
    are moved by up to an eighth of their edge; others the numbers that the uncompressed model gives. Codes cannot be
    trained: write finetune(...) | quantize(...).

    Attributes:
        steps: of training (Adam).
        source: of calibration text or pictures.
        observations: pictures; None: all of the source's calibration part.
        samples: windows of text; tokens: the length of each.
        learning_rate: at the start; it falls to zero.
    """

    NAME: ClassVar[str] = "finetune"
    VERSION: ClassVar[int] = 2

    steps: int
    source: str
    observations: int | None = None
    samples: int = 128
    tokens: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "steps", self.steps, 1, 1 << 20)
        check_integer(self, "samples", self.samples, 1, MAX_SAMPLES)
        check_integer(self, "tokens", self.tokens, 2, MAX_TOKENS)
        if self.observations is not None:
            check_integer(self, "observations", self.observations, 1, 1 << 20)
        if not 0 < self.learning_rate < 1:
            raise LilliputError(f"finetune: learning_rate is {self.learning_rate:g}; it must be in (0, 1)")

    @property
    def pictures(self) -> int | None:
        """See `Step.pictures`."""
        return self.observations

    @property
    def sources(self) -> tuple[str, ...]:
        """What is trained on."""
        return (self.source,)

    def check(self, model: Model) -> None:
        """See `Step.check`."""
        torch = library("torch", "language")
        if model.family == "language":
            module_of(model, self.NAME)
            return
        if not isinstance(model.network, Graph):
            return
        student = _student(model)
        if all(isinstance(axis, int) for port in model.inputs for axis in port.axes[1:]):
            shapes = {port: [axis if isinstance(axis, int) else 1 for axis in port.axes] for port in model.inputs}
            with torch.no_grad():  # an operator may be known, and what it is told not
                try:
                    student({p.name: torch.zeros(s, dtype=getattr(torch, p.dtype)) for p, s in shapes.items()})
                except (LilliputError, RuntimeError, AttributeError) as error:
                    raise LilliputError(f"finetune: {' '.join(str(error).split())[:200]}") from error

    def apply(self, model: Model, context: Context) -> Model:
        """The model with other weights."""
        if model.family == "language":
            return self._language(model, context)
        return self._graph(model, context)

    def _language(self, model: Model, context: Context) -> Model:
        import torch

        if model.stored:
            raise LilliputError(
                f"finetune: {next(iter(model.stored))} is quantized; write finetune(...) | quantize(...)"
            )
        windows = calibration_windows(model, context, self.source, self.samples, self.tokens)
        module = copy.deepcopy(module_of(model, self.NAME)).float()
        where = next(module.parameters()).device
        kept = {name: torch.from_numpy(~mask).to(where) for name, mask in model.pruned.items()}
        weights = {name: tensor.requires_grad_() for name, tensor in module.named_parameters()}

        def zeros() -> None:
            with torch.no_grad():
                for name, stays in kept.items():
                    weights[name].mul_(stays)

        imitate(
            module, list(weights.values()), windows, context, self.NAME, self.steps, self.learning_rate, after=zeros
        )
        trained = copy.deepcopy(module_of(model, self.NAME))
        with torch.no_grad():
            for name, tensor in trained.named_parameters():
                tensor.copy_(weights[name])
        assert isinstance(model.network, Module)
        return dataclasses.replace(model, network=dataclasses.replace(model.network, module=trained))

    def _graph(self, model: Model, context: Context) -> Model:
        import torch
        from onnx import numpy_helper

        student = _student(model)
        proto = student.proto
        batches = list(calibration(model, self.source, self.observations, context))
        data = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        n, rng = len(data[picture_port(model).name]), context.rng("finetune")
        teacher = open_session(as_graph(context.teacher), n_threads=1)
        kept = {
            name: torch.from_numpy(~mask)
            for name, mask in model.pruned.items()
            if name in student.weights and tuple(student.weights[name].shape) == mask.shape
        }
        if set(model.pruned) - set(kept):
            raise LilliputError(f"finetune: {min(set(model.pruned) - set(kept))} was pruned and is not found again")
        optimizer = torch.optim.Adam(student.weights.values(), lr=self.learning_rate)
        first = model.inputs[0].axes[0]
        size = first if isinstance(first, int) else _BATCH  # some graphs take one picture alone
        names = [port.name for port in model.outputs]
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            picked = rng.choice(n, min(size, n), replace=False)
            feeds = {name: rows[picked] for name, rows in data.items()}
            if model.family == "classification":
                feeds = {name: _moved(rows, rng) if rows.ndim == 4 else rows for name, rows in feeds.items()}
            answers = teacher.answer(feeds)
            found = student({name: torch.from_numpy(np.ascontiguousarray(rows)) for name, rows in feeds.items()})
            wanted = [torch.from_numpy(answers[name]) for name in names]
            loss = sum((_loss(*pair, model) for pair in zip(found, wanted, strict=True)), start=torch.zeros(()))
            if not torch.isfinite(loss):
                raise LilliputError("finetune: the loss is not finite; lower learning_rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, stays in kept.items():
                    student.weights[name].mul_(stays)
            context.done("training", step + 1, self.steps)
        for tensor in proto.graph.initializer:
            if tensor.name in student.weights:
                new = student.weights[tensor.name].detach().numpy()
                tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        return dataclasses.replace(as_graph(model), network=Graph(proto))


def _student(model: Model) -> Trainable:
    """The model's graph as what can be trained.

    Raises:
        LilliputError: it cannot.
    """
    from onnx import TensorProto

    graph = graph_of(model)
    if any(node.op_type in QUANTIZED for node in graph.graph.node):
        raise LilliputError("finetune: the graph is quantized; write finetune(...) | quantize(...)")
    if short := next((t.name for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT16), None):
        raise LilliputError(f"finetune: {short} is float16; weights of float32 are trained: half() comes behind")
    if len(picture_port(model).axes) == 3:
        raise LilliputError("finetune: the graph takes one picture without an axis of pictures; export it with one")
    try:
        return Trainable(simplified(graph))
    except (LilliputError, TypeError, ValueError) as error:
        raise LilliputError(f"finetune: {error}") from error


def _loss(outputs: "torch.Tensor", wanted: "torch.Tensor", model: Model) -> "torch.Tensor":
    from torch.nn import functional

    if model.family == "classification":
        one, other = (functional.log_softmax(logits.flatten(1), 1) for logits in (outputs, wanted))
        return functional.kl_div(one, other, log_target=True, reduction="batchmean")
    # In units of what the answers differ by, so that every output counts.
    return functional.mse_loss(outputs, wanted) / wanted.var().clamp_min(1e-12)


def _moved(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each picture moved by up to an eighth of its edge, what comes in being its edge again."""
    tall, wide = pictures.shape[2] // 8, pictures.shape[3] // 8
    padded: Any = np.pad(pictures, ((0, 0), (0, 0), (tall, tall), (wide, wide)), mode="edge")
    down, right = rng.integers(0, 2 * tall + 1, len(pictures)), rng.integers(0, 2 * wide + 1, len(pictures))
    height, width = pictures.shape[2:]
    return np.stack([one[:, y : y + height, x : x + width] for one, y, x in zip(padded, down, right, strict=True)])
