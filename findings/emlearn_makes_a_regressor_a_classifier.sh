#!/usr/bin/env bash
# emlearn 0.23.1 converts scikit-learn's MLPRegressor into a classifier unless return_type="regressor" is given: predict
# gives 0 and 1, without a word. (Trees are told apart by their class.) Expected before: the class of the model decides.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 scikit-learn==1.9.1 emlearn==0.23.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import emlearn
import numpy as np
from sklearn.neural_network import MLPRegressor

x = np.random.default_rng(0).uniform(-1, 1, (400, 3)).astype(np.float32)
model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=2000, random_state=0).fit(x, 2 * x[:, 0] - x[:, 1])
wanted = model.predict(x[:5])
plain = [float(y) for y in emlearn.convert(model, method="loadable").predict(x[:5])]
told = np.ravel(emlearn.convert(model, method="loadable", return_type="regressor").predict(x[:5]))
print(f"scikit-learn {wanted.round(3)}, converted {plain}, converted with return_type='regressor' {told.round(3)}")
assert set(plain) <= {0.0, 1.0}
assert np.abs(told - wanted).max() < 1e-3
PYTHON
