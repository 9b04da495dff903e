#!/usr/bin/env bash
# onnx 1.23.2's version_converter keeps the name of an operator whose meaning changed between opsets. Down, opset 13 to 12
# (what older runtimes and converters of microcontrollers ask for): a Softmax over an axis that is not the last, such as
# torch.softmax(x, dim=1) of (batch, choices, joints), is then taken over all that follows, and its "probabilities" of
# one choice no longer add up to 1. Up, opset 11 to 13: Hardmax, the other way round. Up, opset 10 to 11: Resize (an image
# policy's) moves by half a pixel. The checker passes, nothing is said. (Softmax and LogSoftmax up are converted right.)
# Expected before: the same answers, or "No Adapter", as it says of Clip and ReduceMean.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter


def one(operator, opset, given, wanted, constants=(), **attributes):
    """A file of one operator."""
    names = [f"c{k}" for k in range(len(constants))]
    kept = [numpy_helper.from_array(np.array(c, np.float32), name) for name, c in zip(names, constants, strict=True)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", given), ("y", wanted))]
    node = helper.make_node(operator, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph([node], operator, ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def answer(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


rng = np.random.default_rng(0)
resize = {"mode": "linear", "constants": [[1, 1, 2, 2]]}
for operator, opset, to, given, wanted, changed, settings in (
    ("Softmax", 13, 12, (1, 3, 2), (1, 3, 2), True, {"axis": 1}),
    ("LogSoftmax", 13, 12, (1, 3, 2), (1, 3, 2), True, {"axis": 1}),
    ("Softmax", 13, 12, (1, 3), (1, 3), False, {"axis": 1}),
    ("Softmax", 12, 13, (1, 3, 2), (1, 3, 2), False, {"axis": 1}),
    ("Hardmax", 11, 13, (1, 3, 2), (1, 3, 2), True, {"axis": 1}),
    ("Resize", 10, 11, (1, 1, 2, 2), (1, 1, 4, 4), True, resize),
):
    x = rng.normal(size=given).astype(np.float32)
    model = one(operator, opset, given, wanted, **settings)
    converted = version_converter.convert_version(model, to)
    onnx.checker.check_model(converted, full_check=True)
    before, after = answer(model, x), answer(converted, x)
    off = np.abs(after - before).max()
    print(f"{operator} of {given}, opset {opset} to {to}: answers differ by up to {off:.3f}")
    assert (off > 0.1) == changed and (changed or off < 1e-6)
    if operator == "Softmax" and changed:
        print(f"  three probabilities of each of two: sums {before.sum(axis=1).round(3)}, converted {after.sum(axis=1).round(3)}")
PYTHON
