"""Rounding, saturation and packing, against ONNX's own definitions and Python's integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto, TensorProto, helper
from tests.arrays import evaluate, f32, i8

from lilliput.errors import LilliputError
from lilliput.policies import affine
from lilliput.policies.affine import QuantizedTensor


def onnx_operator(op: str, inputs: dict[str, int], outputs: dict[str, int]) -> ModelProto:
    """A model of one ONNX operator."""
    ports = [
        [helper.make_tensor_value_info(name, kind, None) for name, kind in side.items()] for side in (inputs, outputs)
    ]
    node = helper.make_node(op, list(inputs), list(outputs))
    if op == "DequantizeLinear":
        node.attribute.append(helper.make_attribute("axis", 0))
    graph = helper.make_graph([node], "one", inputs=ports[0], outputs=ports[1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


QUANTIZE = onnx_operator(
    "QuantizeLinear",
    {"x": TensorProto.FLOAT, "scale": TensorProto.FLOAT, "zero_point": TensorProto.UINT8},
    {"y": TensorProto.UINT8},
)
DYNAMIC = onnx_operator(
    "DynamicQuantizeLinear",
    {"x": TensorProto.FLOAT},
    {"y": TensorProto.UINT8, "scale": TensorProto.FLOAT, "zero_point": TensorProto.UINT8},
)
DEQUANTIZE = onnx_operator(
    "DequantizeLinear", {"x": TensorProto.INT8, "scale": TensorProto.FLOAT}, {"y": TensorProto.FLOAT}
)

# Halves are where ways to round differ; the others are where float32 does.
reals = st.integers(-2000, 2000).map(lambda n: n / 4) | st.floats(-1e6, 1e6, width=32)
rows = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=reals.map(np.float32))


@given(rows, st.integers(-4, 4), st.integers(0, 255))
def test_static_codes_are_those_of_quantize_linear(x: np.ndarray, exponent: int, zero_point: int) -> None:
    scale = f32(2.0**exponent)  # a power of two: the same number whether one divides or multiplies
    expected = evaluate(QUANTIZE, {"x": x, "scale": scale, "zero_point": np.array(zero_point, np.uint8)})[0]
    codes = affine.quantize_unsigned(x, f32(1 / scale), np.array(zero_point, np.int32), 8)
    np.testing.assert_array_equal(codes, expected)


@given(rows)
def test_dynamic_ranges_are_those_of_dynamic_quantize_linear(x: np.ndarray) -> None:
    scale, zero_point = affine.dynamic_range(x, 8)
    for row, s, z in zip(x, scale, zero_point, strict=True):
        expected = evaluate(DYNAMIC, {"x": row})
        if not np.any(row):
            assert s == 1  # ONNX leaves it open what 0 / 0 is; onnxruntime takes 1
            continue
        assert s == expected[1]
        assert z == expected[2]


@given(st.integers(2, 8), st.data())
def test_packed_codes_are_one_stream_of_bits(bits: int, data: st.DataObject) -> None:
    low, high = affine.signed_range(bits)
    codes = data.draw(hnp.arrays(np.int8, st.integers(0, 40), elements=st.integers(low, high)))
    packed = affine.pack(codes, bits)
    assert packed.nbytes == affine.packed_nbytes(codes.size, bits)
    stream = sum((int(code) % 2**bits) << (i * bits) for i, code in enumerate(codes))
    assert int.from_bytes(packed.tobytes(), "little") == stream


@given(st.integers(2, 8), rows)
def test_weight_codes_are_the_nearest(bits: int, weight: np.ndarray) -> None:
    low, high = affine.signed_range(bits)
    scale = np.maximum(np.abs(weight).max(axis=1), np.float32(0.25)) / np.float32(high)
    tensor = affine.quantize_weights(weight, scale, bits)
    assert tensor.values.min() >= low + 1
    choices = np.arange(low + 1, high + 1) * scale.astype(np.float64)[:, None, None]
    nearest = np.abs(weight[:, :, None] - choices).min(axis=2)
    error = np.abs(weight - tensor.values * scale.astype(np.float64)[:, None])
    assert (error <= nearest + 1e-5 * scale[:, None]).all()


@pytest.mark.parametrize("scale", [f32([0.5, 0.25]), f32(0.1)])
def test_dequantize_is_dequantize_linear(scale: np.ndarray) -> None:
    values = i8([[-128, 127, 3], [0, 1, -1]])
    expected = evaluate(DEQUANTIZE, {"x": values, "scale": scale})[0]
    np.testing.assert_array_equal(QuantizedTensor(values, scale, 8).dequantize(), expected)


def test_half_precision_scales_are_read_as_float32() -> None:
    tensor = QuantizedTensor(i8([[3]]), np.array(0.1, np.float16), 8)
    assert tensor.dequantize().dtype == np.float32
    assert tensor.dequantize()[0, 0] == np.float32(3) * np.float32(np.float16(0.1))


def test_arrays_are_read_only_and_scalars_become_arrays() -> None:
    tensor = QuantizedTensor(i8([[1]]), f32(1), 2)
    with pytest.raises(ValueError, match="read-only"):
        tensor.values[0, 0] = 0
    assert type(affine.frozen(np.float32(3))) is np.ndarray


@pytest.mark.parametrize(
    ("values", "scale", "bits", "message"),
    [
        (i8([[1]]), f32([1]), 9, "bits is 9; it must be from 2 to 8"),
        (i8([[2]]), f32([1]), 2, "outside [-2, 1], the range of 2 bits"),
        (np.array([[1]], np.int16), f32([1]), 8, "they must be int8"),
        (i8([1]), f32([1]), 8, "2-d or more"),
        (i8([[1]]), f32([1, 2]), 8, "a weight scale is float32[2]"),
        (i8([[1]]), np.array([1.0]), 8, "a weight scale is float64[1]"),
    ],
)
def test_impossible_weights_are_refused(values: np.ndarray, scale: np.ndarray, bits: int, message: str) -> None:
    with pytest.raises(LilliputError) as caught:
        QuantizedTensor(values, scale, bits)
    assert message in str(caught.value)
