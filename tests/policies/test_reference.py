"""What layers mean, against torch, the onnx package and loops over integers; rows do not depend on each other."""

import ctypes
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.arrays import evaluate, f32, i8
from tests.strategies import Form, plausible_observations, policies, random_linear

from lilliput import compiler
from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

RNG = np.random.default_rng(7)
POINTS = f32(np.concatenate([np.linspace(-12, 12, 4001), [0.0, -0.0, 1e-30, -1e-30, 88.0, -88.0, 500.0, -500.0]]))[None]

ELEMENTWISE: list[tuple[Layer, str, dict[str, float]]] = [
    (layers.Relu(), "Relu", {}),
    (layers.Tanh(), "Tanh", {}),
    (layers.SquashAction(), "Tanh", {}),
    (layers.Sigmoid(), "Sigmoid", {}),
    (layers.Elu(0.7), "Elu", {"alpha": 0.7}),
    (layers.LeakyRelu(0.2), "LeakyRelu", {"alpha": 0.2}),
    (layers.Gelu(), "Gelu", {}),
    (layers.HardTanh(-2.0, 3.0), "Clip", {}),
]


@pytest.mark.parametrize(("layer", "op", "attributes"), ELEMENTWISE, ids=lambda value: type(value).__name__)
def test_activations_are_those_of_onnx(layer: Layer, op: str, attributes: dict[str, float]) -> None:
    node = helper.make_node(op, ["x", "low", "high"] if op == "Clip" else ["x"], ["y"])
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in [*node.input, "y"]]
    graph = helper.make_graph([node], "one", ports[:-1], ports[-1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    bounds = {"low": f32(-2), "high": f32(3)} if op == "Clip" else {}
    with np.errstate(all="ignore"):  # theirs overflows in the branch that it does not take
        expected = evaluate(model, {"x": POINTS, **bounds})[0]
    result = reference.apply(layer, POINTS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-7)


def test_float_layers_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    pairs = [
        (layers.Relu(), nn.ReLU()),
        (layers.Tanh(), nn.Tanh()),
        (layers.Sigmoid(), nn.Sigmoid()),
        (layers.Elu(0.7), nn.ELU(0.7)),
        (layers.LeakyRelu(0.2), nn.LeakyReLU(0.2)),
        (layers.Silu(), nn.SiLU()),
        (layers.Gelu(), nn.GELU()),
        (layers.HardTanh(-2.0, 3.0), nn.Hardtanh(-2, 3)),
    ]
    for layer, module in pairs:
        expected = module(torch.from_numpy(POINTS)).numpy()
        np.testing.assert_allclose(reference.apply(layer, POINTS), expected, rtol=2e-6, atol=2e-7, err_msg=str(layer))
    x = f32(RNG.normal(size=(5, 37)))
    linear, norm = nn.Linear(37, 11), nn.LayerNorm(37, eps=1e-3)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(f32(RNG.normal(size=37))))
        norm.bias.copy_(torch.from_numpy(f32(RNG.normal(size=37))))
        dense = layers.Dense(linear.weight.numpy(), linear.bias.numpy())
        np.testing.assert_allclose(reference.apply(dense, x), linear(torch.from_numpy(x)).numpy(), atol=1e-5)
        layer_norm = layers.LayerNorm(norm.weight.numpy(), norm.bias.numpy(), 1e-3)
        np.testing.assert_allclose(reference.apply(layer_norm, x), norm(torch.from_numpy(x)).numpy(), atol=1e-5)


@settings(max_examples=30)
@given(
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    seed=st.integers(0, 1000),
)
def test_convolutions_are_those_of_torch(
    channels: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], seed: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, weight = f32(rng.normal(size=(3, channels, 7, 9))), f32(rng.normal(size=(4, channels, *kernel)))
    bias = f32(rng.normal(size=4))
    expected = torch.nn.functional.conv2d(
        *map(torch.from_numpy, (x, weight, bias)), stride=stride, padding=padding
    ).numpy()
    layer = layers.Conv2d(weight, bias, stride, padding)
    np.testing.assert_allclose(reference.apply(layer, x), expected, atol=2e-5)
    assert layers.output_shape(layer, x.shape[1:]) == expected.shape[1:]
    integers = affine.quantize_weights(weight, f32(0.02), 8)
    quantized = layers.QuantizedConv2d(integers, bias, None, stride, padding)
    real = layers.Conv2d(integers.dequantize(), bias, stride, padding)
    np.testing.assert_allclose(reference.apply(quantized, x), reference.apply(real, x), atol=2e-5)


def test_the_nature_cnn_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6),
    )  # fmt: skip
    stack: list[Layer] = [layers.Standardize(f32(0), f32(1 / 255), f32(np.inf))]
    for part in module:
        match part:
            case nn.Conv2d():
                arrays = part.weight.detach().numpy(), part.bias.detach().numpy()
                stack.append(layers.Conv2d(*arrays, part.stride))
            case nn.Linear():
                stack.append(layers.Dense(part.weight.detach().numpy(), part.bias.detach().numpy()))
            case nn.Flatten():
                stack.append(layers.Flatten())
            case _:
                stack.append(layers.Relu())
    space = spaces.Box((4, 84, 84), np.zeros(()), np.array(255.0), "uint8")
    policy = Policy(space, spaces.Discrete(6), (*stack, layers.ArgmaxAction((6,))))
    images = plausible_observations(space, 5, RNG)
    with torch.no_grad():
        expected = module(torch.from_numpy(images).float() / 255).numpy()
    np.testing.assert_allclose(reference.layer_inputs(policy, images)[-2], expected, atol=1e-5)
    np.testing.assert_array_equal(reference.act(policy, images), expected.argmax(axis=1))


