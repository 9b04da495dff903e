#!/usr/bin/env bash
# safetensors 0.8.0, safetensors.numpy.save_file: an array in Fortran order (a transposed weight, what scikit-learn's PCA gives) or a strided
# one is written as its memory lies, under its shape: what is loaded has the same shape and type and other numbers. No error, no warning.
# 0.7.0 writes what the array holds. (safetensors.torch raises for such tensors in both.)
# Expected before: equal arrays after a round trip, as in 0.7.0, or an error.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > round_trip.py <<'PYTHON'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

right = sys.argv[1] == "right"
weights = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {"as it is": weights, "transposed": weights.T, "Fortran order": np.asfortranarray(weights), "strided": weights[:, ::2]}
for name, array in arrays.items():
    save_file({"weights": array}, "policy.safetensors")
    loaded = load_file("policy.safetensors")["weights"]
    print(f"{safetensors.__version__}, {name}: saved {array.tolist()}, loaded {loaded.tolist()}")
    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
    assert np.array_equal(loaded, array) == (right or name == "as it is")
    save_file({"weights": np.ascontiguousarray(array)}, "policy.safetensors")
    assert np.array_equal(load_file("policy.safetensors")["weights"], array)
PYTHON
for version in 0.7.0 0.8.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install --quiet numpy==2.4.6 "safetensors==$version"
done
"$folder/0.7.0/bin/python" -W error round_trip.py right
"$folder/0.8.0/bin/python" -W error round_trip.py wrong
