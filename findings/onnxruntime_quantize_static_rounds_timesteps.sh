#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static with its defaults gives every operand of every Mul and Add 8 bits, so the timestep of
# a diffusion model, 0 to 999, becomes one of 256 numbers before it is multiplied into angles: their sines are of other
# angles altogether, without a warning. With op_types_to_quantize=["Gemm"] they are not.
# Expected before: static quantization of a model costs what rounding its layers costs, a percent or so.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
# The usual embedding: angles of the timestep at falling frequencies, their sines through a layer.
weights = {
    "frequency": np.exp(np.linspace(0, -np.log(1000), 8)).astype(np.float32)[None],
    "layer": rng.normal(0, 0.3, (8, 8)).astype(np.float32),
}
nodes = [
    helper.make_node("Mul", ["timestep", "frequency"], ["angle"], "angles"),
    helper.make_node("Sin", ["angle"], ["sine"], "sines"),
    helper.make_node("Gemm", ["sine", "layer"], ["embedding"], "layer"),
]
graph = helper.make_graph(
    nodes,
    "embedding",
    [helper.make_tensor_value_info("timestep", TensorProto.FLOAT, ["n", 1])],
    [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])],
    [numpy_helper.from_array(array, name) for name, array in weights.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "real.onnx")
steps = np.arange(1000, dtype=np.float32)[:, None]


class Reader:
    def __init__(self):
        self.rest = iter([{"timestep": steps}])

    def get_next(self):
        return next(self.rest, None)


def answer(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"timestep": steps})[0]


real, missed = answer("real.onnx"), {}
for name, settings in (("defaults", {}), ("layers alone", {"op_types_to_quantize": ["Gemm"]})):
    quantize_static(
        "real.onnx", "small.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, **settings,
    )
    missed[name] = float(np.sqrt(np.mean((answer("small.onnx") - real) ** 2)) / real.std())
    print(f"{name}: error {missed[name]:.1%} of the embedding's standard deviation")
assert missed["layers alone"] < 0.03 < 0.3 < missed["defaults"]
PYTHON
