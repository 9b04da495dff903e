"""ONNX models made by hand, for the tests of their reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

N_OBSERVATIONS = 1000
RNG_SEED = 0


def f32(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng([RNG_SEED, seed, *shape]).normal(size=shape)).astype(np.float32)


def build(
    nodes: Sequence[Any],
    constants: dict[str, np.ndarray],
    shape: Sequence[Any] = ("n", 5),
    kind: int = TensorProto.FLOAT,
    outputs: Sequence[tuple[str, int]] = (("action", TensorProto.FLOAT),),
    opset: int = 17,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "policy",
        [helper.make_tensor_value_info("obs", kind, list(shape))],
        [helper.make_tensor_value_info(name, type_, None) for name, type_ in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return model.SerializeToString()


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def loaded(data: bytes, tmp_path: Path) -> Policy:
    path = tmp_path / "policy.onnx"
    path.write_bytes(data)
    return load_policy(path)


WEIGHTS = {"w0": f32(5, 8), "b0": f32(8), "w1": f32(3, 8), "b1": f32(3)}
SIMPLE = [node("Gemm", "obs w0 b0", "h"), node("Relu", "h", "a"), node("Gemm", "a w1 b1", "action", transB=1)]
"""5 observations, 8 units, 3 actions."""


def ran(data: bytes, x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of the first output for `obs`."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"obs": x})[0])
