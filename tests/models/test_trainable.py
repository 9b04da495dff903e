"""Graphs that are trained answer as onnxruntime has them answer, or are refused by the operator that they fail at."""

from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError
from lilliput.models.compress.trainable import Trainable

torch = pytest.importorskip("torch")
F = partial(np.array, dtype=np.float32)
KERNEL = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


def graph(opset: int, kind: str, shape: list[int], n: int = 1, /, *constants: Any, **told: Any) -> ModelProto:
    """One operator of that version on x and constants (None: left out), with n outputs."""
    names = [f"y{at}" for at in range(n)]
    given = {f"c{at}": np.asarray(one) for at, one in enumerate(constants) if one is not None}
    inputs = ["x", *(f"c{at}" if one is not None else "" for at, one in enumerate(constants))]
    made = helper.make_graph(
        [helper.make_node(kind, inputs, names, **told)], "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
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
        graph(17, "MaxPool", [1, 2, 9, 9], kernel_shape=[2, 2], dilations=[2, 3]),
        graph(17, "MaxPool", [1, 2, 7, 8], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        graph(17, "MaxPool", [1, 2, 7, 8], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
        graph(17, "Conv", [1, 3, 7, 8], 1, KERNEL, strides=[2, 2], auto_pad="SAME_UPPER"),
        graph(17, "Conv", [1, 3, 8, 9], 1, KERNEL, strides=[1, 3], auto_pad="SAME_LOWER"),
        graph(17, "Conv", [1, 3, 8, 9], 1, KERNEL, auto_pad="VALID"),
        graph(11, "Softmax", [2, 3, 4]),
        graph(11, "Softmax", [2, 3, 4], axis=-1),
        graph(17, "Softmax", [2, 3, 4]),
        graph(17, "Softmax", [2, 3, 4], axis=1),
        graph(17, "Reshape", [2, 0, 3], 1, np.array([0, 6]), allowzero=1),
        graph(17, "Reshape", [2, 6, 1], 1, np.array([0, -1])),
        graph(17, "Unsqueeze", [2, 3], 1, np.array([-1, -2])),
        graph(17, "Unsqueeze", [2, 3], 1, np.array([0, -1])),
        graph(11, "Unsqueeze", [2, 3], axes=[0, 3]),
        graph(17, "Gather", [4, 3], 1, np.array([[0, -1], [2, 1]])),
        graph(17, "Gather", [4, 3], 1, np.array(-1), axis=1),
        graph(18, "ReduceMean", [2, 3], noop_with_empty_axes=1),
        graph(18, "ReduceMax", [2, 3], 1, np.array([1]), keepdims=0),
        graph(17, "GlobalAveragePool", [2, 3, 4]),
        graph(17, "GlobalMaxPool", [2, 3, 4, 5]),
        graph(17, "LayerNormalization", [2, 3, 4], 1, F([1, 2, 3, 4]), F([0, 1, 0, 2]), epsilon=0.1),
        graph(17, "LayerNormalization", [2, 3, 4], 1, np.ones((3, 4), np.float32), axis=1),
        graph(17, "Expand", [1, 3], 1, np.array([2, 1, 1])),
        graph(17, "Shape", [2, 3, 5], start=1),
        graph(17, "PRelu", [2, 3, 4], 1, F([[0.1], [0.2], [0.3]])),
        graph(17, "Elu", [2, 3], alpha=0.5),
        graph(20, "Gelu", [2, 3], approximate="tanh"),
        graph(20, "Gelu", [2, 3]),
        graph(18, "Mish", [2, 3]),
        graph(17, "Max", [2, 3], 1, np.float32(0.1), F([0.2, 0.3, 0.4])),
        graph(17, "Cast", [2, 3], to=TensorProto.INT64),
        graph(17, "Resize", [1, 1, 3, 3], 1, None, F([1, 1, 2, 3])),
        graph(
            17,
            "Resize",
            [1, 1, 3, 3],
            1,
            None,
            F([1, 1, 3, 3]),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ],
    ids=lambda proto: str(proto.graph.node[0].op_type),
)
def test_what_an_operator_is_not_told_is_as_the_standard_says(proto: ModelProto) -> None:
    shape = [axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted: Any = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    with torch.no_grad():
        found = Trainable(proto)({"x": torch.from_numpy(x)})
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("proto", "wanted"),
    [
        (graph(9, "Slice", [2, 6], starts=[0], ends=[2], axes=[1]), "Slice cannot be trained here.*IndexError"),
        (graph(17, "Constant", [2], value_string="a"), "a constant that is no number"),
        (graph(17, "Flatten", [2, 3], axis=0), "a flattening of other axes"),
        (graph(17, "MaxPool", [2, 6], 2, kernel_shape=[1, 1]), "gives places"),
        (graph(17, "Cast", [2, 6], to=TensorProto.FLOAT16), "rounded to 16 bits"),
        (
            graph(17, "Resize", [2, 6], 1, None, F([1, 1, 3, 3]), coordinate_transformation_mode="asymmetric"),
            "does not repeat pixels",
        ),
        (
            graph(15, "BatchNormalization", [2, 6], 3, *np.ones((4, 6), np.float32), training_mode=1),
            "statistics from the batch",
        ),
    ],
    ids=lambda part: str(part.graph.node[0].op_type) if isinstance(part, ModelProto) else "",
)
def test_what_it_is_told_and_is_not_known_is_a_line(proto: ModelProto, wanted: str) -> None:
    if proto.graph.node[0].op_type == "Constant":
        del proto.graph.node[0].input[:]
    with pytest.raises(LilliputError, match=wanted) as caught:
        Trainable(proto)({"x": torch.zeros(2, 6)})
    assert "\n" not in str(caught.value)
