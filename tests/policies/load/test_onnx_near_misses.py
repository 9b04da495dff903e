"""Graphs that are nearly of a known kind: refused in one line, or read as onnxruntime runs them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32, loaded, node, ran

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

UNARY = ("Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu", "Identity", "Neg", "Softmax", "Abs", "Exp", "Erf", "Flatten")
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "MatMul")
RAN = (errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.NotImplemented, errors.RuntimeException)


def bases() -> list[bytes]:
    """Small policies with a normalizer, SiLU, a layer norm spelled out, cut outputs and a choice."""
    given = {
        "mean": f32(5, seed=5),
        "std": np.abs(f32(5, seed=6)) + np.float32(0.5),
        "two": np.asarray(np.float32(2)),
        "eps": np.asarray(np.float32(1e-5)),
        "low": np.asarray(np.float32(-3)),
        "high": np.asarray(np.float32(3)),
        "first": np.array([0]),
        "last": np.array([2]),
        "axis": np.array([1]),
        "to": np.array([-1, 8]),
    }
    normalized = [node("Sub", "obs mean", "c"), node("Div", "c std", "z"), node("Clip", "z low high", "n")]
    silu = [node("Gemm", "n w0 b0", "h"), node("Sigmoid", "h", "s"), node("Mul", "h s", "a")]
    norm = [
        node("ReduceMean", "h", "m", axes=[-1]),
        node("Sub", "h m", "x"),
        node("Pow", "x two", "xx"),
        node("ReduceMean", "xx", "v", axes=[-1]),
        node("Add", "v eps", "ve"),
        node("Sqrt", "ve", "r"),
        node("Div", "x r", "a"),
    ]
    out = node("Gemm", "a w1 b1", "u", transB=1)
    tanh = [out, node("Slice", "u first last axis", "mu"), node("Tanh", "mu", "action")]
    choice = [node("Reshape", "a to", "f"), node("Gemm", "f w1 b1", "q", transB=1)]
    choice.append(node("ArgMax", "q", "action", axis=1))
    constants = WEIGHTS | given
    return [
        build([*normalized, *silu, *tanh], constants),
        build([*SIMPLE[:1], *norm, *tanh], constants, opset=13),
        build([*normalized, *silu, *choice], constants, outputs=[("action", TensorProto.INT64)]),
    ]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The model with one to three small changes: another operator, input, attribute or constant."""
    model = onnx.ModelProto.FromString(data)
    graph = model.graph
    for _ in range(rng.choice([1, 1, 2, 3])):
        one: Any = rng.choice(list(graph.node))
        match rng.randrange(5):
            case 0 if one.op_type in UNARY:
                one.op_type = rng.choice(UNARY)
            case 0 if one.op_type in BINARY:
                one.op_type = rng.choice(BINARY)
            case 1 if len(one.input) > 1:
                i, j = rng.sample(range(len(one.input)), 2)
                one.input[i], one.input[j] = one.input[j], one.input[i]
            case 2 if len(one.input):
                names = [key for other in graph.node for key in other.output]
                names += [tensor.name for tensor in graph.initializer] + ["obs"]
                one.input[rng.randrange(len(one.input))] = rng.choice(names)
            case 3 if len(one.attribute):
                attribute = rng.choice(list(one.attribute))
                attribute.i, attribute.f = rng.choice([-2, -1, 0, 1, 2]), rng.choice([0.0, 0.5, 2.0, -1.0])
                if len(attribute.ints):
                    attribute.ints[0] = rng.choice([-2, -1, 0, 1, 2])
            case _:
                tensor = rng.choice(list(graph.initializer))
                changed = numpy_helper.to_array(tensor) * rng.choice([-1, 2])
                kept = numpy_helper.to_array(tensor).dtype
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(changed, kept), tensor.name))
    return model.SerializeToString()


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_graph_is_refused_or_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    path = tmp_path / "policy.onnx"
    x = f32(60, 5, scale=3.0, seed=seed)
    for _ in range(40):
        data = mutated(rng.choice(bases()), rng)
        path.write_bytes(data)
        try:
            policy = load_policy(path)
        except LilliputError:
            continue
        try:
            ran = onnxruntime.InferenceSession(data, options).run(["action"], {"obs": x})
        except RAN:  # by a node that the action does not need
            continue
        expected, actual = np.asarray(ran[0]).reshape(len(x), -1), reference.act(policy, x).reshape(len(x), -1)
        if policy.is_discrete and expected.shape[1] > 1:
            expected = expected.argmax(axis=1)[:, None]
        if policy.is_discrete:
            assert (expected == actual).mean() > 0.9
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_by_name_is_read_where_both_sides_get_as_much(how: str, tmp_path: Path) -> None:
    for side in (3, 4):
        constants = {"k": f32(4, 2, side, side, scale=0.3), "w": f32(4 * 36, 3, scale=0.1)}
        nodes = [
            node("Conv", "obs k", "c", auto_pad=how),
            node("Relu", "c", "r"),
            node("Flatten", "r", "l"),
            node("MatMul", "l w", "action"),
        ]
        data = build(nodes, constants, ["n", 2, 6, 6])
        if side % 2:
            x = f32(20, 2, 6, 6)
            np.testing.assert_allclose(reference.act(loaded(data, tmp_path), x), ran(data, x), atol=1e-4)
        else:
            with pytest.raises(LilliputError, match="a kernel of even size"):
                loaded(data, tmp_path)


def constants_added(each: list[Any], times: int, **given: np.ndarray) -> bytes:
    """A policy that adds the largest number of a constant that its nodes make, again and again."""
    nodes = [node("MatMul", "obs w", "y0")]
    for index in range(times):
        for one in each:
            made = onnx.NodeProto()
            made.CopyFrom(one)
            made.output[0] = f"{one.output[0]}{index}"
            nodes.append(made)
        nodes.append(node("ReduceMax", f"{each[-1].output[0]}{index}", f"r{index}", keepdims=0))
        nodes.append(node("Add", f"y{index} r{index}", "action" if index == times - 1 else f"y{index + 1}"))
    return build(nodes, {"w": f32(5, 3), **given})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            constants_added([node("ConstantOfShape", "n", "c")], 40, n=np.array([1 << 24])),
            "computes with more numbers than any policy has",
        ),
        (
            constants_added([node("MatMul", "big big", "c")], 1, big=np.zeros((1 << 11, 1 << 11), np.float32)),
            "takes 8589934592 products",
        ),
        (
            constants_added([node("MatMul", "big big", "c")], 40, big=np.zeros((1 << 10, 1 << 10), np.float32)),
            "computes with more numbers than any policy has",
        ),
        (build(SIMPLE, WEIGHTS, shape=(1 << 31, 5)), "takes 2147483648 observations at once"),
    ],
    ids=["constants", "a product", "products", "rows"],
)
def test_small_files_that_ask_for_more_than_a_machine_has_are_refused(
    data: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LilliputError, match=message):
        loaded(data, tmp_path)


def test_a_value_that_doubles_again_and_again_is_refused(tmp_path: Path) -> None:
    doubled = [node("Concat", f"k{i} k{i}" if i else "obs obs", f"k{i + 1}", axis=1) for i in range(26)]
    cut = [node("Slice", "k26 first last axis", "p"), node("MatMul", "p w", "action")]
    given = {"first": np.array([0]), "last": np.array([5]), "axis": np.array([1]), "w": f32(5, 3)}
    with pytest.raises(LilliputError, match="larger than any policy's"):
        loaded(build([*doubled, *cut], given), tmp_path)