@settings(max_examples=50)
@given(
    st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 8), st.booleans(), st.sampled_from(["static", "dynamic"])
)
def test_quantized_dense_is_a_loop_over_integers(
    seed: int, weight_bits: int, activation_bits: int, per_channel: bool, form: Form
) -> None:
    rng = np.random.default_rng(seed)
    x = f32(rng.normal(0, 2, (4, 6)))
    layer = random_linear(x, form, rng, outputs=3, bits=(weight_bits, activation_bits), per_channel=per_channel)
    assert isinstance(layer, layers.QuantizedDense)
    assert layer.bias is not None
    result = reference.apply(layer, x)
    for n, row in enumerate(x):
        top = 2**activation_bits - 1
        if isinstance(layer.input, layers.StaticRange):
            inverse = np.broadcast_to(layer.input.inverse_scale, row.shape)
            zero_point = np.broadcast_to(layer.input.zero_point, row.shape)
            codes = [
                min(max(round(float(v * s)) + int(z), 0), top) for v, s, z in zip(row, inverse, zero_point, strict=True)
            ]
            input_scale = f32(1)
        else:
            low, high = min(row.min(), np.float32(0)), max(row.max(), np.float32(0))
            input_scale = (high - low) / np.float32(top)
            zero = round(float(-low / input_scale))
            codes = [min(max(round(float(v / input_scale)) + zero, 0), top) - zero for v in row]
        for o in range(3):
            total = sum(int(w) * c for w, c in zip(layer.weight.values[o], codes, strict=True))
            scale = np.broadcast_to(layer.weight.scale, 3)[o]
            assert result[n, o] == np.float32(total) * (scale * input_scale) + layer.bias[o]


