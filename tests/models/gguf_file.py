"""A GGUF file as llama.cpp's converter writes one, from a Hugging Face folder of a Llama or a Qwen2."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def gguf_file(folder: Path, path: Path, **more: np.ndarray) -> Path:
    """The path, whose file holds the folder's model of bytes: matrices in 8 bits (Q8_0), the rest in float32.

    Args:
        folder: that transformers wrote.
        path: of the file.
        more: tensors beside the folder's, by name.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(path, architecture)
    rotary = config.get("rope_parameters") or {}
    writer.add_rope_freq_base(float(rotary.get("rope_theta", 10000.0)))
    if rotary.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary["factor"])
    if rotary.get("rope_type") == "llama3":
        size = config["hidden_size"] // heads
        divisors = [llama3(rotary, rotary["rope_theta"] ** (-at / size)) for at in range(0, size, 2)]
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    for name, array in more.items():
        writer.add_tensor(name, array)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
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
        if name.endswith("embed_tokens.weight"):
            rows = np.concatenate([rows, np.zeros((1, rows.shape[1]), np.float32)])
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
