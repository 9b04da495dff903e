"""What a GGUF file says of its model beside its shapes, of which transformers 5.24 leaves a part out in silence."""

import copy
import math
from collections.abc import Mapping
from typing import Any

from lilliput.errors import LilliputError

_SHAPES = {
    "attention.head_count", "attention.head_count_kv", "attention.value_length", "block_count", "embedding_length",
    "expert_count", "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_used_count",
    "feed_forward_length", "shortconv.l_cache", "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size",
    "ssm.time_step_rank", "tensor_data_layout", "vocab_size",
}  # fmt: skip
"""Taken over by transformers, or seen in the shapes of the weights."""

_POSITIVE = {
    "attention.key_length", "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "rope.dimension_count",
    "rope.freq_base", "rope.freq_base_swa",
}  # fmt: skip
"""What no model computes with where it is 0 or less."""

_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
_SAME = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "use_parallel_residual": "use_parallel_residual",
}
"""Settings that transformers has under a name of its own, where the architecture has them."""

_PARTIAL = ("nemotron", "phi3", "stablelm")
"""Architectures of which transformers can turn a part of a head's numbers."""

_WINDOWED = ("gemma2", "gemma3", "phi3")
"""Architectures of which transformers can keep attention within a window."""

_27B = {"gemma2": 46, "gemma3": 62}
"""Blocks of the Gemmas that divide scores otherwise than the others; llama.cpp knows them so, too."""


def settled(config: Any, reader: Any, name: str) -> Any:
    """The configuration with what the file says.

    Args:
        config: as transformers makes it of the file.
        reader: of the file.
        name: of the file, for errors.

    Raises:
        LilliputError: the file says something that transformers has no place for, or a number that no model has.
    """
    architecture = str(reader.get_field("general.architecture").contents())
    said = {
        key.removeprefix(f"{architecture}."): field.contents()
        for key, field in reader.fields.items()
        if key.startswith(f"{architecture}.") and not key.startswith(f"{architecture}.rope.scaling.")
    }
    new = copy.deepcopy(config)
    if (new.pad_token_id or 0) >= new.vocab_size:
        new.pad_token_id = None  # transformers' own, for another vocabulary
    if architecture in _27B:
        is_27b = said.get("block_count") == _27B[architecture]
        new.query_pre_attn_scalar = new.hidden_size // new.num_attention_heads if is_27b else _head(new, said)
    for key, value in said.items():
        if (isinstance(value, float) and not math.isfinite(value)) or (key in _POSITIVE and value <= 0):
            raise LilliputError(f"{name!r} says {key} {value}, which no model has: the file is damaged")
        if key not in _SHAPES and not _takes(new, architecture, key, value, said):
            raise LilliputError(
                f"{name!r} says {key} {str(value)[:40]}, which transformers leaves out of a file of {architecture}: "
                "the model would be another one; give its Hugging Face folder or hub id"
            )
    return new


def _takes(config: Any, architecture: str, key: str, value: Any, said: Mapping[str, Any]) -> bool:
    """Whether that setting is in the configuration now."""
    match key:
        case "context_length":
            if architecture == "gpt2":
                config.n_positions = value
            return True
        case "attention.key_length":
            if hasattr(config, "head_dim"):
                config.head_dim = value
            return getattr(config, "head_dim", config.hidden_size // config.num_attention_heads) == value
        case "attention.layer_norm_epsilon" | "attention.layer_norm_rms_epsilon":
            names = [name for name in _EPSILONS if hasattr(config, name)]
            for name in names:
                setattr(config, name, value)
            return bool(names)
        case "attention.sliding_window":
            if architecture in _WINDOWED:
                config.sliding_window = value or None
            return architecture in _WINDOWED or not value
        case "rope.freq_base" | "rope.freq_base_swa":
            return _turns(config, {"rope_theta": value}, "sliding" if key.endswith("swa") else "full")
        case "rope.dimension_count":
            share = value / _head(config, said)
            if architecture in _PARTIAL and int(_head(config, said) * share) == value:
                return _turns(config, {"partial_rotary_factor": share}, "full")
            return share == 1
        case _ if key in _SAME:
            if hasattr(config, _SAME[key]):
                # A cap of 0 is none, by which transformers would divide.
                setattr(config, _SAME[key], None if key.endswith("softcapping") and not value else value)
            return hasattr(config, _SAME[key]) or not value
        case _:
            return value is False


def _turns(config: Any, changed: Mapping[str, Any], layers: str) -> bool:
    """Whether the rotary positions of those layers have what is changed now; one rule may be for all layers."""
    rules = getattr(config, "rope_parameters", None)
    if not isinstance(rules, Mapping):
        return False
    each = f"{layers}_attention"
    if isinstance(rules.get(each), Mapping):
        config.rope_parameters = {**rules, each: {**rules[each], **changed}}
        return True
    if layers == "full":
        config.rope_parameters = {**rules, **changed}
    return layers == "full"


def _head(config: Any, said: Mapping[str, Any]) -> int:
    told = said.get("attention.key_length") or getattr(config, "head_dim", None)
    return int(told or config.hidden_size // config.num_attention_heads)
