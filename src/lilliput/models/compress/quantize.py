"""Quantization: of the weights of a transformer's blocks (nearest, GPTQ, SpQR), of all linear layers of a graph."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.compress import onnx_graph
from lilliput.models.compress.arithmetic.rounding import gptq, nearest
from lilliput.models.compress.arithmetic.spqr import spqr
from lilliput.models.compress.calibration_text import MAX_SAMPLES, MAX_TOKENS
from lilliput.models.compress.context import Context
from lilliput.models.compress.matrices import Result, changed, kept_of
from lilliput.models.compress.step import Step
from lilliput.models.compress.walk import linear_weights
from lilliput.models.model import Model, has_blocks, module_of
from lilliput.models.storage import Quantized
from lilliput.parameter import check_fields, check_integer, check_ratio

_SPQR_GROUP = 16
_SHORT = "torch.bfloat16"


@final
@dataclass(frozen=True)
class Quantize(Step):
    """Of a language model: makes each weight of the linear layers in the blocks a code; embeddings and head stay real.

    Weights that an earlier step pruned stay zero, whatever the method. Of any other model: 8 bits for the weights and
    inputs of every linear layer of its ONNX graph, by onnxruntime's quantizers; or weights alone, of 8 or 4 bits.

    Attributes:
        weight_bits: of a code, 2 to 8.
        method: `nearest`; `gptq` (arXiv 2210.17323); `spqr` (arXiv 2306.03078): small groups whose scales are codes of
            3 bits themselves, outliers as float16.
        group_size: neighbouring inputs of an output that share a scale; 0: all. SpQR's is 16 unless it is given.
        scheme: `weight_only` (inputs stay real), `dynamic` or `static` ranges of inputs (not of language models);
            None: `weight_only` for language models, `dynamic` for all others.
        source: of calibration text: `random`, `self`, a name, or a text file; for `static`, of pictures.
        observations: pictures that calibrate.
        samples: windows of text; tokens: the length of each.
        symmetric: codes around zero, as most runtimes have them; else with a zero point in each group.
        act_order: GPTQ takes the inputs of the largest squares first.
        outliers: about that part of the weights is left real by SpQR.
    """

    NAME: ClassVar[str] = "quantize"
    VERSION: ClassVar[int] = 2

    weight_bits: int = 8
    method: Literal["nearest", "gptq", "spqr"] = "nearest"
    scheme: Literal["weight_only", "dynamic", "static"] | None = None
    group_size: int | None = None
    source: str | None = None
    samples: int = 128
    tokens: int = 256
    symmetric: bool = True
    act_order: bool = False
    outliers: float = 0.01
    observations: int = 200

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "weight_bits", self.weight_bits, 2, 8)
        check_integer(self, "samples", self.samples, 1, MAX_SAMPLES)
        check_integer(self, "tokens", self.tokens, 2, MAX_TOKENS)
        check_ratio(self, "outliers", self.outliers)
        if self.group_size is not None:
            check_integer(self, "group_size", self.group_size, 0, 1 << 16)
        check_integer(self, "observations", self.observations, 1, 1 << 20)
        if self.scheme in ("dynamic", "static"):
            if self.method != "nearest" or self.weight_bits != 8 or self.group_size is not None:
                raise LilliputError(f"quantize: scheme {self.scheme!r} has 8 bits, rounded to nearest; drop the others")
            if (self.scheme == "static") != (self.source is not None):
                raise LilliputError(
                    "quantize: "
                    + (
                        "dynamic ranges need no source"
                        if self.source
                        else 'static ranges need pictures: source="train/"'
                    )
                )
        elif (self.method == "nearest") != (self.source is None):
            raise LilliputError(
                f"quantize: method {self.method!r} "
                + ("reads no text; drop source" if self.method == "nearest" else 'needs text; add source="c4", say')
            )
        if self.act_order and self.method != "gptq":
            raise LilliputError(f"quantize: act_order is a way of GPTQ; the method is {self.method}")
        if self.method == "spqr" and self.symmetric is not True:
            raise LilliputError("quantize: SpQR always has zero points; drop symmetric")

    @property
    def pictures(self) -> int | None:
        """See `Step.pictures`."""
        return self.observations

    @property
    def sources(self) -> tuple[str, ...]:
        """The calibration source, where there is one."""
        return () if self.source is None else (self.source,)

    def check(self, model: Model) -> None:
        """See `Step.check`."""
        if has_blocks(model):
            if self.scheme in ("dynamic", "static"):
                raise LilliputError(
                    f"quantize: a language model has scheme 'weight_only'; {self.scheme!r} is for other families"
                )
            linear_weights(module_of(model, self.NAME))
            return
        if self.method != "nearest" or not self.symmetric:
            raise LilliputError(
                "quantize: GPTQ, SpQR and symmetric=False are for language models as torch modules; this is "
                + ("an ONNX graph" if model.family == "language" else f"of {model.family}")
            )
        if model.family == "language" and self.scheme == "static":
            raise LilliputError("quantize: static ranges are measured on pictures; of a language model: 'dynamic'")
        if self.scheme == "weight_only":
            if self.weight_bits not in (4, 8):
                raise LilliputError(
                    f"quantize: weight_bits is {self.weight_bits}; an ONNX graph has codes of 8 or 4 bits"
                )
        elif self.weight_bits != 8 or self.group_size is not None:
            raise LilliputError(
                f"quantize: a model of {model.family} has 8 bits without groups where inputs are quantized too; "
                'scheme="weight_only" has 8 or 4 and groups'
            )

    def apply(self, model: Model, context: Context) -> Model:
        """The model with codes for weights."""
        self.check(model)
        if not has_blocks(model):
            return self._graph(model, context)
        if model.stored:
            raise LilliputError(f"quantize: {next(iter(model.stored))} is quantized already; quantize once")

        short = {name for name, one in module_of(model, self.NAME).named_parameters() if str(one.dtype) == _SHORT}

        def change(name: str, weight: np.ndarray, hessian: np.ndarray | None) -> Result:
            kept = kept_of(model, name)
            group = self.group_size
            match self.method:
                case "nearest":
                    found = nearest(weight, self.weight_bits, group or 0, symmetric=self.symmetric, kept=kept)
                case "gptq":
                    assert hessian is not None
                    found = gptq(
                        weight,
                        hessian,
                        self.weight_bits,
                        group or 0,
                        symmetric=self.symmetric,
                        act_order=self.act_order,
                        kept=kept,
                    )
                case "spqr":
                    assert hessian is not None
                    size = _SPQR_GROUP if group is None else group
                    found = spqr(weight, hessian, self.weight_bits, size, outliers=self.outliers, kept=kept)
                case _:
                    assert_never(self.method)
            found = _in_bfloat16(found) if name in short else found
            return found.dense, found

        small = changed(
            model, self.NAME, change, context, source=self.source or "", samples=self.samples, tokens=self.tokens
        )
        if self.method == "spqr":
            context.tell(_counted(small))
        return small

    def _graph(self, model: Model, context: Context) -> Model:
        if self.scheme == "weight_only":
            return onnx_graph.weight_only(model, self.weight_bits, self.group_size or 0, context)
        if self.source is not None:
            return onnx_graph.static(model, self.source, self.observations, context)
        return onnx_graph.dynamic(model, context)


def _in_bfloat16(found: Quantized) -> Quantized:
    """The codes with scales that bfloat16 holds: what unpacks them computes in the type of the other weights."""
    import torch

    if found.zero_point is not None or not isinstance(found.scale, np.ndarray):
        return found
    scale = torch.from_numpy(found.scale.astype(np.float32)).bfloat16().float().numpy()
    return dataclasses.replace(found, scale=scale.astype(found.scale.dtype))


def _counted(model: Model) -> str:
    n = sum(one.codes.size for one in model.stored.values())
    real = sum(len(one.outliers.values) for one in model.stored.values() if one.outliers is not None)
    return f"quantize: SpQR left {real / n:.1%} of the weights real"
