#!/usr/bin/env bash
# Llama 3.1 to 3.3 scale their rotary positions. A GGUF file has that as a tensor, rope_freqs.weight: what each frequency is
# divided by. transformers 5.24.0 loads such a file without a word, and without the scaling: the model is another one than the
# folder that the file was made of. So it is with rope.scaling.type "linear". Expected before: it is taken over, or refused.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
cat > "$folder/read.py" <<'PYTHON'
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

folder = Path(sys.argv[1])
LLAMA3 = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
DIVISORS = np.array([1.0, 1.0, 3.292262, 32.0], np.float32)  # as llama.cpp's converter makes them of these


def written(path, model, scaling):
    config, weights = model.config, {name: one.numpy() for name, one in model.state_dict().items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(500000.0)
    writer.add_vocab_size(config.vocab_size)
    if scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)
    if scaling == "llama3":
        writer.add_tensor("rope_freqs.weight", DIVISORS)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, rows in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            rows = rows.reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 64, (1, 200)))
for scaling, more in (("default", {}), ("llama3", LLAMA3), ("linear", {"factor": 4.0})):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, rope_parameters={"rope_theta": 500000.0, "rope_type": scaling, **more},
    )
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn_like(weight)
    written(folder / "one.gguf", model, scaling)
    read = AutoModelForCausalLM.from_pretrained(str(folder), gguf_file="one.gguf", dtype="float32").eval()
    with torch.inference_mode():
        one, other = model(tokens).logits, read(tokens).logits
    same = bool((one - other).abs().max() < 1e-4 * one.abs().max())
    print(scaling, "the same" if same else "another model", "read as", read.config.rope_parameters["rope_type"])
PYTHON
told="$("$folder/venv/bin/python" "$folder/read.py" "$folder" 2> /dev/null)"
echo "$told"
[[ "$told" == "default the same read as default
llama3 another model read as default
linear another model read as default" ]]
