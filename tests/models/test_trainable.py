"""Graphs that are trained answer as onnxruntime has them answer, or are refused by the operator that they fail at."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from lilliput.errors import LilliputError
from lilliput.models.compress.trainable import Trainable

torch = pytest.importorskip("torch")


def graph(opset: int, kind: str, shape: list[int], n: int = 1, /, **told: Any) -> ModelProto:
    """One operator of that version on x, with n outputs."""
    names = [f"y{at}" for at in range(n)]
    made = helper.make_graph(
        [helper.make_node(kind, ["x"], names, **told)], "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize(
    "proto",
    [
        graph(17, "Transpose", [2, 3, 4]),
        graph(17, "Transpose", [2, 3, 4], perm=[0, 2, 1]),
        graph(18, "Split", [2, 5], 2, axis=1, num_outputs=2),
        graph(17, "Split", [2, 6], 3, axis=1),
        graph(11, "Split", [2, 6], 2, axis=1, split=[2, 4]),
        graph(11, "Squeeze", [1, 1, 3], axes=[1]),
        graph(17, "Squeeze", [1, 1, 3]),
    ],
    ids=lambda proto: str(proto.graph.node[0].op_type),
)
def test_what_an_operator_is_not_told_is_as_the_standard_says(proto: ModelProto) -> None:
    shape = [axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted: Any = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    found = Trainable(proto)({"x": torch.from_numpy(x)})
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize(
    ("proto", "wanted"),
    [
        (graph(9, "Slice", [2, 6], starts=[0], ends=[2], axes=[1]), "Slice cannot be trained here.*IndexError"),
        (graph(17, "Constant", [2], value_float=1.0), "Constant cannot be trained here.*KeyError: 'value'"),
        (graph(17, "Flatten", [2, 3], axis=0), "a flattening of other axes"),
    ],
    ids=lambda part: str(part.graph.node[0].op_type) if isinstance(part, ModelProto) else "",
)
def test_what_it_is_told_and_is_not_known_is_a_line(proto: ModelProto, wanted: str) -> None:
    if proto.graph.node[0].op_type == "Constant":
        del proto.graph.node[0].input[:]
    with pytest.raises(LilliputError, match=wanted) as caught:
        Trainable(proto)({"x": torch.zeros(2, 6)})
    assert "\n" not in str(caught.value)
