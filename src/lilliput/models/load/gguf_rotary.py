"""The scaling of rotary positions that a GGUF file says, which transformers 5.24 reads of GPT-OSS alone."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.library import library

_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Of every Llama 3.1 to 3.3; the file has what they make of each frequency, and no more."""

_WIDE = "full_attention"

_PLAIN = {"attn_factor": 1.0, "finetuned": None, "original_context_length": None}
"""What changes nothing beside a type and a factor, where it has that value; None: any."""

_READ = ("gpt-oss",)
"""Architectures whose scaling transformers reads itself."""


def scaled(config: Any, reader: Any, name: str) -> Any:
    """The configuration with the scaling that the file says, which its weights were trained with.

    Args:
        config: as transformers makes it of the file.
        reader: of the file.
        name: of the file, for errors.

    Raises:
        LilliputError: the scaling is of a kind that is not taken over.
    """
    architecture = str(reader.get_field("general.architecture").contents())
    if architecture in _READ:
        return config
    tensors = {tensor.name: tensor.data for tensor in reader.tensors if tensor.name.startswith("rope_")}
    prefix = f"{architecture}.rope.scaling."
    said = {
        key.removeprefix(prefix): field.contents() for key, field in reader.fields.items() if key.startswith(prefix)
    }
    by = float(said.pop("factor", 0.0)) or 1.0  # llama.cpp takes 0 for none, and what has no type for linear
    kind = str(said.pop("type", "none" if by == 1.0 else "linear"))
    for key, value in said.items():
        if key not in _PLAIN or _PLAIN[key] not in (None, value):
            raise LilliputError(_refusal(name, f"rope.scaling.{key} {str(value)[:20]}"))
    if tensors.keys() == {"rope_freqs.weight"} and kind == "none":
        return _llama3(config, np.asarray(tensors["rope_freqs.weight"], np.float64), name)
    if tensors:
        raise LilliputError(_refusal(name, ", ".join(sorted(tensors))))
    if kind == "none" or by == 1.0:
        return config
    if kind != "linear" or not 0 < by < math.inf or not _is_plain(config):
        raise LilliputError(_refusal(name, f"rope.scaling.type {kind[:20]!r}, factor {by:g}"))
    return _with(config, {"rope_type": "linear", "factor": by})


def _llama3(config: Any, divisors: np.ndarray, name: str) -> Any:
    """Llama 3's scaling, where it makes of each frequency what the file says."""
    functions = library("transformers.modeling_rope_utils", "language").ROPE_INIT_FUNCTIONS
    if (divisors == 1).all():
        return config
    if not _is_plain(config) or _WIDE in config.rope_parameters:
        raise LilliputError(_refusal(name, "rope_freqs.weight"))
    new = _with(config, {"rope_type": "llama3", "factor": float(divisors.max()), **_LLAMA3})
    plain = _with(config, {"rope_type": "linear", "factor": 1.0})
    wanted = functions["linear"](plain)[0].numpy() / divisors
    if not np.allclose(functions["llama3"](new)[0].numpy(), wanted, rtol=1e-4):
        raise LilliputError(_refusal(name, "rope_freqs.weight other than Llama 3's"))
    return new


def _with(config: Any, scaling: Mapping[str, Any]) -> Any:
    new, rules = copy.deepcopy(config), config.rope_parameters
    wide = rules.get(_WIDE)
    new.rope_parameters = {**rules, **scaling} if wide is None else {**rules, _WIDE: {**wide, **scaling}}
    return new


def _is_plain(config: Any) -> bool:
    """Whether positions are not scaled: of all layers, or of those that see everything (Gemma 3 scales these)."""
    said = getattr(config, "rope_parameters", None)
    return isinstance(said, Mapping) and said.get(_WIDE, said).get("rope_type") == "default"


def _refusal(name: str, what: str) -> str:
    return (
        f"{name!r} scales its rotary positions ({what}), which transformers leaves out of such a file: the model would "
        "be another one; give its Hugging Face folder or hub id"
    )
