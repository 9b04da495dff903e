#!/usr/bin/env bash
# OpenCV 5.0.0.93 (cv2.dnn.readNetFromONNX): a GRU with direction="reverse" is computed forwards. An LSTM's Y is computed backwards, but its
# Y_h and Y_c are taken at the wrong end of the sequence, as if it ran forwards. Shapes fit; no warning. Forward and bidirectional ones are right.
# Expected before: what onnxruntime answers, to float32's rounding, or a refusal.
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
from onnx import TensorProto, helper, numpy_helper

steps, batch, inputs, units = 5, 2, 4, 3
observations = np.random.default_rng(1).normal(size=(steps, batch, inputs)).astype(np.float32)


def outputs(operator, direction):
    """Y, Y_h (and Y_c) of onnxruntime and of OpenCV."""
    gates, ways = {"GRU": 3, "LSTM": 4}[operator], 2 if direction == "bidirectional" else 1
    names = ["y", "h", "c"][: 3 if operator == "LSTM" else 2]
    rng = np.random.default_rng(0)
    shapes = {"w": (ways, gates * units, inputs), "r": (ways, gates * units, units), "b": (ways, 2 * gates * units)}
    constants = [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()]
    settings = {"hidden_size": units, "direction": direction} | ({"linear_before_reset": 1} if operator == "GRU" else {})
    node = helper.make_node(operator, ["x", "w", "r", "b"], names, **settings)
    results = {"y": [steps, ways, batch, units], "h": [ways, batch, units], "c": [ways, batch, units]}
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, observations.shape)
    asked = [helper.make_tensor_value_info(name, TensorProto.FLOAT, results[name]) for name in names]
    graph = helper.make_graph([node], "g", [given], asked, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    wanted = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(names, {"x": observations})
    network = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))
    network.setInput(observations, "x")
    return wanted, [np.asarray(array) for array in network.forward(names)]


def same(one, other):
    return bool(np.abs(one.reshape(-1) - other.reshape(-1)).max() < 1e-5)


for operator in ("GRU", "LSTM"):
    forward, _ = outputs(operator, "forward")
    for direction in ("forward", "bidirectional", "reverse"):
        wanted, given = outputs(operator, direction)
        agree = [same(one, other) for one, other in zip(wanted, given, strict=True)]
        print(operator, direction, dict(zip("yhc", agree)))
        assert all(agree) or direction == "reverse"
    if operator == "GRU":
        print("  what it gives for reverse is the forward GRU:", [same(one, other) for one, other in zip(forward, given)])
        assert not any(agree) and all(same(one, other) for one, other in zip(forward, given))
    else:
        print("  the state given is Y at the last step:", same(given[1], wanted[0][-1]), "(Y_h is Y at the first step:", same(wanted[1], wanted[0][0]), ")")
        assert agree == [True, False, False] and same(given[1], wanted[0][-1]) and same(wanted[1], wanted[0][0])
PYTHON
