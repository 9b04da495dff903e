#!/usr/bin/env bash
# tinygrad 0.14.0, running ONNX files: QuantizeLinear to uint8 adds 0.4999999 and the zero point and cuts the rest off, in
# float32. What a tie becomes hangs on its size and the zero point: 0.5 and 1.5 go down and 2.5 up where that is 0, all go up
# where it is 3. To int8 ties go to even. No warning.
# Expected before: ties to even, as ONNX says of QuantizeLinear and onnxruntime does, whatever the type and the zero point.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 tinygrad==0.14.0
cd "$folder"
DEV=PYTHON "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner

x = np.array([0.5, 1.5, 2.5, 3.5, 4.4, 4.6], np.float32)


def both(kind, zero):
    """The codes that onnxruntime and tinygrad give, without the zero point."""
    ports = [helper.make_tensor_value_info(*one) for one in (("x", TensorProto.FLOAT, [6]), ("y", kind, [6]))]
    constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0]), helper.make_tensor("zero", kind, [], [zero])]
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    graph = helper.make_graph([node], "graph", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), "model.onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    codes = session.run(None, {"x": x})[0], OnnxRunner("model.onnx")({"x": Tensor(x)})["y"].numpy()
    return [one.astype(int) - zero for one in codes]


even = [0, 2, 2, 4, 4, 5]
for kind, zero, expected in (
    (TensorProto.INT8, 0, even),
    (TensorProto.INT8, 3, even),
    (TensorProto.UINT8, 0, [0, 1, 3, 4, 4, 5]),
    (TensorProto.UINT8, 3, [1, 2, 3, 4, 4, 5]),
):
    right, given = both(kind, zero)
    print(TensorProto.DataType.Name(kind), f"zero point {zero}: onnxruntime {right}, tinygrad {given}")
    assert right.tolist() == even and given.tolist() == expected
PYTHON
