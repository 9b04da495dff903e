import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.compress.strategies import f32, image_policy, mlp, quantizations, real
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.affine import unsigned_max
from lilliput.policies.compress import Context, Quantize, compress
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, replace_layers


def given_observations(policy: Policy, x: np.ndarray) -> Context:
    return Context.from_observations(policy, x)


def onnxruntime_dynamic(network: tuple[Layer, ...], x: np.ndarray, folder: Path) -> np.ndarray:
    """The outputs of Dense and Relu layers after onnxruntime's quantize_dynamic, one observation at a time.

    The same integers are multiplied as uint8 x uint8, which is exact on every processor: onnxruntime's uint8 x int8
    saturates on x86 with AVX2 and no VNNI (255 * 127 summed over 64 weights gives 1,048,544, not 2,072,640).
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes, initializers, name = [], [], "x"
    for index, layer in enumerate(network):
        if isinstance(layer, layers.Dense):
            assert layer.bias is not None
            arrays = {f"w{index}": layer.weight.T.copy(), f"b{index}": layer.bias}
            initializers += [numpy_helper.from_array(array, key) for key, array in arrays.items()]
            nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]))
            nodes.append(helper.make_node("Add", [f"m{index}", f"b{index}"], [f"y{index}"]))
        else:
            assert isinstance(layer, layers.Relu)
            nodes.append(helper.make_node("Relu", [name], [f"y{index}"]))
        name = f"y{index}"
    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, x.shape[1]))
    outputs = helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, None))
    graph = helper.make_graph(nodes, "policy", [inputs], [outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "float.onnx")
    quantize_dynamic(folder / "float.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)
    model = onnx.load(folder / "int8.onnx")
    for held in model.graph.initializer:
        if held.data_type == TensorProto.INT8:
            codes = numpy_helper.to_array(held).astype(np.int16) + 128
            held.CopyFrom(numpy_helper.from_array(codes.astype(np.uint8), held.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(None, {"x": row[None]})[0]) for row in x])


def test_dynamic_int8_is_onnxruntimes_quantize_dynamic(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    policy = mlp((17, 64, 64, 6), rng, activation=layers.Relu())
    x = real(rng, 200, 17)
    theirs = onnxruntime_dynamic(policy.layers, x, tmp_path)
    ours = reference.act(compress(policy, (Quantize(),)), x)
    quantum = np.abs(theirs - reference.act(policy, x)).mean()
    assert quantum > 1e-3  # it did quantize
    # A hidden activation on the border of two codes may fall to either side; it moves an action by less than a quantum.
    assert np.abs(ours - theirs).mean() < 0.02 * quantum
    assert np.abs(ours - theirs).max() < 2 * quantum


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_weights_are_rounded_to_the_nearest_code(granularity: str, bits: int) -> None:
    policy = mlp((7, 9, 2), np.random.default_rng(1))
    small = compress(policy, f"quantize(weight_bits={bits}, scheme='weight_only', granularity='{granularity}')")
    top = 2 ** (bits - 1) - 1
    for before, after in zip(policy.layers, small.layers, strict=True):
        if isinstance(before, layers.Dense):
            assert isinstance(after, layers.QuantizedDense)
            largest = (
                np.abs(before.weight).max(axis=1, keepdims=True)
                if granularity == "per_channel"
                else np.abs(before.weight).max()
            )
            step = largest.astype(np.float64) / top
            assert (np.abs(after.weight.dequantize() - before.weight) <= step * 0.5001).all()
            assert np.abs(after.weight.values).max() == top
            np.testing.assert_array_equal(after.bias, before.bias)


def brute_force_static(layer: layers.Dense, quantized: layers.QuantizedDense, x: np.ndarray) -> np.ndarray:
    """What static quantization says in real numbers: both factors rounded on their grids, multiplied in float64."""
    range_ = quantized.input
    assert isinstance(range_, layers.StaticRange)
    inverse = range_.inverse_scale.astype(np.float64)
    codes = np.clip(np.rint(x * range_.inverse_scale) + range_.zero_point, 0, unsigned_max(range_.bits))
    rounded_input = (codes - range_.zero_point) / inverse
    scale = quantized.weight.scale.astype(np.float64)
    rounded_weight = quantized.weight.values * (scale[:, None] if scale.ndim else scale) * inverse
    assert layer.bias is not None
    return rounded_input @ rounded_weight.T + layer.bias


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("input_", ["per_tensor", "per_dimension", "every_dimension"])
@pytest.mark.parametrize("calibration", ["minmax", "percentile", "mse"])
def test_static_layers_compute_the_product_of_what_was_rounded(granularity: str, input_: str, calibration: str) -> None:
    rng = np.random.default_rng(2)
    policy = mlp((5, 12, 8, 3), rng)
    x = real(rng, 300, 5) * f32([0.01, 1, 1, 5, 100])
    small = compress(
        policy,
        f"quantize(scheme='static', granularity='{granularity}', input='{input_}', calibration='{calibration}')",
        given_observations(policy, x),
    )
    inputs = reference.layer_inputs(policy, x)
    for index, (before, after) in enumerate(zip(policy.layers, small.layers, strict=True)):
        if isinstance(before, layers.Dense):
            assert isinstance(after, layers.QuantizedDense)
            assert isinstance(after.input, layers.StaticRange)
            one_each = input_ == "every_dimension" or (input_ == "per_dimension" and index == 0)
            assert after.input.inverse_scale.shape == ((before.weight.shape[1],) if one_each else ())
            if one_each and (after.input.zero_point < 0).any() | (after.input.zero_point > 255).any():
                continue  # what a far-off range always adds is not rounded: tested below
            expected = brute_force_static(before, after, inputs[index])
            np.testing.assert_allclose(reference.apply(after, inputs[index]), expected, rtol=1e-4, atol=1e-4)


def test_a_range_for_all_has_zero_inside_and_covers_the_observations() -> None:
    rng = np.random.default_rng(3)
    policy = mlp((4, 6, 2), rng, activation=layers.Relu())
    x = np.abs(real(rng, 100, 4)) + 3
    small = compress(policy, "quantize(scheme='static')", given_observations(policy, x))
    for index, layer in enumerate(small.layers):
        if isinstance(layer, layers.QuantizedDense):
            assert isinstance(layer.input, layers.StaticRange)
            inputs = reference.layer_inputs(policy, x)[index]
            assert 0 <= layer.input.zero_point <= 255
            codes = np.rint(inputs * layer.input.inverse_scale) + layer.input.zero_point
            assert codes.min() >= 0
            assert codes.max() in (254, 255)


def test_a_range_far_from_zero_keeps_its_resolution() -> None:
    rng = np.random.default_rng(4)
    policy = mlp((3, 2), rng)
    x = (real(rng, 500, 3) * np.float32(0.01) + f32([50, -20, 0])).astype(np.float32)
    small = compress(policy, "quantize(scheme='static', input='per_dimension')", given_observations(policy, x))
    exact = reference.act(policy, x)
    spread = exact.std(axis=0)
    assert (np.abs(reference.act(small, x) - exact).max(axis=0) < 0.05 * spread).all()
    one_for_all = compress(policy, "quantize(scheme='static')", given_observations(policy, x))
    assert (np.abs(reference.act(one_for_all, x) - exact).mean(axis=0) > spread).all()


def test_an_input_that_never_changed_far_from_zero_leaves_the_others_their_resolution() -> None:
    rng = np.random.default_rng(5)
    policy = mlp((3, 2), rng)
    x = real(rng, 500, 3)
    x[:, 1] = 1234.5
    exact = reference.act(policy, x)
    small = compress(policy, "quantize(scheme='static', input='per_dimension')", given_observations(policy, x))
    assert np.abs(reference.act(small, x) - exact).max() < 0.1 * exact.std()


def test_bias_correction_restores_the_mean_output() -> None:
    rng = np.random.default_rng(6)
    policy = mlp((6, 16, 16, 3), rng, activation=layers.Relu())
    x = real(rng, 500, 6)
    exact = reference.act(policy, x).mean(axis=0)
    context = given_observations(policy, x)
    plain = compress(policy, "quantize(3, scheme='weight_only')", context)
    corrected = compress(policy, "quantize(3, scheme='weight_only', bias_correction=True)", context)
    assert np.abs(reference.act(plain, x).mean(axis=0) - exact).max() > 0.05
    assert np.abs(reference.act(corrected, x).mean(axis=0) - exact).max() < 1e-4


def test_least_squared_error_beats_the_largest_weight_at_few_bits() -> None:
    policy = mlp((32, 32, 2), np.random.default_rng(7))
    minmax, mse = (
        compress(policy, f"quantize(3, scheme='weight_only', calibration='{name}')") for name in ("minmax", "mse")
    )
    for before, one, other in zip(policy.layers, minmax.layers, mse.layers, strict=True):
        if isinstance(before, layers.Dense):
            assert isinstance(one, layers.QuantizedDense)
            assert isinstance(other, layers.QuantizedDense)
            errors = [np.square(layer.weight.dequantize() - before.weight).sum() for layer in (one, other)]
            assert errors[1] < errors[0]


@pytest.mark.parametrize("scheme", ["dynamic", "static", "weight_only"])
@pytest.mark.parametrize("padding", [0, 1])
def test_image_policies_keep_their_choices(scheme: str, padding: int) -> None:
    rng = np.random.default_rng(8)
    policy = image_policy(rng, padding=padding)
    x = rng.integers(0, 256, (200, 2, 9, 9)).astype(np.uint8)
    small = compress(policy, f"quantize(scheme='{scheme}', granularity='per_channel')", given_observations(policy, x))
    assert sum(isinstance(layer, layers.QuantizedConv2d) for layer in small.layers) == 2
    before, after = (reference.layer_inputs(p, x)[-2] for p in (policy, small))
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    if scheme == "static":
        ranges = [layer.input for layer in small.layers if isinstance(layer, layers.QuantizedConv2d)]
        assert all(
            isinstance(r, layers.StaticRange) and r.zero_point.shape == () and 0 <= r.zero_point <= 255 for r in ranges
        )


@pytest.mark.slow
@given(st.data())
def test_eight_bits_are_close_on_any_policy_and_every_recipe_is_finite(data: st.DataObject) -> None:
    policy = data.draw(policies(forms=("float32", "float16"), actions=("box",)))
    step = data.draw(quantizations(sources=st.just("on_policy")))
    x = plausible_observations(policy.observation_space, 64, np.random.default_rng(0))
    context = given_observations(policy, x)
    if step.input != "per_tensor" and not any(isinstance(layer, layers.Dense) for layer in policy.layers):
        return
    small = compress(policy, (step,), context)
    assert np.isfinite(reference.act(small, x)).all()
    assert set(small.weight_bits) == {step.weight_bits}
    if step.scheme == "static":
        step = dataclasses.replace(step, observations=64)
    finest = dataclasses.replace(
        step, weight_bits=8, activation_bits=8, granularity="per_channel", calibration="minmax", input="per_tensor"
    )
    before, after = (
        reference.layer_inputs(p, x)[_last_linear(p) + 1] for p in (policy, compress(policy, (finest,), context))
    )
    assert np.abs(before - after).mean() <= 0.05 * np.abs(before).max() + 1e-6


def _last_linear(policy: Policy) -> int:
    return max(index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))


def test_a_second_quantization_has_nothing_to_do() -> None:
    policy = mlp((3, 2), np.random.default_rng(9))
    with pytest.raises(NotApplicable, match="quantize: every linear layer is quantized already"):
        compress(policy, "quantize() | quantize(4)")


def test_static_ranges_need_observations() -> None:
    policy = mlp((3, 2), np.random.default_rng(10))
    with pytest.raises(
        LilliputError, match=r"needs calibration observations: name the environment \(--env ID\) or a file of them"
    ):
        compress(policy, "quantize(scheme='static')")


def test_layers_without_a_bias_stay_without_one_where_nothing_is_to_add() -> None:
    policy = mlp((3, 2), np.random.default_rng(11), has_bias=False)
    layer = compress(policy, "quantize()").layers[0]
    assert isinstance(layer, layers.QuantizedDense)
    assert layer.bias is None


def test_weights_that_are_all_zero_stay_zero() -> None:
    policy = mlp((3, 2), np.random.default_rng(12))
    zero = replace_layers(policy, (layers.Dense(np.zeros((2, 3), np.float32), f32([1, 2])),))
    x = real(np.random.default_rng(0), 20, 3)
    for recipe in ("quantize()", "quantize(scheme='static')", "quantize(2, scheme='weight_only', calibration='mse')"):
        np.testing.assert_array_equal(
            reference.act(compress(zero, recipe, given_observations(zero, x)), x), [[1, 2]] * 20
        )