def test_static_padding_is_the_zero_point() -> None:
    # Quantized finely, a padded convolution is the real one: its padding has to stand for a real 0.
    x = f32(RNG.uniform(-3, 1, (2, 2, 5, 5)))
    weight, bias = f32(RNG.normal(size=(3, 2, 3, 3))), f32(RNG.normal(size=3))
    tensor = affine.quantize_weights(weight, f32(np.abs(weight).max() / 127), 8)
    inverse, zero_point = f32(255 / 4), np.array(191, np.int32)
    folded = QuantizedTensor(tensor.values, f32(tensor.scale / inverse), 8)
    shift = folded.dequantize().reshape(3, -1).sum(axis=1) * np.float32(191)
    layer = layers.QuantizedConv2d(folded, bias - shift, layers.StaticRange(inverse, zero_point), (1, 1), (1, 1))
    real = reference.apply(layers.Conv2d(weight, bias, (1, 1), (1, 1)), x)
    assert np.abs(reference.apply(layer, x) - real).max() < 0.02 * np.abs(real).max()


@pytest.mark.parametrize("bits", [2, 8])
def test_large_sums_are_exact(bits: int) -> None:
    k = 60_000
    low, _ = affine.signed_range(bits)
    weight = QuantizedTensor(np.full((1, k), low, np.int8), f32(1), bits)
    layer = layers.QuantizedDense(weight, None, layers.StaticRange(f32(1), np.array(0, np.int32)))
    x = np.full((1, k), 255, np.float32)
    x[0, 0] = 254
    assert reference.apply(layer, x)[0, 0] == np.float32(low * (255 * k - 1))


@settings(max_examples=60)
@given(policies(), st.integers(0, 1000))
def test_a_row_does_not_depend_on_the_others(policy: Policy, seed: int) -> None:
    observations = plausible_observations(policy.observation_space, 19, np.random.default_rng(seed))
    together = reference.act(policy, observations)
    shape = spaces.action_shape(policy.action_space)
    assert together.shape == (19, *shape)
    assert together.dtype == (np.int64 if policy.is_discrete else np.float32)
    for rows in (slice(0, 1), slice(18, 19), slice(3, 10), slice(None, None, -1), slice(1, None, 3)):
        assert reference.act(policy, observations[rows]).tobytes() == together[rows].tobytes()


@pytest.mark.parametrize("form", ["float32", "float16", "static", "dynamic", "weight_only"])
def test_a_row_of_a_large_network_does_not_depend_on_the_others(form: Form) -> None:
    rng = np.random.default_rng(3)
    space = spaces.Box((376,), np.array(-np.inf), np.array(np.inf))
    x = plausible_observations(space, 70, rng)
    stack: list[Layer] = []
    hidden = x
    for width in (256, 257, 17):
        stack += [random_linear(hidden, form, rng, outputs=width), layers.Tanh()]
        hidden = reference.apply(stack[-1], reference.apply(stack[-2], hidden))
    policy = Policy(space, spaces.Box((17,), np.array(-1.0), np.array(1.0)), tuple(stack))
    together = reference.act(policy, x)
    for n in (1, 2, 3, 7, 64):
        assert reference.act(policy, x[5 : 5 + n]).tobytes() == together[5 : 5 + n].tobytes()


def test_what_lies_beyond_the_operands_raises_nothing(tmp_path: Path) -> None:
    source = tmp_path / "leave_signalling.c"
    source.write_text(
        "void leave_signalling(void) {\n"
        "    volatile unsigned words[65536];\n"
        "    for (int i = 0; i < 65536; i++) words[i] = 0x7f800001;\n"
        "}\n"
    )
    leave_signalling = ctypes.CDLL(str(compiler.shared_object([source], ["-O2"]))).leave_signalling
    weight, x = f32(RNG.normal(size=(2, 5))), f32(RNG.normal(size=(1, 5)))
    wanted = [[sum(float(a) * float(b) for a, b in zip(row, x[0], strict=True)) for row in weight]]
    for _ in range(20):
        leave_signalling()
        np.testing.assert_allclose(reference.apply(layers.Dense(weight, None), x), wanted, rtol=1e-5)


def test_more_observations_than_are_evaluated_at_once() -> None:
    space = spaces.Box((2,), np.array(-np.inf), np.array(np.inf))
    policy = Policy(space, spaces.Discrete(2), (layers.Dense(f32(np.eye(2)), None), layers.ArgmaxAction((2,))))
    x = f32(RNG.normal(size=(2 * reference.BATCH + 3, 2)))
    np.testing.assert_array_equal(reference.act(policy, x), x.argmax(axis=1))
    assert reference.act(policy, x[:0]).shape == (0,)


