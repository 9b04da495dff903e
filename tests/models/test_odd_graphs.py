"""ONNX graphs as other tools write them: read, asked and made small as onnxruntime itself runs them."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import Context, compress
from lilliput.models.export import export, open_artifact
from lilliput.models.images import read_pictures
from lilliput.models.load import load_model
from lilliput.models.picture import inputs_of
from lilliput.models.session import open_session
from lilliput.models.task import parse_task
from lilliput.models.task.classification import choices

DIGITS = "examples/models/digits.npz"
TASK = f'classification(images="{DIGITS}", n=60)'
rng = np.random.default_rng(0)
A, B = (rng.standard_normal(shape).astype(np.float32) for shape in ((64, 24), (24, 10)))
BIAS = rng.standard_normal((1, 24)).astype(np.float32)


def saved(path, nodes, inputs, outputs, constants, opset=17, ml=3):
    given, made = ([helper.make_tensor_value_info(*one) for one in part] if isinstance(part[0], tuple) else part
                   for part in (inputs, outputs))  # fmt: skip
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", given, made, stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return str(path)


def perceptron(path, *, zipped=False, names=False):
    """As skl2onnx writes an MLPClassifier: rows of numbers in, a label and probabilities out."""
    nodes = [
        helper.make_node("Gemm", ["X", "a", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
    ]
    constants = {"a": A, "bias": BIAS, "b": B}
    label = ("label", TensorProto.INT64, ["n"])
    if names:
        constants["names"] = np.array([f"digit {n}" for n in range(10)], object)
        nodes.append(helper.make_node("Gather", ["names", "label"], ["name"]))
        label = ("name", TensorProto.STRING, ["n"])
    outputs = [helper.make_tensor_value_info(*label), helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 10])]
    if zipped:
        nodes.append(
            helper.make_node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=list(range(10)))
        )
        kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs[1] = helper.make_value_info("maps", helper.make_sequence_type_proto(kind))
    return saved(path, nodes, [("X", TensorProto.FLOAT, ["n", 64])], outputs, constants)


def pixels():
    return read_pictures(DIGITS, "held_out").some(np.arange(60))


@pytest.mark.parametrize("how", [{}, {"zipped": True}, {"names": True}, {"zipped": True, "names": True}])
def test_a_classifier_of_rows_answers_as_onnxruntime_and_is_made_small(tmp_path, how):
    path = perceptron(tmp_path / "m.onnx", **how)
    rows = np.stack([pixels().pixels(n)[..., 0].ravel() for n in range(60)]).astype(np.float32) / 255
    wanted: Any = onnxruntime.InferenceSession(path).run(None, {"X": rows})[1]
    wanted = np.array([[row[n] for n in range(10)] for row in wanted]) if how.get("zipped") else wanted
    model = load_model(path, family="classification")
    assert np.array_equal(choices(model, open_session(model), pixels()), wanted.argmax(axis=1))
    assert len(model.provenance.guesses) == len(how)
    answers = parse_task(TASK).ask(model, open_session(model)).values
    for at, recipe in enumerate((
        "quantize()", f'quantize(scheme="static", source="{DIGITS}", observations=40)', "half()",
        'quantize(scheme="weight_only")', "prune_weights(sparsity=0.3)",
    )):  # fmt: skip
        small = compress(model, recipe, Context(model))
        artifact = export(small, "onnx", tmp_path / str(at))
        kept = parse_task(TASK).ask(small, open_artifact(artifact.folder)).values
        assert np.mean(kept == answers) > 0.7
        assert artifact.model_bytes < model.model_bytes


def test_rows_that_are_no_square_picture_are_refused(tmp_path):
    node = helper.make_node("MatMul", ["X", "a"], ["y"])
    float_ = TensorProto.FLOAT
    constants = {"a": np.zeros((63, 10), np.float32)}
    path = saved(tmp_path / "m.onnx", [node], [("X", float_, ["n", 63])], [("y", float_, ["n", 10])], constants)
    with pytest.raises(NotApplicable, match="rows of a square picture's numbers"):
        parse_task(TASK).check(load_model(path), open_session(load_model(path)))


@pytest.mark.parametrize("kind", ["float16", "uint8", "int32"])
def test_pictures_are_given_in_the_type_that_the_graph_takes(tmp_path, kind):
    taken = getattr(TensorProto, kind.upper())
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["rows"]),
        helper.make_node("MatMul", ["rows", "a"], ["y"]),
    ]
    ports = [("x", taken, ["n", 1, 8, 8])], [("y", TensorProto.FLOAT, ["n", 10])]
    model = load_model(saved(tmp_path / "m.onnx", nodes, *ports, {"a": A[:, :10].copy()}), family="classification")
    if kind == "int32":
        with pytest.raises(NotApplicable, match="takes x as int32"):
            choices(model, open_session(model), pixels())
        return
    raw = np.stack([pixels().pixels(n)[..., :1].transpose(2, 0, 1) for n in range(60)])
    fed = raw if kind == "uint8" else (raw.astype(np.float32) / 255).astype(np.float16)
    assert np.array_equal(np.concatenate(list(inputs_of(model, pixels(), 7))), fed)
    wanted: Any = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"x": fed})[0]
    assert np.array_equal(choices(model, open_session(model), pixels()), wanted.argmax(axis=1))


def test_numbers_that_stand_in_nodes_are_counted_and_digested(tmp_path):
    def linear(coefficients):
        node = helper.make_node(
            "LinearClassifier", ["X"], ["label", "y"], domain="ai.onnx.ml", classlabels_ints=list(range(10)),
            coefficients=coefficients.ravel().tolist(), intercepts=[0.5] * 10, multi_class=1, post_transform="NONE",
        )  # fmt: skip
        outputs = [("label", TensorProto.INT64, ["n"]), ("y", TensorProto.FLOAT, ["n", 10])]
        return load_model(saved(tmp_path / "m.onnx", [node], [("X", TensorProto.FLOAT, ["n", 64])], outputs, {}))

    model = linear(A[:, :10])
    assert model.model_bytes >= 4 * 650
    assert model.n_parameters == 660
    assert linear(-A[:, :10]).digest != model.digest
    with pytest.raises(NotApplicable, match="no linear layer"):
        compress(model, "quantize()")


def test_weights_in_constant_nodes_are_made_small_as_stored_ones(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["a"], value=numpy_helper.from_array(A)),
        helper.make_node("MatMul", ["X", "a"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "b"], ["y"]),
    ]
    ports = [("X", TensorProto.FLOAT, ["n", 64])], [("y", TensorProto.FLOAT, ["n", 10])]
    model = load_model(saved(tmp_path / "m.onnx", nodes, *ports, {"b": B}), family="classification")
    assert model.model_bytes == A.nbytes + B.nbytes
    rows = rng.standard_normal((3, 64)).astype(np.float32)
    wanted: Any = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"X": rows})[0]
    np.testing.assert_allclose(open_session(model).answer({"X": rows})["y"], wanted, rtol=1e-5)
    small = compress(model, "prune_weights(sparsity=0.5)")
    assert small.n_nonzero_parameters == (A.size + B.size) // 2


def test_an_output_that_is_no_tensor_is_refused(tmp_path):
    node = helper.make_node("SequenceConstruct", ["X"], ["y"])
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 64]))
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 64])]
    path = saved(tmp_path / "m.onnx", [node], inputs, [helper.make_value_info("y", kind)], {})
    with pytest.raises(LilliputError, match="'y' is no tensor"):
        load_model(path)


def convolutions(path, batch, allowzero):
    """As torch's newer exporter writes a small classifier: a mean, and a Reshape in which 0 means 0."""
    w1, w2 = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 1, 3, 3), (12, 8, 3, 3)))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="c1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="c2"),
        helper.make_node("ReduceMean", ["c2"], ["mean"], name="mean", axes=[-1, -2], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["rows"], name="rows", allowzero=allowzero),
        helper.make_node("MatMul", ["rows", "b"], ["y"], name="y"),
    ]
    constants = {"w1": w1, "w2": w2, "shape": np.array([-1, 12]), "b": B[:12].copy()}
    ports = [("x", TensorProto.FLOAT, [batch, 1, 8, 8])], [("y", TensorProto.FLOAT, [batch, 10])]
    return saved(path, nodes, *ports, constants)


