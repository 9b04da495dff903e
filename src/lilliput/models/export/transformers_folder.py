"""A folder that plain `from_pretrained` reads, its codes packed as compressed-tensors has them where that can be."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.device import placed
from lilliput.models.export.exporter import Exporter
from lilliput.models.library import library, transformers
from lilliput.models.linear import is_transposed
from lilliput.models.model import Model, module_of
from lilliput.models.session import Session, TorchSession

_DENSE = "it holds the weights that the codes stand for, and is not smaller"


@final
@dataclass(frozen=True)
class TransformersFolder(Exporter):
    """Weights as safetensors with config and tokenizer: plain transformers and vLLM read it."""

    NAME: ClassVar[str] = "transformers"
    WHAT: ClassVar[str] = "transformers (plain from_pretrained) and vLLM"

    def write(self, model: Model, folder: Path) -> tuple[str, ...]:
        """What is not stored as small as it could be; writes the folder."""
        module: Any = module_of(model, "a transformers folder")
        if model.tokenizer is None or not hasattr(module, "save_pretrained"):
            raise LilliputError(
                f"a transformers folder holds a transformers language model; this is {type(module).__name__}"
            )
        model.tokenizer.library.save_pretrained(folder)
        said = _not_packed(model.stored, module)
        if not model.stored or said:
            module.save_pretrained(folder)
            return (*said, *_zeros(model))
        self._pack(model, module, folder)
        if _initializes(module):
            try:
                self.open(folder)
            except LilliputError as error:
                module.save_pretrained(folder)
                return (f"{error}: {_DENSE}", *_zeros(model))
        return _zeros(model)

    def _pack(self, model: Model, module: Any, folder: Path) -> None:
        packed = _packed(model.stored, module.dtype)
        state = {name: tensor for name, tensor in module.state_dict().items() if name not in model.stored}
        for name in module.state_dict():
            if name in model.stored:
                state |= packed[name]
        config = module.config
        config.quantization_config = _quantization(model, module)
        try:
            module.save_pretrained(folder, state_dict=_untied(state, module))
        finally:
            del config.quantization_config

    def open(self, folder: Path) -> Session:
        """The folder as anyone loads it."""
        hub = transformers()
        # What unpacks codes draws four bars of its own, some as the first token comes; no setting leaves them out.
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                module = hub.AutoModelForCausalLM.from_pretrained(
                    folder, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True
                )
            except (AttributeError, TypeError, ValueError, RuntimeError, KeyError) as error:
                said = " ".join(str(error).split())[:120]
                raise LilliputError(f"transformers does not read codes of this kind of model ({said})") from error
            session = TorchSession(placed(module), ("input_ids",), ("logits",))
            session.answer({"input_ids": np.zeros((1, 1), np.int64)})
        return session


def _initializes(module: Any) -> bool:
    """Whether the architecture has an initializer of its own: some expect weights where packed layers have codes."""
    return type(module)._init_weights is not transformers().PreTrainedModel._init_weights


def _not_packed(stored: Any, module: Any) -> tuple[str, ...]:
    """Why the codes cannot be packed; nothing where they can."""
    for name, one in stored.items():
        if is_transposed(module.get_submodule(name.removesuffix(".weight"))):
            return ("codes of GPT-2's kind of linear layers have no place in a transformers folder: " + _DENSE,)
        if one.adapter is not None:
            return ("adapters beside codes have no place in a transformers folder without peft: " + _DENSE,)
        if one.outliers is not None or not isinstance(one.scale, np.ndarray):
            return ("SpQR's codes have no place in a transformers folder: " + _DENSE,)
        if one.zero_point is not None:
            # transformers 5.24 expects them unpacked, compressed-tensors 0.20 packs them: neither reads the other's.
            return ("codes with zero points are packed in a way that from_pretrained does not read: " + _DENSE,)
        if one.group_size and one.codes.shape[1] % one.group_size:
            return (
                f"{name} has {one.codes.shape[1]} inputs, no whole number of groups of {one.group_size}, which packed "
                "codes need: " + _DENSE,
            )
    return ()


def _zeros(model: Model) -> tuple[str, ...]:
    if not model.pruned:
        return ()
    return ("pruned weights are written as zeros, which take as much as others: the folder is not smaller for them",)


def _packed(stored: Any, dtype: Any) -> dict[str, dict[str, Any]]:
    """The tensors of each weight, by its name."""
    import torch

    pack = library("compressed_tensors.compressors.pack_quantized.helpers", "language").pack_to_int32
    found = {}
    for name, one in stored.items():
        prefix = name.removesuffix("weight")
        codes = one.codes if one.kept is None else np.where(one.kept, one.codes, 0)
        tensors = {
            "weight_packed": pack(torch.from_numpy(codes.astype(np.int8)), one.bits),
            # What is unpacked is of the scale's type.
            "weight_scale": torch.from_numpy(one.scale.astype(np.float32)).to(dtype),
            "weight_shape": torch.tensor(codes.shape),
        }
        found[name] = {f"{prefix}{part}": tensor for part, tensor in tensors.items()}
    return found


def _quantization(model: Model, module: Any) -> dict[str, Any]:
    """The description that compressed-tensors reads."""
    from torch import nn

    one = next(iter(model.stored.values()))
    weights: dict[str, Any] = {
        "num_bits": one.bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if one.group_size else "channel",
        "group_size": one.group_size or None,
        "dynamic": False,
    }
    packed = {name.removesuffix(".weight") for name in model.stored}
    others = [name for name, part in module.named_modules() if isinstance(part, nn.Linear) and name not in packed]
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": others,
    }


def _untied(state: dict[str, Any], module: Any) -> dict[str, Any]:
    """The tensors without those that the module takes from another name when it is loaded."""
    tied = getattr(module, "all_tied_weights_keys", None) or {}
    return {name: tensor.contiguous() for name, tensor in state.items() if name not in tied}
