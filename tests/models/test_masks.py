"""Numbers that hide places from attention (-1e9, float32's lowest, -infinity) come through every step, and what an
exporter left unfolded or in bfloat16 is read as it is meant.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError
from lilliput.models import linear
from lilliput.models.compress import Context, compress
from lilliput.models.export import export, open_artifact
from lilliput.models.graph import graph_of
from lilliput.models.load import load_model
from lilliput.models.model import module_of
from lilliput.models.session import open_session

FLOAT, LOWEST = TensorProto.FLOAT, float(np.finfo(np.float32).min)
rng = np.random.default_rng(0)
Q, K, V = (rng.standard_normal((12, n)).astype(np.float32) for n in (8, 8, 10))
X = rng.random((4, 3, 8, 8)).astype(np.float32)
BEFORE = np.triu(np.ones((16, 16), np.float32), 1)  # each place sees itself and those before it

MASKS = {
    "infinite": (np.where(BEFORE, np.float32("-inf"), np.float32(0)), [("Add", ["s", "mask"], ["hidden"])]),
    "lowest": (np.where(BEFORE, np.float32(LOWEST), np.float32(0)), [("Add", ["s", "mask"], ["hidden"])]),
    "a billion": (BEFORE, [("Mul", ["mask", "low"], ["m"]), ("Add", ["s", "m"], ["hidden"])]),
    "seen": (1 - BEFORE, [("Sub", ["one", "mask"], ["u"]), ("Mul", ["u", "lowest"], ["m"]),
                          ("Add", ["s", "m"], ["hidden"])]),
    "chosen": (BEFORE, [("Cast", ["mask"], ["b"]), ("Where", ["b", "lowest", "s"], ["hidden"])]),
}  # fmt: skip
SINGLE = {"low": -1e9, "one": 1, "lowest": LOWEST}


def hiding_node(op, given, made):
    told: Any = {"to": TensorProto.BOOL} if op == "Cast" else {}
    return helper.make_node(op, given, made, name=made[0], **told)


def attention(kind, *, opset=17):
    mask, hiding = MASKS[kind]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["rows"], name="rows"),
        *(helper.make_node("MatMul", ["rows", name], [name.upper()], name=name) for name in ("q", "k", "v")),
        helper.make_node("Transpose", ["K"], ["Kt"], name="Kt", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["Q", "Kt"], ["s"], name="s"),
        *(number(name, value)
          for name, value in SINGLE.items() if any(name in given for _, given, _ in hiding)),
        *(hiding_node(*one) for one in hiding),
        helper.make_node("Softmax", ["hidden"], ["p"], name="p", axis=-1),
        helper.make_node("MatMul", ["p", "V"], ["o"], name="o"),
        helper.make_node("ReduceMean", ["o"], ["y"], name="y", axes=[1], keepdims=0),
    ]  # fmt: skip
    return whole(nodes, {"q": Q, "k": K, "v": V, "mask": mask, "shape": np.array([-1, 16, 12])}, opset=opset)


def number(name, value):
    stored = numpy_helper.from_array(np.array(value, np.float32))
    return helper.make_node("Constant", [], [name], name=name, value=stored)


def whole(nodes, constants, *, opset=17, kind=FLOAT):
    ends = (helper.make_tensor_value_info("x", kind, ["n", 3, 8, 8]),
            helper.make_tensor_value_info("y", kind, ["n", 10]))  # fmt: skip
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def loaded(proto, tmp_path):
    onnx.save(proto, str(tmp_path / "m.onnx"))
    return load_model(str(tmp_path / "m.onnx"), family="classification")


def answer(model):
    return open_session(model).answer({"x": X})["y"]


@pytest.fixture
def pictures(tmp_path):
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "p.npz", images=images, labels=np.arange(40) % 10, names=np.array([f"c{n}" for n in range(10)]))
    return str(tmp_path / "p.npz")


@pytest.mark.parametrize("kind", MASKS)
def test_half_precision_hides_what_a_mask_hides(tmp_path, kind):
    model, said = loaded(attention(kind), tmp_path), []
    small = compress(model, "half()", Context(model, say=said.append))
    np.testing.assert_allclose(answer(small), answer(model), atol=5e-3)
    assert small.model_bytes < 0.6 * model.model_bytes
    assert [sentence[:12] for sentence in said] == ([] if kind == "infinite" else ["half: 65504,"])
    export(small, "onnx", tmp_path / "out")
    np.testing.assert_array_equal(open_artifact(tmp_path / "out").answer({"x": X})["y"], answer(small))


@pytest.mark.parametrize("kind", MASKS)
def test_static_ranges_leave_what_a_mask_goes_through_real(tmp_path, pictures, kind):
    model = loaded(attention(kind), tmp_path)
    small = compress(model, f'quantize(scheme="static", source="{pictures}", observations=8)', Context(model))
    wanted = answer(model)
    assert np.abs(answer(small) - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", ["infinite", "lowest"])
def test_finetuning_trains_no_mask(tmp_path, pictures, kind):
    pytest.importorskip("torch")
    model = loaded(attention(kind), tmp_path)
    trained = compress(model, f'finetune(steps=2, source="{pictures}", observations=8)', Context(model))
    after = {t.name: numpy_helper.to_array(t) for t in graph_of(trained).graph.initializer}
    np.testing.assert_array_equal(after["mask"], MASKS[kind][0])
    assert not np.array_equal(after["v"], V)


def test_a_number_in_a_node_that_float16_does_not_hold_is_refused(tmp_path):
    nodes = [
        helper.make_node(
            "Constant", [], ["large"], name="large", value=numpy_helper.from_array(np.array(1e5, np.float32))
        ),
        helper.make_node("Div", ["x", "large"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    weight = rng.standard_normal((192, 10)).astype(np.float32)
    model = loaded(whole(nodes, {"w": weight, "shape": np.array([-1, 192])}), tmp_path)
    with pytest.raises(LilliputError, match=r"large holds 100000; float16 ends at 65504"):
        compress(model, "half()")


def test_half_of_a_language_model_clamps_marks_and_keeps_infinity(tmp_path):
    torch = pytest.importorskip("torch")
    from tests.models.made import small_folder

    model, said = load_model(str(small_folder(tmp_path / "small"))), []
    module_of(model, "test").register_buffer("marks", torch.tensor([LOWEST, float("-inf"), 1.0]))
    small = compress(model, "half()", Context(model, say=said.append))
    assert module_of(small, "test").state_dict()["marks"].tolist() == [-65504, float("-inf"), 1]
    (sentence,) = said
    assert sentence.endswith("in 1 constants that hide places or leave ends open, such as marks")


def test_weights_that_no_exporter_folded_are_made_small_unless_they_are_read_twice(tmp_path):
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in ((32, 192), (10, 32)))
    tied, bias = rng.standard_normal((192, 192)).astype(np.float32), rng.standard_normal((1, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["rows"]),
        helper.make_node("Transpose", ["tied"], ["back"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "tied"], ["there"]),
        helper.make_node("MatMul", ["there", "back"], ["here"]),
        helper.make_node("Transpose", ["first"], ["first_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["here", "first_t"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Transpose", ["second"], ["second_t"]),
        helper.make_node("MatMul", ["r", "second_t"], ["o"]),
        helper.make_node("Constant", [], ["bias"], value=numpy_helper.from_array(bias)),
        helper.make_node("Add", ["o", "bias"], ["y"]),
    ]
    constants = {"tied": tied, "first": first, "second": second, "shape": np.array([-1, 192])}
    model = loaded(whole(nodes, constants), tmp_path)
    wanted = ((X.reshape(4, -1) @ tied @ tied.T @ first.T).clip(0)) @ second.T + bias
    np.testing.assert_allclose(answer(model), wanted, rtol=1e-4, atol=1e-3 * np.abs(wanted).max())
    assert model.n_parameters == sum(array.size for array in constants.values()) + bias.size
    assert set(compress(model, "prune_weights(sparsity=0.5)").pruned) == {"tied", "first", "second"}


def test_codes_that_an_exporter_left_behind_a_transpose_are_pruned_unless_they_are_read_twice(tmp_path):
    codes = {name: rng.integers(-127, 128, shape, np.int8) for name, shape in (("tied", (64, 192)), ("own", (10, 64)))}
    scales = {f"{name}_scale": rng.uniform(0.001, 0.01, len(one)).astype(np.float32) for name, one in codes.items()}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["rows"]),
        *(helper.make_node("DequantizeLinear", [name, f"{name}_scale"], [f"{name}_real"], axis=0) for name in codes),
        helper.make_node("Transpose", ["tied_real"], ["tied_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "tied_t"], ["h"]),
        helper.make_node("Gather", ["tied_real", "token"], ["row"]),
        helper.make_node("ReduceMax", ["row"], ["most"], keepdims=0),
        helper.make_node("Add", ["h", "most"], ["r"]),
        helper.make_node("Transpose", ["own_real"], ["own_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["r", "own_t"], ["y"]),
    ]
    said = []
    model = loaded(whole(nodes, codes | scales | {"shape": np.array([-1, 192]), "token": np.array([3])}), tmp_path)
    small = compress(model, "prune_weights(sparsity=0.5)", Context(model, say=said.append))
    assert said == [
        "prune_weights: 95% of the weights stand in other nodes than linear layers (Transpose): left as they are"
    ]
    tied, own = (codes[name] * scales[f"{name}_scale"][:, None] for name in codes)
    size = np.sort(np.abs(own), axis=None)[own.size // 2]
    wanted = (X.reshape(4, -1) @ tied.T + tied[3].max()) @ np.where(np.abs(own) >= size, own, 0).T
    np.testing.assert_allclose(answer(small), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert linear.still_zero(small) == (own.size // 2, own.size // 2)


def test_bfloat16_is_read_as_float32_of_the_same_numbers(tmp_path):
    weight = rng.standard_normal((192, 10)).astype(np.float32)
    short = numpy_helper.to_array(helper.make_tensor("w", TensorProto.BFLOAT16, weight.shape, weight.reshape(-1)))
    nodes = [
        helper.make_node("Cast", ["x"], ["short"], to=TensorProto.BFLOAT16),
        helper.make_node("Reshape", ["short", "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    made = whole(nodes, {"w": short, "shape": np.array([-1, 192])}, kind=TensorProto.BFLOAT16)
    model = loaded(made, tmp_path)
    assert model.provenance.guesses[0].startswith("its bfloat16 is read as float32")
    np.testing.assert_allclose(answer(model), X.reshape(4, -1) @ short.astype(np.float32), rtol=1e-4)
    assert {port.dtype for port in (*model.inputs, *model.outputs)} == {"float32"}
    assert compress(model, "half()").model_bytes < 0.6 * model.model_bytes
    assert compress(model, "quantize()").model_bytes < 0.3 * model.model_bytes


def test_dynamic_ranges_leave_an_attention_of_onnx_itself_real(tmp_path):
    out = rng.standard_normal((16, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["rows"], name="rows"),
        *(helper.make_node("MatMul", ["rows", name], [name.upper()], name=name) for name in ("q", "k", "v")),
        helper.make_node("Attention", ["Q", "K", "V"], ["a"], name="a", q_num_heads=2, kv_num_heads=2),
        helper.make_node("ReduceMean", ["a", "axis"], ["m"], name="m", keepdims=0),
        helper.make_node("MatMul", ["m", "out"], ["y"], name="y"),
    ]
    constants = {"q": np.tile(Q, 2), "k": np.tile(K, 2), "v": np.tile(Q, 2), "out": out, "axis": np.array([1]),
                 "shape": np.array([-1, 16, 12])}  # fmt: skip
    model = loaded(whole(nodes, constants, opset=23), tmp_path)
    small, wanted = compress(model, "quantize()"), answer(model)
    assert np.abs(answer(small) - wanted).max() < 0.1 * np.abs(wanted).max()
    assert small.model_bytes < 0.4 * model.model_bytes


@pytest.mark.parametrize("recipe", ["prune_units(ratio=0.5)", 'finetune(steps=1, source="P")'])
def test_float16_is_refused_by_name_by_what_changes_float32(tmp_path, pictures, recipe):
    pytest.importorskip("torch")
    model = loaded(attention("infinite"), tmp_path)
    small = compress(model, "half()")
    with pytest.raises(LilliputError, match=r"is float16; .* half\(\) comes behind"):
        compress(small, recipe.replace("P", pictures))