@pytest.mark.parametrize("batch", ["n", 1])
def test_channels_are_removed_and_the_rest_trained_whatever_the_exporter_fixed(tmp_path, batch):
    pytest.importorskip("torch")  # finetune trains by it
    model = load_model(convolutions(tmp_path / "m.onnx", batch, 1), family="classification")
    recipe = f'prune_units(ratio=0.25) | finetune(steps=2, source="{DIGITS}") | quantize()'
    small = compress(model, recipe, Context(model))
    artifact = export(small, "onnx", tmp_path / "out")
    assert artifact.n_parameters < model.n_parameters
    assert len(parse_task(TASK).ask(small, open_artifact(artifact.folder)).values) == 60
    plain = dataclasses.replace(model, provenance=small.provenance)
    units = compress(plain, "prune_units(ratio=0.25)", Context(model))
    x = rng.random((1, 1, 8, 8)).astype(np.float32)
    assert open_session(units).answer({"x": x})["y"].shape == (1, 10)


def test_static_ranges_are_measured_behind_a_scaler_of_scikit_learn(tmp_path):
    """As skl2onnx writes a pipeline of StandardScaler and MLPClassifier without a ZipMap."""
    nodes = [
        helper.make_node("Scaler", ["X"], ["scaled"], domain="ai.onnx.ml", offset=[0.5] * 64, scale=[3.0] * 64),
        helper.make_node("MatMul", ["scaled", "a"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
        helper.make_node("Identity", ["p"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("label", TensorProto.INT64, ["n"]), ("probabilities", TensorProto.FLOAT, ["n", 10])]
    path = saved(tmp_path / "m.onnx", nodes, [("X", TensorProto.FLOAT, ["n", 64])], outputs, {"a": A, "b": B})
    said: list[str] = []
    model = load_model(path)
    recipe = f'quantize(scheme="static", source="{DIGITS}", observations=100)'
    small = compress(model, recipe, Context(model, say=said.append))
    assert said == []
    assert small.model_bytes < 0.45 * model.model_bytes
    x = next(iter(inputs_of(model, pixels(), 200)))
    wanted = (((x - 0.5) * np.float32(3)) @ A).clip(0) @ B
    found = open_session(small).answer({"X": x})["probabilities"]
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.85
