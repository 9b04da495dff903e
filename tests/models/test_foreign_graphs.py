"""ONNX graphs of other makers' habits: each is read as it is meant, and no step leaves out a part of it in silence."""

from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from lilliput.cli import cli
from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import Context, compress
from lilliput.models.experiment import identity
from lilliput.models.export import export, read_artifact
from lilliput.models.export.golden import largest_difference
from lilliput.models.load import load_model
from lilliput.models.plain import in_order
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

FLOAT = TensorProto.FLOAT
rng = np.random.default_rng(0)
W1, W2 = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3, 3, 3), (8, 8, 3, 3)))
HEAD = rng.standard_normal((8, 10)).astype(np.float32)


def proto(
    nodes=None, *, axes=("n", 3, 8, 8), taken=FLOAT, out=("n", 10), constants=None, opset=17, functions=(), domains=()
):
    constants = {"w1": W1, "w2": W2, "b": HEAD} if constants is None else constants
    nodes = nodes or [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="c1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="c2"),
        helper.make_node("GlobalAveragePool", ["c2"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["rows"], name="rows"),
        helper.make_node("MatMul", ["rows", "b"], ["y"], name="y"),
    ]
    ports = ([helper.make_tensor_value_info("x", taken, axes)], [helper.make_tensor_value_info("y", FLOAT, out)])
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", *ports, stored)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def saved(made, path, **how):
    onnx.save(made, str(path), **how)
    return str(path)


def answers(path, x) -> Any:
    return onnxruntime.InferenceSession(path).run(None, {"x": x})[0]


@pytest.fixture
def pictures(tmp_path):
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40) % 10
    np.savez(tmp_path / "p.npz", images=images, labels=labels, names=np.array([f"c{n}" for n in range(10)]))
    return str(tmp_path / "p.npz")


def test_pictures_whose_four_axes_are_all_open_have_the_channels_of_the_first_convolution(tmp_path, pictures):
    path = saved(proto(axes=("batch_size", "num_channels", "height", "width")), tmp_path / "m.onnx")
    model = load_model(path, family="classification", picture="picture(size=8)")
    assert model.inputs[0].axes == ("batch_size", 3, "height", "width")
    task = parse_task(f'classification(images="{pictures}")')
    task.check(model, open_session(model))
    export(compress(model, "quantize()"), "onnx", tmp_path / "out")
    with pytest.raises(LilliputError, match="say which: --picture"):
        task.check(load_model(path, family="classification"), open_session(model))


def test_nodes_in_any_order_and_weights_that_are_also_inputs_are_read(tmp_path):
    x = rng.random((2, 3, 8, 8)).astype(np.float32)
    wanted = answers(saved(proto(), tmp_path / "plain.onnx"), x)
    made = proto()
    nodes = list(made.graph.node)[::-1]
    made.graph.ClearField("node")
    made.graph.node.extend(nodes)
    for name, array in (("w1", W1), ("w2", W2), ("b", HEAD)):
        made.graph.input.append(helper.make_tensor_value_info(name, FLOAT, array.shape))
    model = load_model(saved(made, tmp_path / "m.onnx"), family="classification")
    assert np.array_equal(open_session(model).answer({"x": x})["y"], wanted)
    assert compress(model, "half()").model_bytes < 0.6 * model.model_bytes
    assert compress(model, "prune_units(ratio=0.25)").n_parameters < model.n_parameters


