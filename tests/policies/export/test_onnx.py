"""The ONNX format: what onnxruntime and the onnx package compute from the file is what the reference means."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from tests.arrays import evaluate, f32, i32
from tests.strategies import Form, plausible_observations, policies, random_linear

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.export import export, open_artifact
from lilliput.policies.export.onnx import build
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy
from lilliput.policies.runtime.onnx_file import OPERATORS, check_file

SPACE = spaces.Box((40,), np.array(-np.inf), np.array(np.inf))
ACTIONS = spaces.Box((6,), np.array(-1.0), np.array(1.0))


@settings(max_examples=40)
@given(policies(), st.integers(0, 1000))
def test_what_runs_is_what_the_policy_means(
    tmp_path_factory: pytest.TempPathFactory, policy: Policy, seed: int
) -> None:
    artifact = export(policy, "onnx", tmp_path_factory.mktemp("export") / "out")
    act = open_artifact(artifact.folder)
    observations = plausible_observations(policy.observation_space, 20, np.random.default_rng(seed))
    expected = reference.act(policy, observations)
    actions = act.batch(observations)
    # A number near a tie may round the other way, once in thousands: more would be another meaning.
    off = np.abs(actions.astype(np.float64) - expected).reshape(20, -1).max(axis=1) > artifact.manifest.tolerance
    assert off.sum() <= 1


@settings(max_examples=30)
@given(policies())
def test_the_onnx_packages_own_evaluator_agrees(policy: Policy) -> None:
    model = build(policy)
    observations = plausible_observations(policy.observation_space, 6, np.random.default_rng(0))
    with np.errstate(all="ignore"):
        rows = [evaluate(model, {"observation": row[None]})[0] for row in observations]
    expected = reference.act(policy, observations)
    actions = np.concatenate(rows)
    assert actions.dtype == expected.dtype
    assert actions.shape == expected.shape
    off = np.abs(actions.astype(np.float64) - expected).reshape(6, -1).max(axis=1) > 3e-5
    assert off.sum() <= 1


@settings(max_examples=40)
@given(policies())
def test_the_file_is_of_the_closed_kind_that_is_opened(policy: Policy) -> None:
    model = build(policy)
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert max(entry.version for entry in model.opset_import) <= 21
    check_file(model.SerializeToString())
    shapes = [
        [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    ]
    action_shape = spaces.action_shape(policy.action_space)
    assert shapes == [["batch", *spaces.input_shape(policy.observation_space)], ["batch", *action_shape]]


def test_the_same_policy_gives_the_same_bytes() -> None:
    policy = mlp("static", (16,))
    assert build(policy).SerializeToString(deterministic=True) == build(policy).SerializeToString(deterministic=True)


def mlp(form: Form, widths: tuple[int, ...], *, bits: tuple[int, int] = (8, 8), per_channel: bool = True) -> Policy:
    """A policy of SPACE and ACTIONS with Relu between its layers and a squash at its end."""
    rng = np.random.default_rng(0)
    x = plausible_observations(SPACE, 64, rng)
    stack: list[Layer] = []
    for width in (*widths, 6):
        layer = random_linear(x, form, rng, outputs=width, bits=bits, per_channel=per_channel)
        stack += [layer, layers.Relu()]
        x = reference.apply(layers.Relu(), reference.apply(layer, x))
    return Policy(SPACE, ACTIONS, (*stack[:-1], layers.SquashAction()))


def exact_layer(
    k: int, weight_bits: int, input_bits: int, form: Form
) -> tuple[layers.QuantizedDense, np.ndarray, np.ndarray]:
    """A layer whose outputs are its sums of products, inputs that are codes, and those sums from Python's integers."""
    low, high = affine.signed_range(weight_bits)
    top = affine.unsigned_max(input_bits)
    rng = np.random.default_rng(k)
    weight = rng.integers(low, high + 1, (5, k)).astype(np.int8)
    weight[0], weight[1] = low, high
    weight[2, ::2], weight[2, 1::2] = low, high
    x = rng.integers(0, top + 1, (6, k)).astype(np.float32)
    # From 0 to the top in each row: its dynamic scale is 1.
    x[:, 0], x[:, -1] = 0, top
    x[0, 1:], x[1, :-1] = top, 0
    x[2, 2::2] = top
    range_ = layers.StaticRange(f32(1), i32(0), input_bits) if form == "static" else layers.DynamicRange(input_bits)
    sums = np.array([[sum(int(a) * int(b) for a, b in zip(row, w, strict=True)) for w in weight] for row in x])
    return layers.QuantizedDense(QuantizedTensor(weight, f32(1), weight_bits), None, range_), x, sums


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize("input_bits", [2, 5, 7, 8])
@pytest.mark.parametrize("weight_bits", [2, 3, 4, 6, 7, 8])
def test_sums_of_extreme_products_are_exact(tmp_path: Path, form: Form, input_bits: int, weight_bits: int) -> None:
    # Where a kernel adds two products in 16 bits, two of 255 x -128 do not fit.
    for k in (3, 1025):
        layer, x, sums = exact_layer(k, weight_bits, input_bits, form)
        space = spaces.Box((k,), np.array(0.0), np.array(255.0))
        policy = Policy(space, spaces.Box((5,), np.array(-1e9), np.array(1e9)), (layer,))
        act = open_artifact(export(policy, "onnx", tmp_path / str(k), observations=x).folder)
        np.testing.assert_array_equal(act.batch(x), sums.astype(np.float32))
        np.testing.assert_array_equal(reference.act(policy, x), sums.astype(np.float32))


