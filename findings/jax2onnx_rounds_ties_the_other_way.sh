#!/usr/bin/env bash
# jax2onnx 0.17.1: jax.lax.round, which rounds ties away from zero, becomes ONNX's Round, which rounds them to even, so that a
# quantizer's codes differ at every second tie; log1p becomes Log(x + 1) and expm1 Exp(x) - 1, which are 0 for 1e-8 and 19 % off at
# 1e-7. No warning.
# Expected before: what JAX computes, up to float32's rounding, or a refusal.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 jax==0.10.2 jax2onnx==0.17.1 onnx==1.23.2 onnxruntime==1.32.0
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx


def both(function, x):
    """What JAX answers, and what the exported file does."""
    model = to_onnx(function, [x.shape])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(function(x)), session.run(None, {session.get_inputs()[0].name: x})[0]


ties = np.array([-1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
small = np.array([1e-8, 1e-7, 1e-4], np.float32)
wanted, given = both(lambda x: jax.lax.round(x), ties)
print("round:", wanted, given)
assert wanted.tolist() == [-2, -1, 1, 2, 3] and given.tolist() == [-2, 0, 0, 2, 2]
wanted, given = both(lambda x: jax.lax.round(x, jax.lax.RoundingMethod.TO_NEAREST_EVEN), ties)
print("round to even:", wanted, given)
assert wanted.tolist() == given.tolist()
for name, function in (("log1p", jnp.log1p), ("expm1", jnp.expm1)):
    wanted, given = both(lambda x, function=function: function(x), small)
    print(f"{name}:", wanted, given)
    assert wanted[0] > 0 and given[0] == 0 and abs(given[1] / wanted[1] - 1) > 0.1
PYTHON
