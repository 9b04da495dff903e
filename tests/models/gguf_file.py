"""A GGUF file as llama.cpp's converter writes one, from a Hugging Face folder of one of some architectures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def gguf_file(
    folder: Path, path: Path, said: dict[str, Any] | None = None, more: dict[str, np.ndarray] | None = None
) -> Path:
    """The path, whose file holds the folder's model of bytes: matrices in 8 bits (Q8_0), the rest in float32.

    Args:
        folder: that transformers wrote.
        path: of the file.
        said: settings beside the folder's, by name.
        more: tensors beside the folder's, by name.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    architecture = config["model_type"].removesuffix("_text")
    writer = gguf.GGUFWriter(path, architecture)
    rotary = _rotary(config)
    if rotary.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary["factor"])
    if rotary.get("rope_type") == "llama3":
        size = config["hidden_size"] // heads
        divisors = [llama3(rotary, rotary["rope_theta"] ** (-at / size)) for at in range(0, size, 2)]
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    for name, array in (more or {}).items():
        writer.add_tensor(name, array)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    adds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    counts = {"attention.head_count": heads, "attention.head_count_kv": kv_heads}
    for key, value in (counts | _settings(architecture, config) | (said or {})).items():
        adds[type(value)](f"{architecture}.{key}", value)
    writer.add_vocab_size(config["vocab_size"] + 1)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    writer.add_tokenizer_model("gpt2")
    # What reads it adds GPT-2's end of a text where it is missing, and the embedding must have a row for it.
    tokens = [*sorted(tokenizer["vocab"], key=tokenizer["vocab"].get), "<|endoftext|>"]
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))  # from which its reader finds merges: here are none
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config["num_hidden_layers"])
    for name, weights in load_file(folder / "model.safetensors").items():
        told = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if told is None:
            raise AssertionError(f"GGUF has no name for {name}")
        rows: Any = np.asarray(weights, np.float32)
        if architecture == "llama" and name.endswith(
            ("q_proj.weight", "k_proj.weight")
        ):  # its rotary embedding pairs neighbours, theirs halves
            n = heads if "q_proj" in name else kv_heads
            rows = rows.reshape(n, 2, rows.shape[0] // n // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            rows = np.concatenate([rows, np.zeros((1, rows.shape[1]), np.float32)])
        if architecture in ("gemma2", "gemma3", "nemotron") and name.endswith("norm.weight"):
            rows = rows + 1
        if rows.ndim == 2:
            quantized = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(told, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(told, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _rotary(config: dict[str, Any]) -> dict[str, Any]:
    """The rule of rotary positions, of layers that see everything."""
    rules = config.get("rope_parameters") or {}
    return rules.get("full_attention", rules)


def _settings(architecture: str, config: dict[str, Any]) -> dict[str, Any]:
    """The settings that a file of that architecture has, as llama.cpp's converter writes them (2026-08, MIT)."""
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    rotary = _rotary(config)
    theta = {"rope.freq_base": float(rotary.get("rope_theta", 10000.0))}
    turned = {"rope.dimension_count": int(head * rotary.get("partial_rotary_factor", 1.0))}
    lengths = {"attention.key_length": head, "attention.value_length": head}
    epsilon = next(float(config[key]) for key in ("rms_norm_eps", "layer_norm_eps", "norm_epsilon", "norm_eps")
                   if key in config)  # fmt: skip
    rms, layer = {"attention.layer_norm_rms_epsilon": epsilon}, {"attention.layer_norm_epsilon": epsilon}
    window = {"attention.sliding_window": config.get("sliding_window") or 0}
    match architecture:
        case "llama":
            return theta | turned | lengths | rms
        case "qwen2":
            return theta | rms
        case "qwen3":
            return theta | lengths | rms
        case "gemma2":
            caps = {key: config[key] for key in ("attn_logit_softcapping", "final_logit_softcapping")}
            return lengths | rms | window | caps
        case "gemma3":
            swa = config["rope_parameters"]["sliding_attention"]["rope_theta"]
            return theta | lengths | rms | window | {"rope.freq_base_swa": float(swa)}
        case "phi3":
            return theta | turned | rms | window
        case "stablelm":
            return turned | layer | {"use_parallel_residual": config["use_parallel_residual"]}
        case "starcoder2":
            return theta | layer
        case "nemotron":
            return theta | turned | lengths | layer
    raise AssertionError(f"no settings are known of {architecture}")


def llama3(rotary: dict[str, Any], frequency: float) -> float:
    """What a frequency is divided by, as llama.cpp's converter computes it (convert_hf_to_gguf.py, MIT)."""
    length, old = 2 * math.pi / frequency, rotary["original_max_position_embeddings"]
    low, high = rotary["low_freq_factor"], rotary["high_freq_factor"]
    if length < old / high:
        return 1.0
    if length > old / low:
        return rotary["factor"]
    smooth = (old / length - low) / (high - low)
    return 1 / ((1 - smooth) / rotary["factor"] + smooth)
