"""Quantized ONNX files: Lilliput's own come back to the bit, onnxruntime's are read where they fit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto
from tests.policies.load.onnx_models import build, f32, node
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.export import onnx as export
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policy=policies())
def test_every_exported_policy_loads_again_to_the_bit(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("again") / "model.onnx"
    try:
        path.write_bytes(export.build(policy).SerializeToString())
    except LilliputError:
        return
    again = load_policy(path)
    x = plausible_observations(policy.observation_space, 64, np.random.default_rng(0))
    assert reference.act(again, x).tobytes() == reference.act(policy, x).tobytes()
    assert type(again.action_space) is type(policy.action_space)


def network(activation: str, tmp_path: Path) -> Path:
    constants = {"w0": f32(6, 16, scale=0.5), "b0": f32(16), "w1": f32(16, 3, scale=0.3), "b1": f32(3)}
    nodes = [node("Gemm", "obs w0 b0", "h"), node(activation, "h", "a"), node("Gemm", "a w1 b1", "action")]
    path = tmp_path / "float.onnx"
    # onnxruntime's tools want a shape for the output.
    model = onnx.ModelProto.FromString(build(nodes, constants, ["n", 6]))
    for size in ("n", 3):
        dim = model.graph.output[0].type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
    path.write_bytes(model.SerializeToString())
    return path


def one_by_one(path: Path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    # Without it onnxruntime's products of uint8 and int8 saturate on processors with AVX2 and nothing newer.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options)
    return np.concatenate([np.asarray(session.run(None, {"obs": row[None]})[0]) for row in x])


class Calibration:
    """onnxruntime's CalibrationDataReader, by its shape."""

    def __init__(self) -> None:
        self.rows = iter(f32(64, 1, 6, seed=7))

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self.rows, None)
        return None if row is None else {"obs": row}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Any:
    quantization = pytest.importorskip("onnxruntime.quantization")
    import logging

    monkeypatch.setattr(logging.root, "disabled", True)
    return quantization


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_quantize_dynamic_is_read_as_it_is(tools: Any, activation: str, per_channel: bool, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.onnx"
    tools.quantize_dynamic(
        network(activation, tmp_path), path, weight_type=tools.QuantType.QInt8, per_channel=per_channel
    )
    policy = load_policy(path)
    assert [type(layer) for layer in policy.layers if isinstance(layer, layers.Linear)] == [layers.QuantizedDense] * 2
    x = f32(200, 6, seed=9)
    np.testing.assert_allclose(reference.act(policy, x), one_by_one(path, x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_quantize_static_is_read_up_to_single_codes(tools: Any, activation: str, signed: bool, tmp_path: Path) -> None:
    path = tmp_path / "static.onnx"
    kind = tools.QuantType.QInt8 if signed else tools.QuantType.QUInt8
    tools.quantize_static(
        network(activation, tmp_path), path, Calibration(), quant_format=tools.QuantFormat.QDQ, activation_type=kind
    )
    policy = load_policy(path)
    assert any("an identity of codes stands for each" in guess for guess in policy.provenance.guesses)
    x = f32(200, 6, seed=9)
    expected = one_by_one(path, x)
    apart = np.abs(reference.act(policy, x) - expected).max(axis=1)
    assert (apart < 1e-5).mean() > 0.95
    assert apart.max() < 0.05 * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore")
def test_what_does_not_fit_is_refused_with_the_reason(tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    tools.quantize_dynamic(network("Relu", tmp_path), path, weight_type=tools.QuantType.QUInt8)
    with pytest.raises(LilliputError, match=r"less their zero point, reach from .* quantize symmetrically"):
        load_policy(path)
    pool = [node("QLinearGlobalAveragePool", "obs w w w w", "action")]
    path.write_bytes(build(pool, {"w": f32(1)}, ["n", 6]))
    with pytest.raises(
        LilliputError, match=r"the operator QLinearGlobalAveragePool; supported: QLinearMatMul, .*QDQ form"
    ):
        load_policy(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
def test_the_form_of_operators_is_read_as_what_it_computes(
    tools: Any, activation: str, per_channel: bool, tmp_path: Path
) -> None:
    path = tmp_path / "operators.onnx"
    source = network(activation, tmp_path)
    tools.quantize_static(
        source, path, Calibration(), quant_format=tools.QuantFormat.QOperator, per_channel=per_channel,
        activation_type=tools.QuantType.QUInt8, weight_type=tools.QuantType.QInt8,
    )  # fmt: skip
    kinds = {one.op_type for one in onnx.load(path).graph.node}
    assert kinds & {"QGemm", "QLinearMatMul"}
    check_codes(load_policy(path), path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_unsigned_weights_are_read_as_the_numbers_that_they_stand_for(tools: Any, form: str, tmp_path: Path) -> None:
    path = tmp_path / "unsigned.onnx"
    tools.quantize_static(
        network("Relu", tmp_path), path, Calibration(), quant_format=tools.QuantFormat[form],
        activation_type=tools.QuantType.QUInt8, weight_type=tools.QuantType.QUInt8,
    )  # fmt: skip
    policy = load_policy(path)
    assert any("kept as the float32 numbers" in guess for guess in policy.provenance.guesses)
    check_codes(policy, path)


def test_convolutions_of_codes_are_read(tmp_path: Path) -> None:
    """QLinearConv with a scale a channel and a bias; codes of weights around a zero point."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.asarray(np.float32(0.05)), "z": np.asarray(np.uint8(128)),
        "k": rng.integers(-90, 90, (4, 2, 3, 3)).astype(np.int8), "ks": rng.uniform(0.002, 0.01, 4).astype(np.float32),
        "kz": np.zeros(4, np.int8), "ks0": np.asarray(np.float32(0.01)),
        "c": rng.integers(-2000, 2000, 4).astype(np.int32),
        "ys": np.asarray(np.float32(0.03)), "yz": np.asarray(np.uint8(0)),
        "w": rng.integers(-90, 90, (36, 3)).astype(np.int8),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "obs s z", "q"),
        node("QLinearConv", "q s z k ks kz ys yz c", "h"),
        node("Flatten", "h", "l"),
        node("DequantizeLinear", "l ys yz", "r"),
        node("DequantizeLinear", "w ks0", "rw"),
        node("MatMul", "r rw", "action"),
    ]
    path = tmp_path / "convolution.onnx"
    path.write_bytes(build(nodes, constants, ["n", 2, 5, 5]))
    policy = load_policy(path)
    assert isinstance(policy.layers[0], layers.QuantizedConv2d)
    x = f32(50, 2, 5, 5, seed=3)
    expected = one_by_one(path, x)
    assert np.abs(reference.act(policy, x) - expected).max() < 0.05 * np.abs(expected).max()


def check_codes(policy: Policy, path: Path) -> None:
    """Policy and file agree but for single codes."""
    x = f32(200, 6, seed=9)
    expected = one_by_one(path, x)
    apart = np.abs(reference.act(policy, x) - expected).max(axis=1)
    assert (apart < 1e-5).mean() > 0.9
    assert apart.max() < 0.05 * np.abs(expected).max()


def test_padding_with_another_number_than_zero_is_refused(tmp_path: Path) -> None:
    """ConvInteger without an input zero point pads with the code 0, which is a real number other than 0."""
    constants = {
        "one": np.asarray(np.float32(0.1)),
        "zero": np.asarray(np.uint8(7)),
        "k": np.ones((2, 1, 3, 3), np.int8),
        "scale": np.asarray(np.float32(0.01)),
        "w": f32(50, 3),
    }
    nodes = [
        node("QuantizeLinear", "obs one zero", "q"),
        node("ConvInteger", "q k", "s", pads=[1, 1, 1, 1]),
        node("Cast", "s", "f", to=TensorProto.FLOAT),
        node("Mul", "f scale", "c"),
        node("Flatten", "c", "l"),
        node("Gemm", "l w", "action"),
    ]
    path = tmp_path / "padded.onnx"
    path.write_bytes(build(nodes, constants, ["n", 1, 5, 5]))
    with pytest.raises(LilliputError, match="padded with another number than 0"):
        load_policy(path)
