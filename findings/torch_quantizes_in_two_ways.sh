#!/usr/bin/env bash
# torch 2.13.0: quantize_per_tensor adds the zero point before it rounds (ties to even), fake_quantize_per_tensor_affine
# after. With an odd zero point every tie falls to the other side: 0.25 at scale 0.5, zero point 1 is code 2 or code 1.
# Expected before: what a model is trained with by fake quantization is what it is converted to.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 torch==2.13.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch

x, scale, zero = torch.tensor([0.25, 0.75, 1.25, -0.25]), 0.5, 1
real = torch.quantize_per_tensor(x, scale, zero, torch.quint8).int_repr().tolist()
fake = (torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255) / scale + zero).int().tolist()
print(f"quantize_per_tensor {real}, fake quantization {fake}")
assert real == [2, 2, 4, 0]
assert fake == [1, 3, 3, 1]
PYTHON
