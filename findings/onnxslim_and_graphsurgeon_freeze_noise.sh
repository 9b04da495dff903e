#!/usr/bin/env bash
# onnxslim 0.1.98 and fold_constants of onnx_graphsurgeon 0.6.1 take a random draw of a fixed shape for a constant: what
# torch.randn(1, 6) is in an ONNX file (RandomNormal, or RandomNormalLike of a constant) is drawn once while the file is
# made smaller, and added to every action from then on. The file's checks pass; a stochastic policy has become a
# deterministic one with an offset of a standard deviation. onnxsim 0.8.1 and onnxscript 0.7.2 leave the draw where it is.
# Expected before: none of them folds what is random.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxslim==0.1.98 \
    onnx_graphsurgeon==0.6.1 onnxsim==0.8.1 onnxscript==0.7.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx_graphsurgeon
import onnxruntime
import onnxscript.optimizer
import onnxsim
import onnxslim
from onnx import TensorProto, helper, numpy_helper

weight = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
ends = [helper.make_tensor_value_info(*end) for end in (("x", TensorProto.FLOAT, [1, 4]), ("y", TensorProto.FLOAT, [1, 6]))]


def policy(draw, *inputs, **shape):
    """A mean and a standard deviation of one times a draw, as torch.onnx.export writes `mean + torch.randn(1, 6)`."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["mean"]),
        helper.make_node(draw, inputs, ["noise"], **shape),
        helper.make_node("Add", ["mean", "noise"], ["y"]),
    ]
    kept = [numpy_helper.from_array(weight, "w")]
    kept += [numpy_helper.from_array(np.zeros((1, 6), np.float32), name) for name in inputs]
    graph = helper.make_graph(nodes, "policy", ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def surgeon(model):
    return onnx_graphsurgeon.export_onnx(onnx_graphsurgeon.import_onnx(model).fold_constants().cleanup())


def actions(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": np.zeros((1, 4), np.float32)})[0] for _ in range(200)])


tools = {
    "as exported": lambda model: model, "onnxslim": onnxslim.slim, "onnx_graphsurgeon": surgeon,
    "onnxsim": lambda model: onnxsim.simplify(model)[0], "onnxscript": onnxscript.optimizer.optimize,
}
for kind, model in (
    ("RandomNormal", policy("RandomNormal", shape=[1, 6])), ("RandomNormalLike", policy("RandomNormalLike", "zeros")),
):
    for name, tool in tools.items():
        given = actions(tool(model))
        spread, offset = np.ptp(given, axis=0).max(), np.abs(given.mean(axis=0)).max()
        print(f"{kind}, {name}: actions of one observation lie within {spread:.2f}, their mean is off by {offset:.2f}")
        assert (spread == 0) == (name in ("onnxslim", "onnx_graphsurgeon"))
PYTHON
