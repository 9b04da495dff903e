#!/usr/bin/env bash
# emlearn 0.23.2 makes thresholds and inputs of trees int16 unless dtype="float" (method="inline") is given: a tree that
# decides on observations within [-1, 1] sees nothing but zeros, and answers one and the same whatever it is shown, without
# a warning. Expected before: a tree that answers as scikit-learn's does.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 scikit-learn==1.9.1 emlearn==0.23.2
cd "$folder"
cat > trees.py <<'PYTHON'
import warnings

import emlearn
import numpy as np
from sklearn.tree import DecisionTreeClassifier

rng = np.random.default_rng(0)
x, shown = (rng.uniform(-0.99, 0.99, (2000, 4)).astype(np.float32) for _ in range(2))
choice = (x[:, 0] + x[:, 1] * x[:, 2] > 0) * 1 + (x[:, 3] > 0.5)
tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(x, choice)
found = {}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for name, model, settings in (
        ("tree", tree, {"method": "inline"}),
        ("tree, dtype float", tree, {"method": "inline", "dtype": "float"}),
    ):
        answers = np.ravel(emlearn.convert(model, **settings).predict(shown))
        found[name] = float((answers == model.predict(shown)).mean()), len(set(answers.tolist()))
        print(f"{name}: {found[name][0]:.1%} as scikit-learn, {found[name][1]} different answers")
words = [str(one.message) for one in said if "int16" in str(one.message) or "dtype" in str(one.message)]
print("warned of it:", words)
assert found["tree"][0] < 0.5 and found["tree"][1] == 1
assert found["tree, dtype float"] == (1.0, 3)
assert not words
PYTHON
"$folder/venv/bin/python" trees.py
