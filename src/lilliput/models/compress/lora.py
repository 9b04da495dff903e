"""Low-rank adapters on the linear layers of a transformer's blocks, trained on text and merged into the weights.

Hu et al. 2021, arXiv 2106.09685: W + B A, with A random and B zero at first.
"""

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context
from lilliput.models.compress.source import MAX_SAMPLES, MAX_TOKENS, calibration_windows
from lilliput.models.compress.step import Step
from lilliput.models.compress.walk import linear_weights
from lilliput.models.model import Model, Module, module_of
from lilliput.parameter import check_fields, check_integer

if TYPE_CHECKING:
    import torch

_BATCH_TOKENS = 2048


@final
@dataclass(frozen=True)
class Lora(Step):
    """Adds to each weight what a low-rank adapter has learned of the text, imitating the uncompressed model.

    What was pruned stays zero. A weight that is codes cannot take it up: adapt before `quantize`.

    Attributes:
        rank: of an adapter.
        steps: of training.
        source: of the text: a name, a text file, `random` or `self`.
        samples: windows of text.
        tokens: the length of each.
        learning_rate: of Adam at its start; it falls to zero.
    """

    NAME: ClassVar[str] = "lora"
    VERSION: ClassVar[int] = 1

    rank: int = 8
    steps: int = 150
    source: str = "self"
    samples: int = 128
    tokens: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "rank", self.rank, 1, 4096)
        check_integer(self, "steps", self.steps, 1, 1 << 20)
        check_integer(self, "samples", self.samples, 1, MAX_SAMPLES)
        check_integer(self, "tokens", self.tokens, 2, MAX_TOKENS)
        if not 0 < self.learning_rate < 1:
            raise LilliputError(f"lora: learning_rate is {self.learning_rate:g}; it must be in (0, 1)")

    @property
    def sources(self) -> tuple[str, ...]:
        """The text that is trained on."""
        return (self.source,)

    def apply(self, model: Model, context: Context) -> Model:
        """The model with what the adapters learned in its weights."""
        import torch

        if model.stored:
            raise LilliputError(f"lora: {next(iter(model.stored))} is quantized; write lora(...) | quantize(...)")
        windows = calibration_windows(model, context, self.source, self.samples, self.tokens)
        teacher = module_of(context.teacher, self.NAME)
        module = copy.deepcopy(module_of(model, self.NAME)).float()
        rng = context.rng("lora")
        adapters = _attached(module, model, self.rank, rng)
        parameters = [tensor for adapter in adapters.values() for tensor in adapter]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)
        rows = max(_BATCH_TOKENS // self.tokens, 1)
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            picked = rng.choice(len(windows), min(rows, len(windows)), replace=False)
            ids = torch.from_numpy(windows[picked])
            with torch.no_grad():
                wanted = torch.log_softmax(teacher(input_ids=ids, use_cache=False).logits.float(), -1)
            found = torch.log_softmax(module(input_ids=ids, use_cache=False).logits, -1)
            loss = torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="batchmean") / self.tokens
            if not torch.isfinite(loss):
                raise LilliputError("lora: the loss is not finite; lower learning_rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            context.done("training adapters", step + 1, self.steps)
        merged = copy.deepcopy(module_of(model, self.NAME))
        with torch.no_grad():
            for name, part in linear_weights(merged).items():
                down, up = adapters[name]
                new = part.weight.float() + up @ down
                part.weight.copy_(torch.where(part.weight == 0, 0.0, new) if name in model.pruned else new)
        assert isinstance(model.network, Module)
        return dataclasses.replace(model, network=dataclasses.replace(model.network, module=merged))


def _attached(
    module: "torch.nn.Module", model: Model, rank: int, rng: np.random.Generator
) -> dict[str, tuple["torch.Tensor", "torch.Tensor"]]:
    """The adapters of the module's linear layers by the names of their weights; the layers compute with them."""
    import torch
    from torch.nn.utils import parametrize

    class Adapted(torch.nn.Module):
        def __init__(self, down: torch.Tensor, up: torch.Tensor, kept: torch.Tensor | None) -> None:
            super().__init__()
            self.down, self.up, self.kept = down, up, kept

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            change = self.up @ self.down
            return weight + (change if self.kept is None else change * self.kept)

    found = {}
    for name, part in linear_weights(module).items():
        outputs, inputs = part.weight.shape
        down = torch.from_numpy((rng.standard_normal((rank, inputs)) / inputs**0.5).astype(np.float32))
        down.requires_grad_(True)
        up = torch.zeros(outputs, rank, requires_grad=True)
        kept = (part.weight != 0).float() if name in model.pruned else None
        parametrize.register_parametrization(part, "weight", Adapted(down, up, kept), unsafe=True)
        found[name] = (down, up)
    return found
