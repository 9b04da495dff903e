#!/usr/bin/env bash
# onnxruntime 1.32.0 does not open what its own quantize_static writes where onnx 1.23.2 was left at its default opset.
# The float model of opset 28 opens; its quantized file (28 too) does not: DequantizeLinear(28) has no implementation.
# At opset 27 both open. Expected before: what opens in float and is quantized by the same release opens again.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static


class Rows(CalibrationDataReader):
    def __init__(self):
        self.rows = iter(np.eye(4, dtype=np.float32))

    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


def opens(path):
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error).splitlines()[0]
    return "opens"


weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
found = {}
for opset in (27, None):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", 4), ("y", 3))]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)] if opset else None)
    onnx.save(model, "float.onnx")
    quantize_static("float.onnx", "int8.onnx", Rows())
    written = onnx.load("int8.onnx").opset_import[0].version
    found[model.opset_import[0].version] = (opens("float.onnx"), written, opens("int8.onnx"))
    print(f"asked for opset {opset}: float {found[model.opset_import[0].version][0]};", end=" ")
    print(f"quantized, opset {written}: {found[model.opset_import[0].version][2]}")
assert found[27] == ("opens", 27, "opens")
assert found[28][:2] == ("opens", 28)
assert "DequantizeLinear(28)" in found[28][2]
PYTHON
