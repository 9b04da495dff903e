"""ONNX files that are no policy, or not whole, are refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, loaded, node

from lilliput.errors import LilliputError


def external() -> bytes:
    model = onnx.ModelProto.FromString(build(SIMPLE, WEIGHTS))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return model.SerializeToString()


def huge() -> bytes:
    model = onnx.ModelProto.FromString(build(SIMPLE, WEIGHTS))
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    return model.SerializeToString()


def circle() -> bytes:
    return build([node("Relu", "b", "a"), node("Tanh", "a", "b"), node("Gemm", "b w1 b1", "action", transB=1)], WEIGHTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (external, "'w0' is in '/etc/passwd', outside of the model's folder"),
        (huge, r"'w0' has the shape .* at most"),
        (circle, "goes in circles"),
        (
            lambda: build([node("Softplus", "obs", "s"), node("Gemm", "s w0", "action")], WEIGHTS),
            r"'Softplus' is the activation softplus, by itself or in Mish .*, which no layer computes; train it with",
        ),
        (
            lambda: build([node("MaxPool", "obs", "s", kernel_shape=[1]), node("Gemm", "s w0", "action")], WEIGHTS),
            r"'MaxPool' makes a pooling of the observation's .*; train it with convolutions of a larger stride instead",
        ),
        (
            lambda: build([node("Sin", "obs", "s"), node("Gemm", "s w0", "action")], WEIGHTS),
            r"'Sin' makes an angle of .*; where the program does that .*, let the environment do it, and export",
        ),
        (
            lambda: build([node("Attention", "obs", "s"), node("Gemm", "s w0", "action")], WEIGHTS),
            "node 'Attention' is not supported; supported: Gemm",
        ),
        (
            lambda: build([node("Gelu", "obs", "s", approximate="tanh"), node("Gemm", "s w0", "action")], WEIGHTS),
            r"node Gelu is supported only in its exact form \(approximate='none'\)",
        ),
        (
            lambda: build(
                [node("Gemm", "obs w0", "h"), node("Add", "h h2", "action"), node("Gemm", "obs w0", "h2")], WEIGHTS
            ),
            "Add joins two values",
        ),
        (lambda: build([node("Relu", "obs", "action")], {}), "it is no policy"),
        (lambda: build([node("Gemm", "obs w0", "action")], WEIGHTS, ["n", 7]), "a weight of shape"),
        (lambda: build([node("Gemm", "obs w0", "action")], {"w0": np.full((5, 2), np.inf, np.float32)}), "not finite"),
        (lambda: build([node("Gemm", "obs w0", "action")], {"w0": np.full((5, 2), "x", object)}), "of the type"),
        (
            lambda: build([helper.make_node("Gemm", ["obs", "w0"], ["action"], domain="com.evil")], WEIGHTS),
            "has the operator com.evil.Gemm",
        ),
        (lambda: b"\x08\x08\x12\x00", "without nodes"),
        (lambda: b"\x08" + bytes(40), "not a readable ONNX file"),
    ],
)
def test_other_files_are_refused_in_one_line(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        loaded(data(), tmp_path)
    assert "\n" not in str(caught.value)
