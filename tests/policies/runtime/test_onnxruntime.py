"""Running an ONNX artifact: any observation or a clear refusal, batches that are their rows, files from anywhere."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import helper, numpy_helper
from tests.arrays import f32
from tests.strategies import Form, plausible_observations, policies, random_linear

from lilliput.errors import LilliputError
from lilliput.policies import artifact, layers, reference, spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.export import export, open_artifact
from lilliput.policies.export.onnx import build
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy
from lilliput.policies.runtime.onnxruntime import BLOCK, OnnxActor

VECTOR = spaces.Box((3,), np.array(-np.inf), np.array(np.inf))


def policy_of(
    observation_space: spaces.ObservationSpace, action_space: spaces.ActionSpace, form: Form = "float32"
) -> Policy:
    rng = np.random.default_rng(0)
    x = spaces.network_input(observation_space, plausible_observations(observation_space, 32, rng)).reshape(32, -1)
    first: tuple[Layer, ...] = () if len(spaces.input_shape(observation_space)) == 1 else (layers.Flatten(),)
    match action_space:
        case spaces.Box(shape=shape):
            last: Layer = layers.ClipAction(f32(-1), f32(1))
            size = int(np.prod(shape))
        case spaces.Discrete(n=n):
            last, size = layers.ArgmaxAction((n,)), n
        case spaces.MultiDiscrete(sizes=sizes):
            last, size = layers.ArgmaxAction(sizes), sum(sizes)
    hidden = random_linear(x, form, rng, outputs=64)
    y = reference.apply(layers.Tanh(), reference.apply(hidden, x))
    return Policy(
        observation_space,
        action_space,
        (*first, hidden, layers.Tanh(), random_linear(y, form, rng, outputs=size), last),
    )


BOX = spaces.Box((2, 2), np.array(-1.0), np.array(1.0))
IMAGE = spaces.Box((1, 3, 3), np.array(0.0), np.array(255.0), "uint8")
DICT = spaces.Dict((("goal", spaces.Box((2,), np.array(-1.0), np.array(1.0))), ("body", VECTOR)))


def opened(tmp_path: Path, policy: Policy) -> OnnxActor:
    actor = open_artifact(export(policy, "onnx", tmp_path / "out").folder)
    assert isinstance(actor, OnnxActor)
    return actor


VALUES = [1.0, -2.0, 3.0]


@pytest.mark.parametrize(
    "observation",
    [
        np.array(VALUES, np.float32),
        np.array(VALUES, np.float64),
        np.array(VALUES, np.float16),
        np.array(VALUES, np.int64),
        np.array(VALUES, np.int8),
        np.array(VALUES, ">f8"),
        np.array(VALUES, np.longdouble),
        np.repeat(VALUES, 2)[::2],
        np.array(VALUES[::-1])[::-1],
        np.asfortranarray(np.array([VALUES, VALUES]))[1],
        np.ma.array(VALUES),
        VALUES,
        tuple(VALUES),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_numbers_of_any_kind_give_the_same_action(tmp_path: Path, observation: Any) -> None:
    policy = policy_of(VECTOR, BOX)
    act = opened(tmp_path, policy)
    expected = act(np.array(VALUES, np.float32))
    assert expected.dtype == np.float32
    assert expected.shape == (2, 2)
    np.testing.assert_allclose(expected, reference.act(policy, [VALUES])[0], atol=1e-5)
    assert act(observation).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(4), "the observation is float64[4]; the policy takes numbers of shape (3)"),
        (np.zeros((1, 3)), "is float64[1, 3]; the policy takes numbers of shape (3); act.batch takes several"),
        (np.zeros((5, 3)), "is float64[5, 3]; the policy takes numbers of shape (3); act.batch takes several"),
        (np.zeros(()), "the observation is float64[]; the policy takes numbers of shape (3)"),
        (np.array(["a", "b", "c"]), "the policy takes numbers of shape (3)"),
        (np.array([1j, 0, 0]), "the observation is complex128[3]; the policy takes numbers of shape (3)"),
        (np.array([{}, {}, {}]), "the observation is object[3]; the policy takes numbers of shape (3)"),
        (None, "the policy takes numbers of shape (3)"),
        ("abc", "the policy takes numbers of shape (3)"),
        ([[1], [2, 3]], "no array of numbers"),
        ({"goal": np.zeros(3)}, "the policy takes numbers of shape (n, 3)"),
    ],
)
def test_other_observations_are_refused(tmp_path: Path, observation: Any, message: str) -> None:
    act = opened(tmp_path, policy_of(VECTOR, BOX))
    with pytest.raises(LilliputError) as caught:
        act(observation)
    assert message in str(caught.value)
    with pytest.raises(LilliputError):
        act.batch([observation])
    assert act(np.zeros(3)).shape == (2, 2)


def test_an_action_is_the_callers_own(tmp_path: Path) -> None:
    act = opened(tmp_path, policy_of(VECTOR, BOX))
    first = act(np.array(VALUES))
    kept = first.copy()
    second = act(-np.array(VALUES))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    first[...] = 7
    np.testing.assert_array_equal(act(np.array(VALUES)), kept)


def test_choices_are_integers(tmp_path: Path) -> None:
    one = opened(tmp_path / "one", policy_of(VECTOR, spaces.Discrete(5)))
    assert type(one(np.array(VALUES))) is int
    assert one.batch([VALUES]).shape == (1,)
    several = opened(tmp_path / "several", policy_of(VECTOR, spaces.MultiDiscrete((3, 4))))
    choice = several(np.array(VALUES))
    assert (choice.shape, choice.dtype) == ((2,), np.int64)
    assert several.batch([VALUES]).tolist() == [choice.tolist()]


def test_a_dict_is_taken_by_key_or_as_one_vector(tmp_path: Path) -> None:
    act = opened(tmp_path, policy_of(DICT, BOX))
    observation = {"body": np.arange(3.0), "goal": [7.0, 8.0]}
    expected = act(np.array([7.0, 8.0, 0.0, 1.0, 2.0], np.float32))
    np.testing.assert_array_equal(act(observation), expected)
    batch = {"body": np.arange(3.0)[None], "goal": np.array([[7.0, 8.0]])}
    np.testing.assert_array_equal(act.batch(batch), expected[None])
    with pytest.raises(LilliputError, match="an observation has the keys body; the policy takes goal, body"):
        act({"body": np.arange(3.0)})


def test_an_image_is_bytes_or_whole_numbers(tmp_path: Path) -> None:
    act = opened(tmp_path, policy_of(IMAGE, BOX))
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3) * 31
    expected = act(image)
    np.testing.assert_array_equal(act(image.astype(np.float32)), expected)
    np.testing.assert_array_equal(act(image.astype(np.int64)), expected)
    for wrong in (image / 255, image.astype(np.int64) - 1, image * np.float32(np.nan)):
        with pytest.raises(LilliputError, match="the policy takes uint8"):
            act(wrong)


@settings(max_examples=30)
@given(policies())
def test_a_batch_is_its_rows(tmp_path_factory: pytest.TempPathFactory, policy: Policy) -> None:
    act = opened(tmp_path_factory.mktemp("batch"), policy)
    observations = plausible_observations(policy.observation_space, BLOCK + 5, np.random.default_rng(0))
    rows = np.array([act(row) for row in observations])
    for n in (0, 1, 2, BLOCK, BLOCK + 5):
        batch = act.batch(observations[:n])
        assert batch.dtype == (np.int64 if policy.is_discrete else np.float32)
        assert batch.shape == (n, *spaces.action_shape(policy.action_space))
        assert batch.tobytes() == rows[:n].astype(batch.dtype).tobytes()


@pytest.mark.parametrize("action_space", [BOX, spaces.Discrete(4)])
def test_ranges_of_each_observation_do_not_mix_in_a_batch(tmp_path: Path, action_space: spaces.ActionSpace) -> None:
    policy = policy_of(VECTOR, action_space, "dynamic")
    act = opened(tmp_path, policy)
    # One range for all would leave nothing of the small ones.
    observations = f32(np.random.default_rng(0).normal(size=(200, 3)) * np.logspace(-3, 3, 200)[:, None])
    batch = act.batch(observations)
    assert batch.tobytes() == np.array([act(row) for row in observations]).tobytes()
    off = np.abs(batch - reference.act(policy, observations)).reshape(200, -1).max(axis=1) > 0.02
    assert off.sum() <= 2
    assert not act._blocks_are_exact


def test_a_large_float_network_is_the_same_in_a_batch(tmp_path: Path) -> None:
    # Where blocks were taken without a look, matrix products would sum in another order.
    rng = np.random.default_rng(0)
    space = spaces.Box((376,), np.array(-np.inf), np.array(np.inf))
    x = plausible_observations(space, 70, rng)
    hidden = random_linear(x, "float32", rng, outputs=257)
    output = random_linear(np.ones((1, 257), np.float32), "float32", rng, outputs=17)
    action_space = spaces.Box((17,), np.array(-1.0), np.array(1.0))
    act = opened(tmp_path, Policy(space, action_space, (hidden, layers.Relu(), output, layers.SquashAction())))
    assert act.batch(x).tobytes() == np.array([act(row) for row in x]).tobytes()


def replaced(made: Artifact, data: bytes) -> Path:
    """The artifact with another model, its manifest in order: what someone else may hand one."""
    (made.folder / "model.onnx").write_bytes(data)
    path = made.folder / artifact.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["files"]["model.onnx"] = artifact.file_sha256(made.folder / "model.onnx")
    path.write_text(json.dumps(manifest))
    return made.folder


def external_data(model: onnx.ModelProto) -> None:
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="/etc/hostname")


def external_data_of_a_node(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(f32([1.0]), "t")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    model.graph.node.insert(0, helper.make_node("Identity", ["observation"], ["unused"], value=tensor))
    model.graph.node[0].op_type = "Relu"


def endless_loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("Loop", ["", ""], ["unused"], body=body))


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.evil"


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="d")


def sparse_constant(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def other_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", 1, ["batch"]))


def missing_constant(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0]


def wrong_length(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"123"


def from_the_future(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (external_data, "the model's constant has the field 13, which an artifact never has (external data, ...)"),
        (external_data_of_a_node, "the model's attribute has the field 5"),
        (endless_loop, "the model has the operator 'Loop'; an artifact holds only what `lilliput export` writes"),
        (custom_operator, "the model has operators of 'com.evil'; an artifact holds only standard ones"),
        (function, "the model's model has the field 25"),
        (sparse_constant, "the model's graph has the field 15"),
        (other_shape, ""),
        (fixed_batch, ""),
        (other_input, "its manifest says"),
        (missing_constant, "onnxruntime does not open it"),
        (wrong_length, "onnxruntime does not open it"),
        (from_the_future, "onnxruntime does not open it"),
    ],
)
def test_a_hostile_model_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], edit: Callable[[onnx.ModelProto], None], message: str
) -> None:
    policy = policy_of(VECTOR, BOX)
    made = export(policy, "onnx", tmp_path / "out")
    model = build(policy)
    edit(model)
    folder = replaced(made, model.SerializeToString())
    with pytest.raises(LilliputError) as caught:
        open_artifact(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"\x00", b"PK\x03\x04", b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"{}"])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    folder = replaced(export(policy_of(VECTOR, BOX), "onnx", tmp_path / "out"), data)
    with pytest.raises(LilliputError):
        open_artifact(folder)


def test_a_damaged_model_runs_or_is_refused(tmp_path: Path) -> None:
    policy = policy_of(VECTOR, BOX, "static")
    made = export(policy, "onnx", tmp_path / "out")
    data = (made.folder / "model.onnx").read_bytes()
    rng = np.random.default_rng(0)
    variants = [data[: int(end)] for end in rng.integers(0, len(data), 100)]
    for _ in range(300):
        mutated = bytearray(data)
        mutated[rng.integers(len(data))] = rng.integers(256)
        variants.append(bytes(mutated))
    refused = 0
    for variant in variants:
        folder = replaced(made, variant)
        try:
            assert open_artifact(folder)(np.zeros(3)).shape == (2, 2)
        except LilliputError:
            refused += 1
    assert refused > 100


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    made = export(policy_of(VECTOR, BOX), "onnx", tmp_path / "out")
    (made.folder / "model.onnx").unlink()
    with pytest.raises(LilliputError, match=r"model\.onnx is missing or was changed since the export; export again"):
        open_artifact(made.folder)


def test_a_process_that_serves_loads_no_onnx_package_and_starts_no_threads(tmp_path: Path) -> None:
    made = export(policy_of(VECTOR, BOX), "onnx", tmp_path / "out")
    program = (
        "import sys, os, numpy, onnxruntime; from lilliput.policies.export import open_artifact\n"
        f"before = len(os.listdir('/proc/self/task')); act = open_artifact({str(made.folder)!r}); act(numpy.zeros(3))\n"
        "print('onnx' in sys.modules, 'torch' in sys.modules, len(os.listdir('/proc/self/task')) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "0"]