@pytest.mark.parametrize("zero_point", [0, 128, 255, -3, 300, 1 << 25])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("bits", [4, 8])
def test_static_convolutions_are_exact_with_any_zero_point(
    tmp_path: Path, zero_point: int, padding: tuple[int, int], bits: int
) -> None:
    rng = np.random.default_rng(0)
    weight = QuantizedTensor(rng.integers(-8, 8, (3, 2, 3, 3)).astype(np.int8), f32([1, 2, 4]), 4)
    range_ = layers.StaticRange(f32(1), i32(zero_point), bits)
    layer = layers.QuantizedConv2d(weight, f32([0, 1, 2]), range_, (2, 1), padding)
    space = spaces.Box((2, 7, 6), np.array(-1e9), np.array(1e9))
    flat = int(np.prod(layers.output_shape(layer, space.shape)))
    policy = Policy(space, spaces.Box((flat,), np.array(-np.inf), np.array(np.inf)), (layer, layers.Flatten()))
    x = f32(rng.integers(-20, 300, (40, 2, 7, 6)) - zero_point)
    if zero_point == 1 << 25:
        # float32 steps by 4 there: too unsteady to be exported, and exact all the same.
        np.testing.assert_array_equal(evaluate(build(policy), {"observation": x})[0], reference.act(policy, x))
        return
    act = open_artifact(export(policy, "onnx", tmp_path / "out", observations=x).folder)
    np.testing.assert_array_equal(act.batch(x), reference.act(policy, x))


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_weights_are_unsigned_so_that_no_kernel_saturates(form: Form, bits: int) -> None:
    model = onnx.shape_inference.infer_shapes(build(mlp(form, (32,), bits=(bits, 8))))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {constant.name: constant.data_type for constant in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 2
    for product in products:
        assert [types[name] for name in product.input[:2]] == [TensorProto.UINT8, TensorProto.UINT8]


@pytest.mark.parametrize(
    ("form", "bits", "bits_a_weight"),
    [
        ("float32", 8, 32),
        ("float16", 8, 16),
        ("static", 8, 8),
        ("dynamic", 8, 8),
        ("static", 4, 4),
        ("weight_only", 8, 8),
        ("weight_only", 5, 5),
        ("weight_only", 3, 3),
        ("weight_only", 2, 2),
    ],
)
def test_the_file_takes_the_bits_of_its_weights(form: Form, bits: int, bits_a_weight: int) -> None:
    policy = mlp(form, (256, 256), bits=(bits, 8), per_channel=False)
    n_weights = 40 * 256 + 256 * 256 + 256 * 6
    assert len(build(policy).SerializeToString()) - n_weights * bits_a_weight / 8 < 6500


def test_a_relu_that_codes_cut_anyway_is_left_out() -> None:
    rng = np.random.default_rng(0)
    first = random_linear(plausible_observations(SPACE, 64, rng), "static", rng, outputs=8)
    for zero_point, n_relus in ((0, 0), (1, 1)):
        range_ = layers.StaticRange(f32(100), i32(zero_point))
        second = layers.QuantizedDense(QuantizedTensor(np.ones((6, 8), np.int8), f32(0.01), 8), None, range_)
        policy = Policy(SPACE, ACTIONS, (first, layers.Relu(), second))
        model = build(policy)
        assert sum(node.op_type == "Relu" for node in model.graph.node) == n_relus
        x = plausible_observations(SPACE, 50, rng)
        np.testing.assert_array_equal(evaluate(model, {"observation": x})[0], reference.act(policy, x))


def test_sums_that_may_leave_int32_are_refused() -> None:
    k = 70_000
    weight = QuantizedTensor(np.full((1, k), -128, np.int8), f32(1), 8)
    layer = layers.QuantizedDense(weight, None, layers.StaticRange(f32(1), i32(0)))
    policy = Policy(
        spaces.Box((k,), np.array(0.0), np.array(1.0)), spaces.Box((1,), np.array(-1.0), np.array(1.0)), (layer,)
    )
    with pytest.raises(
        LilliputError, match=r"layer 0 \(QuantizedDense\): a sum of products may reach 2284800000, beyond int32"
    ):
        build(policy)


def test_the_model_says_what_it_was_made_from() -> None:
    policy = mlp("float32", (4,))
    found = {entry.key: entry.value for entry in build(policy).metadata_props}
    assert found["policy_digest"] == policy.digest


def nature_cnn(form: Form) -> Policy:
    """The usual network for Atari images, with random weights."""
    rng = np.random.default_rng(0)
    space = spaces.Box((4, 84, 84), np.array(0.0), np.array(255.0), "uint8")
    stack: list[Layer] = [layers.Standardize(f32(0), f32(1 / 255), f32(np.inf))]
    x = reference.apply(stack[0], spaces.network_input(space, plausible_observations(space, 4, rng)))
    for outputs, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1), (512, None, 1), (6, None, 1)):
        if kernel is None and x.ndim == 4:
            stack.append(layers.Flatten())
            x = reference.apply(stack[-1], x)
        stack.append(random_linear(x, form, rng, outputs=outputs, kernel=kernel, stride=(stride, stride)))
        x = reference.apply(stack[-1], x)
        if outputs != 6:
            stack.append(layers.Relu())
            x = reference.apply(stack[-1], x)
    return Policy(space, spaces.Discrete(6), (*stack, layers.ArgmaxAction((6,))))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "static", "dynamic", "weight_only"])
def test_an_atari_network_plays_alike(tmp_path: Path, form: Form) -> None:
    policy = nature_cnn(form)
    artifact = export(policy, "onnx", tmp_path / "out")
    assert artifact.manifest.input_dtype == "uint8"
    images = plausible_observations(policy.observation_space, 20, np.random.default_rng(1))
    act = open_artifact(artifact.folder)
    assert int((act.batch(images) != reference.act(policy, images)).sum()) <= 1
    size = (artifact.folder / "model.onnx").stat().st_size
    assert size < policy.n_parameters * (4 if form == "float32" else 1) * 1.05 + 10_000
