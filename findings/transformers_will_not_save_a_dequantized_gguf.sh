#!/usr/bin/env bash
# transformers 5.24.0 dequantizes a GGUF file while it loads it: every parameter is an ordinary float32 tensor, trained and
# run as one. `save_pretrained` nevertheless refuses ("quantized with gguf and is not serializable"), and the config it would
# write keeps a quantization_config that says dequantize: false. The same weights in a module made from a config without that
# entry are saved and read back. Expected before: what is in plain float32 is saved.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
cat > "$folder/save.py" <<'PYTHON'
import copy
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
writer = gguf.GGUFWriter(folder / "one.gguf", "llama")
writer.add_context_length(64)
writer.add_embedding_length(32)
writer.add_block_count(1)
writer.add_feed_forward_length(64)
writer.add_head_count(4)
writer.add_head_count_kv(4)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_dimension_count(8)
writer.add_vocab_size(64)
shapes = {"token_embd": (64, 32), "output_norm": (32,), "output": (64, 32)}
shapes |= {f"blk.0.attn_{name}": (32, 32) for name in ("q", "k", "v", "output")}
shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
for name, shape in shapes.items():
    weights = rng.normal(size=shape).astype(np.float32)
    if len(shape) == 1:
        writer.add_tensor(f"{name}.weight", weights)
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, kind), raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

model = AutoModelForCausalLM.from_pretrained(str(folder), gguf_file="one.gguf", dtype="float32")
plain = all(type(each) is torch.nn.Parameter and each.dtype == torch.float32 for each in model.parameters())
print("every parameter is plain float32:", plain)
try:
    model.save_pretrained(folder / "saved")
    print("saved")
except ValueError as error:
    print("not saved:", str(error).split(" - ")[0])
config = copy.deepcopy(model.config)
print("its config says:", config.quantization_config.to_dict()["dequantize"])
del config.quantization_config
other = AutoModelForCausalLM.from_config(config)
other.load_state_dict(model.state_dict())
other.save_pretrained(folder / "other")
again = AutoModelForCausalLM.from_pretrained(folder / "other").state_dict()
print("the same weights, saved and read:", all(torch.equal(again[name], each) for name, each in model.state_dict().items()))
PYTHON
told="$("$folder/venv/bin/python" "$folder/save.py" "$folder" 2> /dev/null)"
echo "$told"
[[ "$told" == "every parameter is plain float32: True
not saved: The model is quantized with gguf and is not serializable
its config says: False
the same weights, saved and read: True" ]]
