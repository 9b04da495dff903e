"""Weights of a graph as codes, inputs real: what onnxruntime answers from the file is what numpy makes of its codes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError
from lilliput.models.compress import compress
from lilliput.models.graph import graph_of
from lilliput.models.linear import groups_of_four, linear_of, still_zero
from lilliput.models.load import load_model

SHAPES = {"kernel": (8, 4, 3, 3), "product": (72, 48), "plain": (48, 64), "turned": (20, 64)}
"""A convolution, a MatMul and a Gemm whose outputs are columns, a Gemm whose outputs are rows."""


def graph_of_each_kind(path, *, opset=17, only_convolution=False):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], strides=[2, 2]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "product"], ["c"]),
        helper.make_node("Gemm", ["c", "plain"], ["d"]),
        helper.make_node("Gemm", ["d", "turned"], ["y"], transB=1),
    ]
    if only_convolution:
        nodes = [nodes[0], helper.make_node("Flatten", ["a"], ["y"])]
        arrays = {"kernel": arrays["kernel"]}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 72 if only_convolution else 20])
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "each", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.fixture
def model(tmp_path):
    return load_model(str(graph_of_each_kind(tmp_path / "each.onnx")))


def answer(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def read_back(proto):
    """What each weight is by ONNX's text: codes times scales, of the axis, or of each block of it."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        told = {part.name: part.i for part in node.attribute}
        codes, scale = (stored[name].astype(np.float32) for name in node.input)
        if "block_size" in told:
            scale = np.repeat(scale, told["block_size"], told["axis"])
            scale = scale[tuple(slice(n) for n in codes.shape)]
        else:
            scale = np.expand_dims(scale, [k for k in range(codes.ndim) if k != told["axis"] % codes.ndim])
        found[node.output[0]] = codes * scale, np.broadcast_to(scale, codes.shape)
    return found


@pytest.mark.parametrize(("bits", "group"), [(8, 0), (4, 0), (8, 32), (4, 32), (4, 24)])
@pytest.mark.parametrize("opset", [11, 17])
def test_onnxruntime_answers_as_the_codes_of_the_file_do_with_real_inputs(tmp_path, opset, bits, group):
    before = load_model(str(graph_of_each_kind(tmp_path / "each.onnx", opset=opset)))
    recipe = f"quantize(scheme='weight_only', weight_bits={bits}{f', group_size={group}' if group else ''})"
    small = graph_of(compress(before, recipe))
    onnx.checker.check_model(small, full_check=True)
    weights = read_back(small)
    assert weights.keys() == SHAPES.keys()
    real = graph_of(before)
    for tensor in real.graph.initializer:
        value, scale = weights[tensor.name]
        # Each weight is its nearest code: half a code from it, the outermost a little more where its scale is rounded.
        assert (np.abs(numpy_helper.to_array(tensor) - value) <= scale * 0.57).all()
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    x = np.random.default_rng(1).normal(size=(5, 4, 8, 8)).astype(np.float32)
    want = answer(real, x)
    # Inputs rounded to 8 bits would be off by several thousandths of it.
    np.testing.assert_allclose(answer(small, x), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(("bits", "per_byte"), [(8, 1), (4, 2)])
def test_the_bytes_that_are_counted_are_those_of_the_file(model, bits, per_byte):
    small = compress(model, f"quantize(scheme='weight_only', weight_bits={bits})")
    tensors = {tensor.name: tensor for tensor in graph_of(small).graph.initializer}
    assert small.model_bytes == sum(len(tensor.raw_data) for tensor in tensors.values())
    for name, shape in SHAPES.items():
        assert len(tensors[f"{name}_quantized"].raw_data) == np.prod(shape) / per_byte


@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_pruned_is_zero_whichever_comes_first(model, bits):
    quantize, prune = f"quantize(scheme='weight_only', weight_bits={bits}, group_size=16)", "prune_weights(sparsity=0.5"
    both = [compress(model, f"{prune}, pattern='2:4') | {quantize}"), compress(model, f"{quantize} | {prune})")]
    n = sum(int(np.prod(shape)) for shape in SHAPES.values())
    for small in both:
        found = still_zero(small)
        assert found is not None
        pruned, zero = found
        assert zero == pruned >= n // 2
        kind = TensorProto.INT8 if bits == 8 else TensorProto.INT4
        kinds = [t.data_type for t in graph_of(small).graph.initializer if t.name.endswith("_quantized")]
        assert kinds == [kind] * len(SHAPES)
        for name, (value, _) in read_back(graph_of(small)).items():
            (layer,) = [one for one in linear_of(small) if one.name == f"{name}_quantized"]
            outputs_last = name in ("product", "plain")
            np.testing.assert_array_equal(layer.rows, value.T if outputs_last else value.reshape(len(value), -1))
            assert (value == 0).mean() >= 0.5
    assert len(set(groups_of_four(both[0]))) == 1
    dense = compress(model, quantize)
    assert all(small.model_bytes < dense.model_bytes for small in both)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("quantize(scheme='weight_only', weight_bits=3)", "codes of 8 or 4 bits"),
        ("quantize(scheme='weight_only', symmetric=False)", "for language models"),
        ("quantize(scheme='weight_only') | quantize()", "quantized already"),
        ("quantize(scheme='weight_only') | half()", "leave half out"),
        ("half() | quantize(scheme='weight_only')", "is float16"),
    ],
)
def test_what_cannot_be_is_refused(model, recipe, message):
    with pytest.raises(LilliputError, match=message):
        compress(model, recipe)


def test_groups_are_for_matrices(model, tmp_path):
    small = compress(model, "quantize(scheme='weight_only', group_size=16)")
    scales = {t.name: tuple(t.dims) for t in graph_of(small).graph.initializer if t.name.endswith("_scale")}
    assert scales == {"kernel_scale": (8,), "product_scale": (5, 48), "plain_scale": (3, 64), "turned_scale": (20, 4)}
    convolution = load_model(str(graph_of_each_kind(tmp_path / "one.onnx", only_convolution=True)))
    with pytest.raises(LilliputError, match="only convolutions"):
        compress(convolution, "quantize(scheme='weight_only', group_size=16)")
