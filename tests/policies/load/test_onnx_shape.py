"""ONNX files whose values take other shapes on their way: unbatched, cut, turned, put together; and external data."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32, loaded, node, ran

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy


def kinds(policy: Policy) -> list[str]:
    return [type(layer).__name__ for layer in policy.layers]


IMAGE = {"k": f32(8, 4, 3, 3, scale=0.3), "f": f32(200, 6, scale=0.1)}


@pytest.mark.parametrize(
    "flatten",
    [
        [node("Shape", "r", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n first", "n1"),
         node("Concat", "n1 minus", "to", axis=0), node("Reshape", "r to", "l")],
        [node("Reshape", "r wide", "l")],
        [node("Shape", "r", "s"), node("Slice", "s first one", "n1"), node("Concat", "n1 minus", "to", axis=0),
         node("Reshape", "r to", "l")],
        [node("Flatten", "r", "l", axis=-3)],
        [node("Transpose", "r", "t", perm=[0, 2, 3, 1]), node("Flatten", "t", "l")],
    ],
    ids=["view(size(0), -1)", "view(-1, 200)", "slice of the shape", "flatten", "channels last, as Keras"],
)  # fmt: skip
@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_an_image_is_flattened_in_every_way(flatten: list[Any], batch: Any, tmp_path: Path) -> None:
    shapes = {"zero": 0, "first": [0], "one": [1], "minus": [-1], "wide": [-1, 200]}
    constants = IMAGE | {key: np.array(value, np.int64) for key, value in shapes.items()}
    nodes = [
        node("Conv", "obs k", "c", strides=[2, 2]),
        node("Relu", "c", "r"),
        *flatten,
        node("MatMul", "l f", "action"),
    ]
    data = build(nodes, constants, [batch, 4, 12, 12])
    policy = loaded(data, tmp_path)
    rows = 6 if batch == "n" else batch
    x = f32(rows, 4, 12, 12, seed=2)
    expected = ran(data, x)
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=1e-5)
    assert kinds(policy) == ["Conv2d", "Relu", "Flatten", "Dense"]


def test_a_reshape_that_mixes_observations_is_refused(tmp_path: Path) -> None:
    nodes = [node("Reshape", "obs to", "o"), node("Gemm", "o w0 b0", "h"), *SIMPLE[1:]]
    constants = WEIGHTS | {"to": np.array([-1, 5])}
    with pytest.raises(LilliputError, match=r"several|mixes|parts of an observation"):
        loaded(build(nodes, constants, ["n", 2, 5]), tmp_path)


def test_one_observation_without_an_axis_for_them(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "obs w0", "m"),
        node("Add", "m b0", "h"),
        node("Tanh", "h", "a"),
        node("MatMul", "a wt", "action"),
    ]
    data = build(nodes, WEIGHTS | {"wt": np.ascontiguousarray(WEIGHTS["w1"].T)}, [5])
    policy = loaded(data, tmp_path)
    x = f32(20, 5, seed=4)
    expected = np.stack([ran(data, row) for row in x])
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=1e-6)
    assert spaces.action_shape(policy.action_space) == (3,)


@pytest.mark.parametrize(
    "cut",
    [
        [helper.make_node("Split", ["h"], ["mean", "std"], axis=-1)],
        [node("Slice", "h zero four last", "mean")],
        [node("Gather", "h firsts", "mean", axis=1)],
        [node("Concat", "h", "all", axis=1), node("Slice", "all zero four last", "mean")],
    ],
    ids=["chunk", "slice", "gather", "concat of one"],
)
def test_columns_of_the_last_layer_are_rows_of_its_weights(cut: list[Any], tmp_path: Path) -> None:
    """As brax and others write the mean beside the spread."""
    given = {"zero": [0], "four": [4], "last": [-1], "firsts": [0, 1, 2, 3]}
    constants = WEIGHTS | {key: np.array(value, np.int64) for key, value in given.items()}
    nodes = [node("Gemm", "obs w0 b0", "h"), *cut, node("Tanh", "mean", "action")]
    policy = loaded(build(nodes, constants, opset=13), tmp_path)
    assert kinds(policy) == ["Dense", "SquashAction"]
    x = f32(50, 5, seed=6)
    expected = np.tanh(x @ WEIGHTS["w0"][:, :4] + WEIGHTS["b0"][:4])
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=1e-6)


def test_another_order_of_the_observation_is_taken_into_the_weights(tmp_path: Path) -> None:
    order = np.array([4, 0, 3, 1, 2])
    nodes = [node("Gather", "obs order", "o", axis=1), node("Gemm", "o w0 b0", "h"), *SIMPLE[1:]]
    policy = loaded(build(nodes, WEIGHTS | {"order": order}), tmp_path)
    straight = loaded(build(SIMPLE, WEIGHTS), tmp_path)
    x = f32(50, 5, seed=6)
    np.testing.assert_allclose(reference.act(policy, x), reference.act(straight, x[:, order]), atol=1e-5)


def test_two_heads_become_one_layer(tmp_path: Path) -> None:
    constants = WEIGHTS | {"w2": f32(8, 2, seed=5), "low": np.float32(-1), "high": np.float32(1)}
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Gemm", "h w1 b1", "u", transB=1),
        node("Clip", "u low high", "c"),
        node("Gemm", "h w2", "v"),
        node("Concat", "v c", "action", axis=1),
    ]
    data = build(nodes, {key: np.asarray(value) for key, value in constants.items()})
    policy = loaded(data, tmp_path)
    x = f32(50, 5, scale=3.0, seed=6)
    expected = ran(data, x)
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=1e-5)


def test_an_image_with_its_channels_last_gets_the_wrapper_that_turns_it(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "obs", "f", to=TensorProto.FLOAT),
        node("Div", "f scale", "d"),
        node("Transpose", "d", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t k", "c", strides=[2, 2]),
        node("Flatten", "c", "l"),
        node("MatMul", "l f2", "action"),
    ]
    constants = {"k": IMAGE["k"], "f2": IMAGE["f"], "scale": np.asarray(np.float32(255))}
    data = build(nodes, constants, ["n", 12, 12, 4], TensorProto.UINT8)
    policy = loaded(data, tmp_path)
    assert spaces.input_shape(policy.observation_space) == (4, 12, 12)
    assert policy.provenance.wrappers == ("transpose_image",)
    x = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 4)).astype(np.uint8)
    expected = ran(data, x)
    np.testing.assert_allclose(reference.act(policy, x.transpose(0, 3, 1, 2)), expected, atol=1e-5)


def test_keras_turns_an_image_twice(tmp_path: Path) -> None:
    """tf2onnx: channels first for the convolution, channels last again before they are flattened."""
    nodes = [
        node("Transpose", "obs", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t k", "c", strides=[2, 2]),
        node("Relu", "c", "r"),
        node("Transpose", "r", "t2", perm=[0, 2, 3, 1]),
        node("Reshape", "t2 wide", "l"),
        node("MatMul", "l f", "m"),
        node("Add", "m b", "action"),
    ]
    data = build(nodes, IMAGE | {"wide": np.array([-1, 200]), "b": f32(6)}, ["n", 12, 12, 4])
    policy = loaded(data, tmp_path)
    x = f32(9, 12, 12, 4, seed=3)
    np.testing.assert_allclose(reference.act(policy, x.transpose(0, 3, 1, 2)), ran(data, x), atol=1e-5)


def with_inputs(nodes: list[Any], inputs: list[tuple[str, list[Any]]], constants: dict[str, np.ndarray]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def test_an_input_that_reaches_no_action_is_left_out(tmp_path: Path) -> None:
    data = with_inputs(SIMPLE, [("state_ins", ["n", 4]), ("obs", ["n", 5])], WEIGHTS)
    policy = loaded(data, tmp_path)
    assert spaces.input_shape(policy.observation_space) == (5,)


def test_several_inputs_are_one_observation_with_keys(tmp_path: Path) -> None:
    nodes = [node("Concat", "goal pose", "obs", axis=1), *SIMPLE]
    policy = loaded(with_inputs(nodes, [("pose", ["n", 3]), ("goal", ["n", 2])], WEIGHTS), tmp_path)
    assert isinstance(policy.observation_space, spaces.Dict)
    pose, goal = f32(9, 3, seed=1), f32(9, 2, seed=2)
    straight = loaded(build(SIMPLE, WEIGHTS), tmp_path)
    expected = reference.act(straight, np.concatenate([goal, pose], axis=1))
    np.testing.assert_allclose(reference.act(policy, {"pose": pose, "goal": goal}), expected, atol=1e-5)


def test_batch_normalization_is_over_the_second_axis(tmp_path: Path) -> None:
    """On an image whose width is its number of channels, and where it is not."""
    for width in (6, 9):
        parts = {"s": f32(6), "b": f32(6, seed=1), "m": f32(6, seed=2), "v": np.abs(f32(6, seed=3)) + np.float32(0.1)}
        constants = parts | {"k": f32(4, 6, 3, 3, scale=0.2), "w": f32(4 * 4 * (width - 2), 3, scale=0.2)}
        nodes = [
            node("BatchNormalization", "obs s b m v", "n"),
            node("Conv", "n k", "c"),
            node("Flatten", "c", "l"),
            node("Gemm", "l w", "action"),
        ]
        data = build(nodes, constants, ["n", 6, 6, width])
        x = f32(8, 6, 6, width, seed=5)
        expected = ran(data, x)
        np.testing.assert_allclose(reference.act(loaded(data, tmp_path), x), expected, atol=1e-4, rtol=1e-4)


def external(folder: Path, location: str, offset: int = 0, length: int | None = None) -> Path:
    """The simple model with its first weights, of 5 x 8 float32, in another file."""
    model = onnx.ModelProto.FromString(build(SIMPLE, WEIGHTS))
    tensor = model.graph.initializer[0]
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(len(raw) if length is None else length)}
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    raw = WEIGHTS["w0"].tobytes()
    (tmp_path / "model.onnx.data").write_bytes(bytes(64) + raw)
    policy = load_policy(external(tmp_path, "model.onnx.data", offset=64))
    inside = tmp_path / "inside.onnx"
    inside.write_bytes(build(SIMPLE, WEIGHTS))
    assert policy.digest == load_policy(inside).digest


@pytest.mark.parametrize(
    ("location", "changes", "message"),
    [
        ("../secret.bin", {}, "outside of the model's folder"),
        ("/etc/hostname", {}, "outside of the model's folder"),
        ("link.bin", {}, "a link out of the model's folder"),
        ("absent.data", {}, "is not beside the model; put both files into one folder"),
        ("short.data", {}, "takes 160 bytes from byte 0 on; 'short.data' has 100"),
        ("long.data", {"offset": 100}, "takes 160 bytes from byte 100 on"),
        ("long.data", {"length": 159}, "takes 160 bytes; 159 are announced"),
        ("a\nb", {}, "has no name"),
    ],
)
def test_weights_elsewhere_or_of_another_size_are_refused(
    location: str, changes: dict[str, int], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(160))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "short.data").write_bytes(bytes(100))
    (folder / "long.data").write_bytes(bytes(200))
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(external(folder, location, **changes))
    assert "\n" not in str(caught.value)
