#!/usr/bin/env bash
# The int64 that onnxruntime gives is numpy's long long, not its int64: it prints as int64, equals it, and is another type.
#
# Expected: an action by ArgMax is a np.int64 array, as np.argmax gives one. Seen (onnxruntime 1.32.0, numpy 2.4.6, x86-64
# Linux): dtype.name is "int64" and dtype == np.int64, but dtype.type is np.longlong, so that `isinstance(action[0],
# np.int64)` is False, and jaxtyping 0.3.11 refuses the array as Int64 and as Int. int32 is np.int32. Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 jaxtyping==0.3.11
"$work/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from jaxtyping import Int, Int64
from onnx import TensorProto, helper

LOGITS = np.array([0.1, 0.7, 0.2], np.float32)


def answer(operator, kind, **arguments):
    graph = helper.make_graph(
        [helper.make_node(operator, ["logits"], ["given"], **arguments)],
        "policy",
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("given", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"logits": LOGITS})[0]


action = answer("ArgMax", TensorProto.INT64)
print(action, action.dtype, action.dtype.type, isinstance(action[0], np.int64), isinstance(action, Int64[np.ndarray, "1"]))
assert action.dtype == np.int64 and action.dtype.name == "int64" and action.dtype.itemsize == 8
assert action.dtype.type is np.longlong and not isinstance(action[0], np.int64)
assert not isinstance(action, Int64[np.ndarray, "1"]) and not isinstance(action, Int[np.ndarray, "1"])
assert isinstance(action.astype(np.int64), Int64[np.ndarray, "1"])
assert isinstance(LOGITS.argmax(), np.int64)
assert answer("Cast", TensorProto.INT32, to=TensorProto.INT32).dtype.type is np.int32
PY
