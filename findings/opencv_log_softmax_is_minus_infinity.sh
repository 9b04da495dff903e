#!/usr/bin/env bash
# OpenCV 5.0.0.93 (cv2.dnn.readNetFromONNX): LogSoftmax is the logarithm of the softmax, so that a choice whose logit is 90 below the best
# one's has a log-probability of minus infinity instead of -90 (and an entropy of NaN). ReduceLogSumExp adds exponentials of the numbers as
# they are: infinite from 89 on instead of 89.
# Expected before: finite and right, as onnxruntime's, whose largest number is subtracted first.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

for operator, settings, width in (("LogSoftmax", {"axis": 1}, 3), ("ReduceLogSumExp", {"axes": [1]}, 1)):
    node = helper.make_node(operator, ["x"], ["y"], **settings)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 3), ("y", width)))
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    for top in (10, 80, 90):
        logits = np.array([[0, 1, top]], np.float32)
        wanted = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": logits})[0]
        network = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))
        network.setInput(logits, "x")
        given = network.forward()
        print(operator, logits[0], "onnxruntime", wanted.ravel(), "OpenCV", given.ravel())
        assert np.isfinite(wanted).all()
        assert np.allclose(wanted.ravel(), given.ravel(), atol=1e-4) if top < 90 else np.isinf(given).any()
PYTHON
