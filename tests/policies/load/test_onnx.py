"""ONNX files against onnxruntime: what the file does is what the policy does."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tests.policies.load.onnx_models import N_OBSERVATIONS, SIMPLE, WEIGHTS, build, f32, loaded, node

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy


def check(data: bytes, tmp_path: Path, batch: np.ndarray | None = None, output: str = "action") -> Policy:
    """The loaded policy, once it acts as onnxruntime does."""
    policy = loaded(data, tmp_path)
    batch = f32(N_OBSERVATIONS, 5, scale=2.0, seed=9) if batch is None else batch
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run([output], {"obs": batch})[0])
    actual = reference.act(policy, batch)
    if policy.is_discrete:
        np.testing.assert_array_equal(actual, expected.reshape(actual.shape))
        assert len(np.unique(actual)) > 1
    else:
        np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-5)
    return policy


def names(policy: Policy) -> list[str]:
    return [type(layer).__name__ for layer in policy.layers]


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ([node("Relu", "h", "a")], layers.Relu),
        ([node("Tanh", "h", "a")], layers.Tanh),
        ([node("Sigmoid", "h", "a")], layers.Sigmoid),
        ([node("Elu", "h", "a", alpha=0.7)], layers.Elu),
        ([node("Selu", "h", "a")], layers.Elu),
        ([node("Selu", "h", "a", alpha=1.2, gamma=0.8)], layers.Elu),
        ([node("Celu", "h", "a", alpha=0.7)], layers.Elu),
        ([node("LeakyRelu", "h", "a", alpha=0.2)], layers.LeakyRelu),
        ([node("Clip", "h low high", "a")], layers.HardTanh),
        ([node("Clip", "h zero", "a")], layers.Relu),
        ([node("Max", "h zero", "a")], layers.Relu),
        ([node("Sigmoid", "h", "s"), node("Mul", "h s", "a")], layers.Silu),
        ([node("Sigmoid", "h", "s"), node("Mul", "s h", "a")], layers.Silu),
        (
            [
                node("Div", "h root", "d"),
                node("Erf", "d", "e"),
                node("Add", "e one", "p"),
                node("Mul", "h p", "q"),
                node("Mul", "q half", "a"),
            ],
            layers.Gelu,
        ),
        (
            [
                node("Mul", "h half", "d2"),
                node("Mul", "h iroot", "d"),
                node("Erf", "d", "e"),
                node("Add", "one e", "p"),
                node("Mul", "d2 p", "a"),
            ],
            layers.Gelu,
        ),
    ],
)
def test_activations(activation: list[Any], kind: type, tmp_path: Path) -> None:
    constants = WEIGHTS | {
        "zero": np.zeros((), np.float32),
        "low": np.full((), -0.5, np.float32),
        "high": np.full((), 0.75, np.float32),
        "root": np.sqrt(np.ones(1, np.float32) * 2),
        "iroot": np.full((), np.sqrt(np.float32(0.5)), np.float32),
        "one": np.ones((), np.float32),
        "half": np.full((), 0.5, np.float32),
    }
    nodes = [node("MatMul", "obs w0", "m"), node("Add", "m b0", "h"), *activation]
    policy = check(build([*nodes, node("Gemm", "a w1 b1", "action", transB=1)], constants), tmp_path)
    assert names(policy) == ["Dense", kind.__name__, "Dense"]


@pytest.mark.parametrize("cut", [("Clip", "h low"), ("Max", "h low"), ("Min", "h low")])
def test_values_cut_off_on_one_side_between_layers_are_refused(cut: tuple[str, str], tmp_path: Path) -> None:
    nodes = [node("Gemm", "obs w0 b0", "h"), node(*cut, "a"), node("Gemm", "a w1 b1", "action", transB=1)]
    with pytest.raises(LilliputError, match=r"between two layers are cut off on one side \(clamp, Clip, Min or Max"):
        loaded(build(nodes, WEIGHTS | {"low": np.full((), -0.5, np.float32)}), tmp_path)


def test_gelu_as_an_operator(tmp_path: Path) -> None:
    nodes = [node("Gemm", "obs w0 b0", "h"), node("Gelu", "h", "a"), node("Gemm", "a w1 b1", "action", transB=1)]
    assert names(check(build(nodes, WEIGHTS, opset=20), tmp_path)) == ["Dense", "Gelu", "Dense"]


def test_layer_norm_as_an_operator_and_spelled_out(tmp_path: Path) -> None:
    constants = WEIGHTS | {
        "g": f32(8, seed=3),
        "c": f32(8, seed=4),
        "two": np.full((), 2, np.float32),
        "eps": np.full((), 1e-5, np.float32),
    }
    tail = [node("Relu", "l", "a"), node("Gemm", "a w1 b1", "action", transB=1)]
    operator = [node("Gemm", "obs w0 b0", "h"), node("LayerNormalization", "h g c", "l", axis=-1, epsilon=1e-5), *tail]
    spelled = [
        node("Gemm", "obs w0 b0", "h"),
        node("ReduceMean", "h", "mean", axes=[-1]),
        node("Sub", "h mean", "x"),
        node("Pow", "x two", "xx"),
        node("ReduceMean", "xx", "var", axes=[-1]),
        node("Add", "var eps", "v"),
        node("Sqrt", "v", "s"),
        node("Div", "x s", "y"),
        node("Mul", "y g", "z"),
        node("Add", "z c", "l"),
        *tail,
    ]
    for nodes in (operator, spelled):
        assert names(check(build(nodes, constants), tmp_path)) == ["Dense", "LayerNorm", "Relu", "Dense"]


def test_the_whole_way_from_raw_observation_to_action(tmp_path: Path) -> None:
    constants = WEIGHTS | {
        "mean": f32(5, seed=5),
        "std": np.array([[0.5, 1, 2, 3, 4]], np.float32),
        "m10": np.full((), -2, np.float32),
        "p10": np.full((), 2, np.float32),
        "scale": np.array([2, 0.1, 1], np.float32),
        "offset": np.array([0, 0.2, -1], np.float32),
        "lo": np.array([-1.5, 0, -2], np.float32),
        "hi": np.array([1.5, 0.25, -0.5], np.float32),
    }
    nodes = [
        node("Sub", "obs mean", "x0"),
        node("Div", "x0 std", "x1"),
        node("Clip", "x1 m10 p10", "x2"),
        node("Gemm", "x2 w0 b0", "h"),
        node("Tanh", "h", "a"),
        node("Gemm", "a w1 b1", "u", transB=1, alpha=0.5, beta=2.0),
        node("Tanh", "u", "t"),
        node("Mul", "t scale", "y0"),
        node("Add", "y0 offset", "y1"),
        node("Max", "y1 lo", "y2"),
        node("Min", "hi y2", "action"),
    ]
    policy = check(build(nodes, constants), tmp_path)
    assert names(policy) == ["Standardize", "Dense", "Tanh", "Dense", "SquashAction", "RescaleAction", "ClipAction"]
    assert isinstance(policy.action_space, spaces.Box)
    np.testing.assert_allclose(policy.action_space.low, [-1.5, 0.1, -2.0], atol=1e-6)
    np.testing.assert_allclose(policy.action_space.high, [1.5, 0.25, -0.5], atol=1e-6)


@pytest.mark.parametrize(
    "tail", [["ArgMax"], ["Softmax", "ArgMax"], ["ArgMax", "Squeeze"], ["Softmax", "ArgMax", "Cast"]]
)
def test_choices(tail: list[str], tmp_path: Path) -> None:
    nodes = [node("Gemm", "obs w0 b0", "h"), node("Relu", "h", "a"), node("Gemm", "a w1 b1", "v0", transB=1)]
    constants = dict(WEIGHTS)
    for index, kind in enumerate(tail):
        output = "action" if kind is tail[-1] else f"v{index + 1}"
        match kind:
            case "ArgMax":
                nodes.append(node(kind, f"v{index}", output, axis=1, keepdims=int("Squeeze" in tail)))
            case "Squeeze":
                constants["axes"] = np.array([1], np.int64)
                nodes.append(node(kind, f"v{index} axes", output))
            case "Cast":
                nodes.append(node(kind, f"v{index}", output, to=TensorProto.INT32))
            case _:
                nodes.append(node(kind, f"v{index}", output, axis=-1))
    kind_of_output = TensorProto.INT32 if "Cast" in tail else TensorProto.INT64
    policy = check(build(nodes, constants, outputs=[("action", kind_of_output)]), tmp_path)
    assert policy.action_space == spaces.Discrete(3)


def test_a_convolutional_policy(tmp_path: Path) -> None:
    constants = {
        "scale": np.full((), 255, np.float32),
        "k0": f32(6, 3, 4, 4, scale=0.3),
        "c0": f32(6),
        "k1": f32(4, 6, 3, 3, scale=0.3),
        "gain": f32(4, seed=1),
        "bias": f32(4, seed=2),
        "mu": f32(4, seed=3),
        "var": np.array([0.5, 1, 2, 3], np.float32),
        "w": f32(4, 36, scale=0.3),
        "b": f32(4),
        "ch": f32(6, 1, 1, seed=4),
    }
    nodes = [
        node("Cast", "obs", "f", to=TensorProto.FLOAT),
        node("Div", "f scale", "x"),
        node("Conv", "x k0 c0", "h0", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Mul", "h0 ch", "h1"),
        node("Relu", "h1", "h2"),
        node("Conv", "h2 k1", "h3", strides=[1, 1]),
        node("BatchNormalization", "h3 gain bias mu var", "h4"),
        node("Elu", "h4", "h5"),
        node("Flatten", "h5", "h6"),
        node("Gemm", "h6 w b", "q", transB=1),
        node("ArgMax", "q", "action", axis=1, keepdims=0),
    ]
    data = build(nodes, constants, ["n", 3, 10, 10], TensorProto.UINT8, [("action", TensorProto.INT64)])
    batch = np.random.default_rng(0).integers(0, 256, (64, 3, 10, 10)).astype(np.uint8)
    policy = check(data, tmp_path, batch)
    assert names(policy) == ["Standardize", "Conv2d", "Relu", "Conv2d", "Elu", "Flatten", "Dense", "ArgmaxAction"]
    assert spaces.input_shape(policy.observation_space) == (3, 10, 10)


def test_constants_made_by_nodes(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "w0t", "w0", perm=[1, 0]),
        helper.make_node("Constant", [], ["b"], value_floats=[0.25] * 8),
        node("Identity", "b", "b0"),
        node("MatMul", "obs w0", "m"),
        node("Add", "b0 m", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a w1 b1", "action", transB=1),
    ]
    constants = {"w0t": np.ascontiguousarray(WEIGHTS["w0"].T), "w1": WEIGHTS["w1"], "b1": WEIGHTS["b1"]}
    assert names(check(build(nodes, constants), tmp_path)) == ["Dense", "Relu", "Dense"]


def test_the_action_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a wv", "value"),
        node("Gemm", "a w1 b1", "action", transB=1),
    ]
    data = build(
        nodes, WEIGHTS | {"wv": f32(8, 1)}, outputs=[("value", TensorProto.FLOAT), ("action", TensorProto.FLOAT)]
    )
    policy = check(data, tmp_path)
    assert any("several outputs" in guess for guess in policy.provenance.guesses)


def test_torch_s_own_exports(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import io
    import warnings

    nn = torch.nn
    torch.manual_seed(0)
    parts = [
        nn.Linear(5, 8),
        nn.LayerNorm(8),
        nn.SiLU(),
        nn.Linear(8, 8),
        nn.GELU(),
        nn.Linear(8, 3),
        nn.Hardtanh(-0.5, 0.5),
    ]
    for opset in (12, 17, 20):
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                nn.Sequential(*parts),
                torch.zeros(1, 5),
                stream,
                dynamo=False,
                opset_version=opset,
                input_names=["obs"],
                output_names=["action"],
                dynamic_axes={"obs": {0: "n"}},
            )
        check(stream.getvalue(), tmp_path)


@pytest.mark.slow
@pytest.mark.frameworks
def test_stable_baselines3_s_documented_export(tmp_path: Path) -> None:
    """Its guide exports policy(observation, deterministic=True), with distributions whose shapes ONNX works out."""
    torch = pytest.importorskip("torch")
    sb3 = pytest.importorskip("stable_baselines3")
    import io
    import warnings

    from gymnasium.spaces import Box, Discrete
    from tests.policies.load.frameworks import ACTIONS, Still, observations, predicted, shaken, vector

    class Deterministic(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, observation: Any) -> Any:
            return self.network(observation, deterministic=True)

    torch.manual_seed(0)
    small = {"buffer_size": 10}
    for algorithm, space, options in (
        (sb3.PPO, ACTIONS, {"n_steps": 8}),
        (sb3.PPO, Discrete(3), {"n_steps": 8}),
        (sb3.DQN, Discrete(3), small),
        (sb3.SAC, ACTIONS, small),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = shaken(algorithm("MlpPolicy", Still(vector(5), space), device="cpu", **options))
            stream = io.BytesIO()
            network = model.policy.actor if algorithm is sb3.SAC else model.policy
            torch.onnx.export(
                Deterministic(network),
                torch.zeros(1, 5),
                stream,
                dynamo=False,
                opset_version=17,
                input_names=["obs"],
                dynamic_axes={"obs": {0: "n"}},
            )
        policy = loaded(stream.getvalue(), tmp_path)
        batch = observations(vector(5))
        actions = reference.act(policy, batch)
        if isinstance(space, Box):
            # What the framework's predict does behind its network, the guide leaves to the user.
            actions = (
                model.policy.unscale_action(actions)
                if algorithm is sb3.SAC
                else np.clip(actions, space.low, space.high)
            )
        np.testing.assert_allclose(actions, predicted(model, batch), atol=2e-5)


def test_an_output_is_chosen_and_read_as_the_user_says(tmp_path: Path) -> None:
    nodes = [*SIMPLE, node("Gemm", "a w2", "other")]
    data = build(
        nodes,
        WEIGHTS | {"w2": f32(8, 4, seed=7)},
        outputs=[("action", TensorProto.FLOAT), ("other", TensorProto.FLOAT)],
    )
    path = tmp_path / "policy.onnx"
    path.write_bytes(data)
    chosen = load_policy(path, output="other", action="discrete")
    assert chosen.action_space == spaces.Discrete(4)
    batch = f32(N_OBSERVATIONS, 5, seed=9)
    values = onnxruntime.InferenceSession(data).run(["other"], {"obs": batch})[0]
    np.testing.assert_array_equal(reference.act(chosen, batch), np.asarray(values).argmax(axis=1))
    with pytest.raises(LilliputError, match="has no output 'mean'; it has 'action', 'other'"):
        load_policy(path, output="mean")
    with pytest.raises(LilliputError, match="action is 'box'; it must be"):
        load_policy(path, action="box")
