#!/usr/bin/env bash
# OpenCV 5.0.0.93 (cv2.dnn.readNetFromONNX): a convolution or a pooling with auto_pad=SAME_UPPER, a kernel of 3 and a stride of 2 over a
# picture of even size gets one row and column of padding on each side, where ONNX has none at the top and left and one at the bottom and
# right: every window is shifted by one pixel, and shapes fit. With a stride of 1, or with the pads written out, it is right. No warning.
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

rng = np.random.default_rng(0)
weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)


def answers(operator, side, stride, **padding):
    """What onnxruntime and OpenCV answer about one picture of `side` x `side`."""
    inputs = ["x", "w"] if operator == "Conv" else ["x"]
    node = helper.make_node(operator, inputs, ["y"], kernel_shape=[3, 3], strides=[stride, stride], **padding)
    after = -(-side // stride)
    shapes = {"x": [1, 3, side, side], "y": [1, 4 if operator == "Conv" else 3, after, after]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    constants = [numpy_helper.from_array(weights, "w")] if operator == "Conv" else []
    graph = helper.make_graph([node], "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    picture = np.random.default_rng(1).normal(size=shapes["x"]).astype(np.float32)
    wanted = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": picture})[0]
    network = cv2.dnn.readNetFromONNX(np.frombuffer(file, np.uint8))
    network.setInput(picture, "x")
    return wanted, network.forward()


def error(wanted, given):
    """The largest difference, relative to the largest answer."""
    assert wanted.shape == given.shape
    return np.abs(wanted - given).max() / np.abs(wanted).max()


for operator in ("Conv", "MaxPool", "AveragePool"):
    same, written, even = {"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 1, 1]}, {"pads": [1, 1, 1, 1]}
    found = {"stride 2": error(*answers(operator, 8, 2, **same)), "stride 2, written out": error(*answers(operator, 8, 2, **written)),
             "stride 2, odd size": error(*answers(operator, 7, 2, **same)), "stride 1": error(*answers(operator, 8, 1, **same))}
    centred = error(answers(operator, 8, 2, **even)[0], answers(operator, 8, 2, **same)[1])
    print(operator, {name: f"{value:.2g}" for name, value in found.items()}, f"against padding on each side: {centred:.2g}")
    assert found.pop("stride 2") > 0.3 and max(found.values()) < 1e-5
    assert centred < 1e-5
PYTHON
