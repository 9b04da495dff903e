"""Unstructured and patterned pruning of a transformer's blocks: single weights become zero; shapes stay."""

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import onnx_graph
from lilliput.models.compress.arithmetic import pruning
from lilliput.models.compress.calibration_text import MAX_SAMPLES, MAX_TOKENS
from lilliput.models.compress.context import Context
from lilliput.models.compress.matrices import Result, changed, kept_of, matrices
from lilliput.models.compress.step import Step
from lilliput.models.compress.walk import linear_weights
from lilliput.models.model import Model, has_blocks, module_of
from lilliput.parameter import check_fields, check_integer, check_ratio

_PATTERN = re.compile(r"([1-9]\d?):([1-9]\d?)")


@final
@dataclass(frozen=True)
class PruneWeights(Step):
    """Sets that part of the weights of each linear layer in the blocks to zero (rounded down).

    Attributes:
        sparsity: the part of the weights that is zero afterwards, in [0, 1).
        importance: `magnitude`: the smallest of a layer go; `wanda` (arXiv 2306.11695): of each output, the smallest
            times the root mean square of their inputs; `sparsegpt` (arXiv 2301.00774): those whose loss the others
            can make good, and they do.
        source: of calibration text: `random`, `self`, a name, or a text file; not for `magnitude`.
        samples: windows of text; tokens: the length of each.
        pattern: such as "2:4": of every four neighbouring inputs of an output two are zero.
    """

    NAME: ClassVar[str] = "prune_weights"
    VERSION: ClassVar[int] = 2

    sparsity: float
    importance: Literal["magnitude", "wanda", "sparsegpt"] = "magnitude"
    source: str | None = None
    samples: int = 128
    tokens: int = 256
    pattern: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_ratio(self, "sparsity", self.sparsity)
        check_integer(self, "samples", self.samples, 1, MAX_SAMPLES)
        check_integer(self, "tokens", self.tokens, 2, MAX_TOKENS)
        if (self.importance == "magnitude") != (self.source is None):
            raise LilliputError(
                f"prune_weights: importance {self.importance!r} "
                + ("reads no text; drop source" if self.source is not None else 'needs text; add source="c4", say')
            )
        pattern = self.numbers
        if pattern is not None and abs(pattern[0] / pattern[1] - self.sparsity) > 1e-9:
            raise LilliputError(
                f"prune_weights: the pattern {self.pattern} is a sparsity of {pattern[0] / pattern[1]:g}; "
                f"the sparsity is {self.sparsity:g}"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """The calibration source, where there is one."""
        return () if self.source is None else (self.source,)

    @property
    def numbers(self) -> pruning.Pattern | None:
        """The pattern as how many are zero and of how many."""
        if self.pattern is None:
            return None
        found = _PATTERN.fullmatch(self.pattern)
        if found is None or not int(found[1]) < int(found[2]):
            raise LilliputError(f"prune_weights: pattern is {self.pattern!r}; write zeros:group, such as 2:4")
        return int(found[1]), int(found[2])

    def check(self, model: Model) -> None:
        """See `Step.check`."""
        if has_blocks(model):
            linear_weights(module_of(model, self.NAME))
        elif self.importance != "magnitude":
            this = "this is an ONNX graph" if model.family == "language" else f"this one is of {model.family}"
            raise LilliputError(
                f"prune_weights: importance {self.importance!r} is for language models as torch modules; {this}: use "
                "'magnitude'"
            )

    def apply(self, model: Model, context: Context) -> Model:
        """The model with more weights that are zero."""
        self.check(model)
        if not has_blocks(model):
            return onnx_graph.prune(model, self.sparsity, self.numbers, context)
        if model.stored and (
            self.importance == "sparsegpt" or any(one.outliers is not None for one in model.stored.values())
        ):
            raise LilliputError(
                f"prune_weights: {next(iter(model.stored))} is quantized; prune before quantize ('magnitude' and "
                "'wanda' can set codes of nearest and GPTQ to zero)"
            )
        pattern = self.numbers
        for name, weight in matrices(model, self.NAME).items():
            if pattern is not None and weight.shape[1] % pattern[1]:
                raise LilliputError(
                    f"prune_weights: {name} has {weight.shape[1]} inputs, no whole number of groups of {self.pattern}"
                )
        if self._there_already(model):
            raise NotApplicable(
                f"prune_weights: a sparsity of {self.sparsity:g} is there already; nothing to set to zero"
            )

        def change(name: str, weight: np.ndarray, hessian: np.ndarray | None) -> Result:
            match self.importance:
                case "magnitude":
                    return _masked(model, name, weight, pruning.magnitude(weight, self.sparsity, pattern))
                case "wanda":
                    assert hessian is not None
                    return _masked(model, name, weight, pruning.wanda(weight, hessian, self.sparsity, pattern))
                case "sparsegpt":
                    assert hessian is not None
                    return pruning.sparsegpt(weight, hessian, self.sparsity, pattern), None
                case _:
                    assert_never(self.importance)

        return changed(
            model,
            self.NAME,
            change,
            context,
            source=self.source or "",
            samples=self.samples,
            tokens=self.tokens,
            pruned=True,
        )

    def _there_already(self, model: Model) -> bool:
        """Whether every layer has as many zeros as are asked for, where they are asked for."""
        pattern = self.numbers
        for weight in matrices(model, self.NAME).values():
            kept = weight != 0
            if pattern is not None and pruning.follows(kept, pattern) < 1:
                return False
            if np.count_nonzero(~kept) < int(self.sparsity * weight.size + 1e-9):
                return False
        return True


def _masked(model: Model, name: str, weight: np.ndarray, kept: np.ndarray) -> Result:
    """The weight with zeros, codes or not."""
    storage = model.stored.get(name)
    before = kept_of(model, name)
    kept = kept if before is None else kept & before
    return np.where(kept, weight, np.float32(0)), None if storage is None else dataclasses.replace(storage, kept=kept)
