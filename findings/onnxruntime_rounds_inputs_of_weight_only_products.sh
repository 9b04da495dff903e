#!/usr/bin/env bash
# onnxruntime 1.32.0, with its default settings: a MatMul whose weight comes out of DequantizeLinear (8 or 4 bits, nothing
# quantized on the other side) becomes one MatMulNBits node of accuracy level 4, which rounds the real input to 8 bits in
# blocks of 32 too. The answers are off by half a percent instead of by float32's rounding, and nothing is said. The same graph
# with the same axis counted from the end (-1 instead of 1) is left as it is written, as it is with the session option
# session.qdq_matmulnbits_accuracy_level = 1.
# Expected before: a graph is answered as it is written, up to the order of its sums; "weight only" leaves inputs real.
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

rng = np.random.default_rng(0)
codes = rng.integers(-127, 128, (64, 24)).astype(np.int8)
scale = np.full(24, 0.01, np.float32)
x = rng.normal(size=(5, 64)).astype(np.float32)
want = x.astype(np.float64) @ (codes * scale)


def missed(axis, **entries):
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["weight"], axis=axis),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24])],
        [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scale, "scale")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "run.onnx"
    options.log_severity_level = 3
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    off = float(np.abs(session.run(None, {"x": x})[0] - want).max() / np.abs(want).max())
    kinds = [node.op_type for node in onnx.load("run.onnx").graph.node]
    print(f"axis {axis} {entries}: {kinds}, off by {off:.1e} of the largest answer")
    return off


assert missed(1) > 1e-3
assert missed(-1) < 1e-5
assert missed(1, qdq_matmulnbits_accuracy_level="1") < 1e-5
PYTHON
