#!/usr/bin/env bash
# A GRU or LSTM whose file names other activations (Keras's GRU(activation="relu")), or a clip, is computed with sigmoid and
# tanh and without the clip by tract 0.23.9 and by ReferenceEvaluator of onnx 1.23.2, the format's own reference, which
# ignores sequence_lens as well. onnxruntime 1.32.0 does what the file says, as numpy shows. No error, no warning.
# Expected before: an attribute that a runtime does not know is refused, and the reference does what the format says.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9
cat > "$folder/gru.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

steps, n_in, n = 3, 4, 5
rng = np.random.default_rng(0)
W, R, B = (rng.normal(0, 0.5, shape).astype(np.float32) for shape in ((1, 3 * n, n_in), (1, 3 * n, n), (1, 6 * n)))
x = rng.normal(0, 2, (steps, 1, n_in)).astype(np.float32)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def by_hand(activation, clip):
    """The last state by the equations of ONNX's GRU, linear_before_reset = 1: update, reset and hidden gates in this order."""
    h, (b, c) = np.zeros(n), np.split(B[0].astype(np.float64), 2)
    for step in x[:, 0].astype(np.float64):
        new, old = (np.split(v, 3) for v in (W[0] @ step + b, R[0] @ h + c))
        z, r = (sigmoid(np.clip(new[k] + old[k], -clip, clip)) for k in (0, 1))
        h = (1 - z) * activation(np.clip(new[2] + r * old[2], -clip, clip)) + z * h
    return h


def answers(**settings):
    ends = (("x", [steps, 1, n_in]), ("h", [1, 1, n]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["", "h"], hidden_size=n, linear_before_reset=1, **settings)
    weights = [numpy_helper.from_array(array, name) for name, array in (("W", W), ("R", R), ("B", B))]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{sys.argv[1]}/gru.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runnable = tract.onnx().load(f"{sys.argv[1]}/gru.onnx").into_model().into_runnable()
    given = {
        "onnxruntime": session.run(None, {"x": x})[0],
        "onnx's reference": ReferenceEvaluator(model).run(None, {"x": x})[0],
        "tract": runnable.run([x])[0].to_numpy(),
    }
    return {name: np.ravel(h) for name, h in given.items()}


plain = by_hand(np.tanh, np.inf)
for what, settings, wanted in (
    ("as it comes", {}, plain),
    ("relu", {"activations": ["Sigmoid", "Relu"]}, by_hand(lambda v: np.maximum(v, 0), np.inf)),
    ("clip 0.3", {"clip": 0.3}, by_hand(np.tanh, 0.3)),
):
    for name, h in answers(**settings).items():
        missed, from_plain = np.abs(h - wanted).max(), np.abs(h - plain).max()
        print(f"{what}, {name}: {missed:.1g} from what the file says, {from_plain:.1g} from sigmoid and tanh without clip")
        if name == "onnxruntime" or not settings:
            assert missed < 1e-5
        else:
            assert missed > 0.05 and from_plain < 1e-5
PYTHON
"$folder/venv/bin/python" "$folder/gru.py" "$folder" 2>&1
