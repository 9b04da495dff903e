#!/usr/bin/env bash
# emlearn 0.23.2: `import emlearn` runs numpy.seterr(all="raise") for the whole program. What numpy computed before, it refuses from
# then on: exp(-800) is no longer 0 but a FloatingPointError, wherever in the program it stands (a softmax, an environment).
# Expected before: an import leaves other code's arithmetic alone.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 scikit-learn==1.9.1 emlearn==0.23.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import sklearn.neural_network  # what emlearn converts; it leaves numpy as it was


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


logits, before = np.array([0.0, 800.0]), np.geterr()
print("before:", softmax(logits), before)
import emlearn  # noqa: E402, F401

after = np.geterr()
try:
    print("after:", softmax(logits))
    raised = ""
except FloatingPointError as error:
    raised = str(error)
print("after: raised", repr(raised), after)
assert before["under"] == "ignore" and set(after.values()) == {"raise"} and "underflow" in raised
PYTHON
