"""Low-rank adapters on the linear layers of a transformer's blocks, trained on text and merged into the weights.

Hu et al. 2021, arXiv 2106.09685: W + B A, with A random and B zero at first.
"""

import copy
import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.compress.calibration_text import MAX_SAMPLES, MAX_TOKENS, calibration_windows
from lilliput.models.compress.context import Context
from lilliput.models.compress.imitation import imitate
from lilliput.models.compress.matrices import kept_of
from lilliput.models.compress.step import Step
from lilliput.models.compress.walk import linear_weights
from lilliput.models.linear import is_transposed, rows_of
from lilliput.models.model import Model, Module, module_of
from lilliput.models.storage import Adapter
from lilliput.parameter import check_fields, check_integer

if TYPE_CHECKING:
    import torch


@final
@dataclass(frozen=True)
class Lora(Step):
    """Adds to each weight what a low-rank adapter has learned of the text, imitating the uncompressed model.

    What was pruned stays zero. A weight that is codes keeps them, and its adapter stands beside it in float16.

    Attributes:
        rank: of an adapter.
        steps: of training.
        source: of the text: a name, a text file, `random` or `self`.
        samples: windows of text.
        tokens: the length of each.
        learning_rate: of Adam at its start; it falls to zero.
    """

    NAME: ClassVar[str] = "lora"
    VERSION: ClassVar[int] = 2

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

    def check(self, model: Model) -> None:
        """See `Step.check`."""
        if model.family != "language":
            raise LilliputError(f"lora: adapters are for language models; this one is of {model.family}: use finetune")
        linear_weights(module_of(model, self.NAME))

    @property
    def sources(self) -> tuple[str, ...]:
        """The text that is trained on."""
        return (self.source,)

    def apply(self, model: Model, context: Context) -> Model:
        """The model with what the adapters learned in its weights."""
        import torch

        if any(one.adapter is not None for one in model.stored.values()):
            raise LilliputError("lora: the codes have adapters already; adapt once")
        windows = calibration_windows(model, context, self.source, self.samples, self.tokens)
        module = copy.deepcopy(module_of(model, self.NAME)).float()
        adapters = _attached(module, model, self.rank, context.rng("lora adapters"))
        parameters = [tensor for adapter in adapters.values() for tensor in adapter]
        imitate(module, parameters, windows, context, self.NAME, self.steps, self.learning_rate)
        merged = copy.deepcopy(module_of(model, self.NAME))
        stored = dict(model.stored)
        with torch.no_grad():
            for name, part in linear_weights(merged).items():
                down, up = adapters[name]
                if name in stored:
                    halves = (tensor.detach().cpu().numpy().astype(np.float16) for tensor in (down, up))
                    stored[name] = dataclasses.replace(stored[name], adapter=Adapter(*halves))
                    rows_of(part).copy_(torch.from_numpy(stored[name].dense))
                    continue
                new = rows_of(part).float() + up @ down
                if (kept := kept_of(model, name)) is not None:
                    new = torch.where(torch.from_numpy(kept).to(new.device), new, 0.0)
                rows_of(part).copy_(new)
        assert isinstance(model.network, Module)
        network = dataclasses.replace(model.network, module=merged)
        return dataclasses.replace(model, network=network, stored=MappingProxyType(stored))


def _attached(
    module: "torch.nn.Module", model: Model, rank: int, rng: np.random.Generator
) -> dict[str, tuple["torch.Tensor", "torch.Tensor"]]:
    """The adapters of the module's linear layers by the names of their weights; the layers compute with them."""
    import torch
    from torch.nn.utils import parametrize

    class Adapted(torch.nn.Module):
        def __init__(self, down: torch.Tensor, up: torch.Tensor, kept: torch.Tensor | None, columns: bool) -> None:
            super().__init__()
            self.down, self.up, self.kept, self.columns = down, up, kept, columns

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            change = self.up @ self.down
            change = change if self.kept is None else change * self.kept
            return weight + (change.T if self.columns else change)

    found = {}
    for name, part in linear_weights(module).items():
        (outputs, inputs), where = rows_of(part).shape, rows_of(part).device
        down = torch.from_numpy((rng.standard_normal((rank, inputs)) / inputs**0.5).astype(np.float32)).to(where)
        down.requires_grad_(True)
        up = torch.zeros(outputs, rank, device=where, requires_grad=True)
        stays = kept_of(model, name)
        kept = None if stays is None else torch.from_numpy(stays).float().to(where)
        adapted = Adapted(down, up, kept, is_transposed(part))
        parametrize.register_parametrization(part, "weight", adapted, unsafe=True)
        found[name] = (down, up)
    return found