def test_layers_inside_of_functions_and_behind_copies_of_weights_are_made_small(tmp_path):
    body = [helper.make_node("Conv", ["a", "w"], ["o"], name="inner")]
    layer = helper.make_function("own", "Layer", ["a", "w"], ["o"], body, [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Layer", ["x", "w1"], ["c1"], domain="own"),
        helper.make_node("Identity", ["w2"], ["copy"]),
        helper.make_node("Conv", ["c1", "w2"], ["c2"]),
        helper.make_node("Conv", ["c2", "copy"], ["c3"]),
        helper.make_node("GlobalAveragePool", ["c3"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["rows"]),
        helper.make_node("MatMul", ["rows", "b"], ["y"]),
    ]
    path = saved(proto(nodes, axes=("n", 3, 12, 12), functions=[layer], domains=["own"]), tmp_path / "m.onnx")
    x = rng.random((2, 3, 12, 12)).astype(np.float32)
    model = load_model(path, family="classification")
    np.testing.assert_allclose(open_session(model).answer({"x": x})["y"], answers(path, x), rtol=1e-4, atol=1e-5)
    small = compress(model, "prune_weights(sparsity=0.5)")
    assert set(small.pruned) == {"w1", "w2", "b"}
    assert model.n_parameters == W1.size + W2.size + HEAD.size


def test_axes_of_minus_one_are_open_as_old_converters_of_paddle_write_them(tmp_path, pictures):
    made = proto(axes=("n", 3, 8, 8))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    path = saved(made, tmp_path / "m.onnx")
    x = rng.random((5, 3, 8, 8)).astype(np.float32)
    model = load_model(path, family="classification")
    assert [port.axes[0] for port in (*model.inputs, *model.outputs)] == ["any", "any"]
    np.testing.assert_allclose(open_session(model).answer({"x": x})["y"], answers(path, x), rtol=1e-5)
    task = parse_task(f"classification(images={pictures!r})")
    task.check(model, open_session(model))
    export(compress(model, "half()"), "onnx", tmp_path / "a")


def test_what_a_step_on_layers_leaves_as_it_is_is_said(tmp_path):
    table = rng.standard_normal((8, 400)).astype(np.float32)
    nodes = [*proto().graph.node][:-1]
    nodes += [
        helper.make_node("Einsum", ["rows", "table"], ["wide"], equation="nc,cd->nd"),
        helper.make_node("MatMul", ["wide", "b"], ["y"]),
    ]
    head = rng.standard_normal((400, 10)).astype(np.float32)
    made = proto(nodes, constants={"w1": W1, "w2": W2, "table": table, "b": head})
    model = load_model(saved(made, tmp_path / "m.onnx"), family="classification")
    for recipe in ("quantize()", 'quantize(scheme="weight_only")', "prune_weights(sparsity=0.5)"):
        said: list[str] = []
        compress(model, recipe, Context(model, say=said.append))
        sentence = "40% of the weights stand in other nodes than linear layers (Einsum)"
        assert any(sentence in one for one in said)
    rows = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "p.npz", images=rows, labels=np.arange(40) % 10)
    task = f"classification(images='{tmp_path}/p.npz')"
    command = [
        "compare",
        str(tmp_path / "m.onnx"),
        "--task",
        task,
        "-r",
        "quantize()",
        "--no-timings",
        "--workers",
        "1",
    ]
    where = tmp_path / "out"
    for _ in range(2):  # measured, then read from its record
        result = CliRunner().invoke(cli, [*command, "--picture", "picture(size=8)", "-o", str(where)])
        assert result.exit_code == 0, result.output
        assert f"quantize(): quantize: {sentence}" in result.stdout
    for file in ("table.md", "table.json", "report.csv", "report.html"):
        assert sentence in (where / file).read_text(), file
    small = next(one for one in (where / "artifacts").iterdir() if read_artifact(one).provenance.recipe)
    assert sentence in CliRunner().invoke(cli, ["measure", str(small)]).stderr


@pytest.mark.parametrize("recipe", ["quantize()", 'quantize(scheme="static", source="P", observations=4)',
                                    'quantize(scheme="weight_only")'])  # fmt: skip
def test_float16_is_not_quantized_in_silence(tmp_path, pictures, recipe):
    model = load_model(saved(proto(), tmp_path / "m.onnx"), family="classification")
    export(compress(model, "half()"), "onnx", tmp_path / "half")
    halved = load_model(str(tmp_path / "half" / "model.onnx"), family="classification")
    with pytest.raises(LilliputError, match="is float16; codes are made of float32: give the model as it was before"):
        compress(halved, recipe.replace("P", pictures), Context(halved))


def test_codes_of_other_tools_are_not_left_out_of_pruning(tmp_path):
    packed = rng.integers(0, 255, (10, 1, 8), dtype=np.uint8)
    nodes = [*proto().graph.node][:-1]
    nodes.append(helper.make_node("MatMulNBits", ["rows", "q", "s"], ["y"], domain="com.microsoft", K=8, N=10, bits=4,
                                  block_size=16))  # fmt: skip
    made = proto(nodes, constants={"w1": W1, "w2": W2, "q": packed, "s": np.ones(10, np.float32)},
                 domains=["com.microsoft"])  # fmt: skip
    model = load_model(saved(made, tmp_path / "m.onnx"), family="classification")
    with pytest.raises(LilliputError, match="has MatMulNBits, whose codes are not read"):
        compress(model, "prune_weights(sparsity=0.5)")
    for recipe, message in (("quantize()", "quantized already"), ("half()", "leave half out")):
        with pytest.raises(LilliputError, match=message):
            compress(model, recipe)


def test_weights_that_are_not_beside_the_file_are_named(tmp_path):
    path = saved(proto(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert load_model(path, family="classification").n_parameters == W1.size + W2.size + HEAD.size
    (tmp_path / "w.bin").unlink()
    with pytest.raises(LilliputError, match=r"its weights in 'w\.bin', which is not beside it"):
        load_model(path)


def test_a_map_of_classes_is_said_to_be_no_answer_of_a_classifier(tmp_path, pictures):
    nodes = [helper.make_node("Conv", ["x", "w1"], ["y"])]
    path = saved(proto(nodes, out=("n", 8, 6, 6), constants={"w1": W1}), tmp_path / "m.onnx")
    model = load_model(path, family="classification")
    with pytest.raises(NotApplicable, match="gives 8 x 6 x 6 numbers a picture"):
        parse_task(f'classification(images="{pictures}")').check(model, open_session(model))


@pytest.mark.parametrize("kind", ["uint8", "float16"])
def test_what_a_runtime_weighs_alone_takes_what_the_model_takes(tmp_path, kind):
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=FLOAT),
        helper.make_node("Conv", ["real", "w1"], ["c1"]),
        helper.make_node("GlobalAveragePool", ["c1"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["rows"]),
        helper.make_node("MatMul", ["rows", "b"], ["y"]),
    ]
    made = proto(nodes, taken=getattr(TensorProto, kind.upper()), constants={"w1": W1, "b": HEAD})
    model = load_model(saved(made, tmp_path / "m.onnx"), family="classification")
    assert identity(model, "onnx", tmp_path / "identity").is_dir()


def test_colours_that_no_file_describes_are_said_to_be_guessed(tmp_path):
    path = saved(proto(), tmp_path / "m.onnx")
    (said,) = load_model(path, family="classification").provenance.guesses
    assert "taken for red, green, blue from 0 to 1 (--picture says otherwise)" in said
    assert load_model(path, family="classification", picture="picture(std=(0.5,))").provenance.guesses == ()


def test_an_answer_that_is_no_number_is_no_small_difference():
    one = MappingProxyType({"y": np.ones(3, np.float32)})
    assert largest_difference(one, {"y": np.array([1, np.nan, 1], np.float32)}) == float("inf")


def test_a_long_graph_that_is_written_backwards_is_put_in_order():
    n = 20_000  # by passes over what is left it would take two hundred million looks
    nodes = [helper.make_node("Relu", [f"x{at}"], [f"x{at + 1}"]) for at in reversed(range(n))]
    ends = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("x0", f"x{n}")]
    proto = helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:]))
    in_order(proto)
    assert [node.input[0] for node in proto.graph.node] == [f"x{at}" for at in range(n)]