def test_the_first_of_equal_choices_is_taken_in_every_group() -> None:
    x = f32([[1, 1, 0, 2, 2, 5, 5, 5]])
    assert reference.apply(layers.ArgmaxAction((3, 2, 3)), x).tolist() == [[0, 0, 0]]
    assert reference.apply(layers.ArgmaxAction((8,)), x).tolist() == [5]


def test_saturating_functions_do_not_overflow() -> None:
    x = f32([[-3e38, -1e4, 1e4, 3e38]])
    for layer, expected in [
        (layers.Sigmoid(), [0, 0, 1, 1]),
        (layers.Silu(), [0, 0, 1e4, 3e38]),
        (layers.Elu(), [-1, -1, 1e4, 3e38]),
        (layers.Tanh(), [-1, -1, 1, 1]),
    ]:
        np.testing.assert_array_equal(reference.apply(layer, x), f32([expected]), err_msg=str(layer))


def test_the_mean_of_a_beta_distribution_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = f32(RNG.normal(size=(50, 6)) * 5)
    a, b = (1 + np.logaddexp(0, half.astype(np.float64)) for half in (x[:, :3], x[:, 3:]))
    np.testing.assert_allclose(reference.apply(layers.BetaAction(), x), stats.beta(a, b).mean(), rtol=1e-6)
    # rsl_rl's raw 0 and 2 on the range from -1 to 1: not the mode, which would be 0.351
    assert 2 * reference.apply(layers.BetaAction(), f32([[0, 2]]))[0, 0] - 1 == pytest.approx(-0.297, abs=1e-3)
    extreme = reference.apply(layers.BetaAction(), f32([[-3e38, 3e38, 1e4, -3e38]]))
    np.testing.assert_allclose(extreme, [[1 / 1e4, 1]], rtol=1e-3)


def test_standardize_clips_both_sides_and_an_infinite_clip_does_nothing() -> None:
    x = f32([[-100, 0, 1, 100]])
    clipped = layers.Standardize(f32([0, 0, 1, 0]), f32([1, 1, 2, 0.01]), f32(10))
    assert reference.apply(clipped, x).tolist() == [[-10, 0, 0, 1]]
    assert reference.apply(layers.Standardize(f32(0), f32(2), f32(np.inf)), x).tolist() == [[-200, 0, 2, 200]]


def test_selected_inputs_stay_row_major() -> None:
    selected = reference.apply(layers.SelectInputs(np.array([0, 2], np.uint16)), f32(np.arange(6).reshape(2, 3)))
    assert selected.tolist() == [[0, 2], [3, 5]]
    assert selected.flags.c_contiguous


def test_gelu_of_a_point_that_is_known() -> None:
    assert reference.apply(layers.Gelu(), f32([[1.0]]))[0, 0] == pytest.approx(
        0.5 * (1 + math.erf(1 / math.sqrt(2))), rel=1e-6
    )


def test_observations_of_another_shape_are_refused() -> None:
    space = spaces.Box((2,), np.array(-1.0), np.array(1.0))
    policy = Policy(space, spaces.Discrete(2), (layers.Dense(f32(np.eye(2)), None), layers.ArgmaxAction((2,))))
    with pytest.raises(
        LilliputError, match=r"observations are float64\[2\]; the policy takes numbers of shape \(n, 2\)"
    ):
        reference.act(policy, np.zeros(2))


def test_weight_codes_of_all_kinds_are_read_with_their_scale() -> None:
    layer = layers.QuantizedDense(QuantizedTensor(i8([[1, -2], [3, 0]]), f32([0.5, 2]), 3), f32([1, 0]), None)
    assert reference.apply(layer, f32([[10, 1]])).tolist() == [[5.0, 60.0]]
