"""A GGUF file as llama.cpp's converter writes one, from a Hugging Face folder of a Llama."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def gguf_file(folder: Path, path: Path) -> Path:
    """The path, whose file holds the folder's model of bytes: matrices in 8 bits (Q8_0), the rest in float32."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
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
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weights in load_file(folder / "model.safetensors").items():
        told = names.get_name(name, try_suffixes=(".weight",))
        if told is None:
            raise AssertionError(f"GGUF has no name for {name}")
        rows: Any = np.asarray(weights, np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # its rotary embedding pairs neighbours, theirs halves
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
