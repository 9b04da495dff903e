"""Models that Keras 2 and 3 saved (fixtures/load/training/make_keras.py), and what of them is refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dqn": ({"action": "discrete"}, ["Dense", "Relu", "Dense", "Elu", "Dense", "ArgmaxAction"]),
    "ddpg": (
        {"action": "continuous"},
        ["Dense", "LeakyRelu", "Dense", "LayerNorm", "Silu", "Dense", "SquashAction"],
    ),
    "actor_critic": ({"output": "action"}, ["Dense", "Relu", "Dense", "ArgmaxAction"]),
}
FILES = [f"keras{version}_{name}.{kind}" for version in (2, 3) for name in CASES for kind in ("keras", "h5")]


def _name(file: str) -> str:
    return file.partition("_")[2].partition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_a_model_acts_as_keras_has_it_act(file: str) -> None:
    said, wanted = CASES[_name(file)]
    policy = load_policy(FOLDER / file, **said)
    theirs = np.load(FOLDER / f"{file.partition('.')[0]}.npy")
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), theirs, atol=2e-6)
    assert len(np.unique(theirs)) > 1
    assert [type(layer).__name__ for layer in policy.layers] == wanted
    assert policy.provenance.framework == "keras"
    assert any("statistics, scaling and clipping are not in the file" in one for one in policy.provenance.guesses)


@pytest.mark.parametrize("file", [file for file in FILES if _name(file) != "actor_critic"])
def test_what_outputs_are_is_asked(file: str) -> None:
    with pytest.raises(LilliputError, match="does not say how its outputs become an action"):
        load_policy(FOLDER / file)
    with pytest.raises(LilliputError, match="needs no activation"):
        load_policy(FOLDER / file, **CASES[_name(file)][0], activation="relu")


def test_a_softmax_is_a_choice_and_of_two_outputs_one_is_named() -> None:
    for suffix in ("keras", "h5"):
        with pytest.raises(LilliputError, match=r"has the outputs action, critic; name the action's .*--output NAME"):
            load_policy(FOLDER / f"keras3_actor_critic.{suffix}")
    assert load_policy(FOLDER / "keras3_actor_critic.h5", output="action").action_space == spaces.Discrete(3)


@pytest.mark.parametrize("version", [2, 3])
def test_weights_alone_are_refused_with_the_way_out(version: int) -> None:
    with pytest.raises(LilliputError, match=r"weights of a Keras model, and not which layers .*model.save\('policy."):
        load_policy(FOLDER / f"keras{version}_only.weights.h5")


def _changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The .keras file of the DQN with another configuration."""
    with zipfile.ZipFile(FOLDER / "keras3_dqn.keras") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    model = json.loads(entries["config.json"])
    entries["config.json"] = json.dumps(change(model) or model).encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    path.write_bytes(held.getvalue())


def _set(index: int, **given: Any) -> Callable[[dict[str, Any]], Any]:
    def change(model: dict[str, Any]) -> None:
        model["config"]["layers"][index]["config"] |= given

    return change


def _layer(index: int, **given: Any) -> Callable[[dict[str, Any]], Any]:
    def change(model: dict[str, Any]) -> None:
        model["config"]["layers"][index] |= given

    return change


OWN = {"module": "builtins", "class_name": "function", "config": "my_relu", "registered_name": "function"}
REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an activation of one's own": (
        _set(1, activation=OWN),
        "has the activation .my_relu., which is code; supported: softmax, linear",
    ),
    "softplus": (_set(1, activation="softplus"), "has the activation 'softplus'"),
    "code": (_layer(2, class_name="Lambda"), "is a Lambda that is not read"),
    "a class of one's own": (_layer(1, registered_name="Custom>Dense"), "is of a class of its own"),
    "another package's": (_layer(1, module="my_layers"), "is of a class of its own, my_layers.Dense"),
    "another dtype": (_set(1, dtype={"class_name": "QuantizedDTypePolicy", "config": {}}), "computes in"),
    "no bias where there is one": (_set(1, use_bias=False), "has 2 arrays in dense, not kernel"),
    "the layers in another order": (lambda model: model["config"]["layers"].reverse(), "of dense|not of|has no"),
    "another name": (_set(1, name="other"), "holds the weights of 'dense', not of 'other'"),
    "a subclass": (lambda _: {"class_name": "MyModel", "config": {}}, "is a Keras model of the class 'MyModel'"),
    "no layers": (lambda _: {"class_name": "Sequential", "config": {"layers": []}}, "has 0 layers"),
    "an array": (lambda _: [1], "has no Keras model in its configuration"),
    "observations in a table": (_set(0, batch_shape=[None, 4, 5]), r"takes observations of shape \[4, 5\]"),
    "a ReLU that ends at 0": (_layer(2, class_name="ReLU", config={"name": "r", "max_value": 0.0}), "is a ReLU that"),
    "a slope beyond every float": (
        _layer(2, class_name="LeakyReLU", config={"name": "l", "negative_slope": 10**400}),
        "does not say its negative_slope, or none that float32 holds",
    ),
    "a softmax in the middle": (_set(2, activation="softmax"), "has layers behind its softmax"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_chain_of_known_layers_is_refused(what: str, tmp_path: Path) -> None:
    change, message = REFUSED[what]
    _changed(tmp_path / "policy.keras", change)
    with pytest.raises(LilliputError, match=message):
        load_policy(tmp_path / "policy.keras", action="discrete")


def test_values_that_are_joined_and_layers_that_are_used_twice_are_refused(tmp_path: Path) -> None:
    def node(*names: str) -> dict[str, Any]:
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in names]
        return {"args": tensors if len(names) == 1 else [tensors], "kwargs": {}}

    def functional(nodes: dict[str, list[dict[str, Any]]]) -> Callable[[dict[str, Any]], Any]:
        def change(model: dict[str, Any]) -> None:
            described = model["config"]["layers"]
            for layer in described:
                layer["inbound_nodes"] = nodes.get(layer["config"]["name"], [])
            last = described[-1]["config"]["name"]
            model["class_name"], model["config"]["output_layers"] = "Functional", [last, 0, 0]

        return change

    chain = {"dense": [node("input_layer")], "dense_1": [node("dense")], "dense_2": [node("dense_1")]}
    changes: dict[str, dict[str, list[dict[str, Any]]]] = {
        "joins 2 values": {**chain, "dense_2": [node("dense", "dense_1")]},
        "used more than once": {**chain, "dense_1": [node("dense"), node("dense")]},
        "do not follow one another": {**chain, "dense": [node("dense_2")]},
        "used more than once or with arguments": {**chain, "dense_1": [{**node("dense"), "kwargs": [1]}]},
        "is called with training": {**chain, "dense_1": [{**node("dense"), "kwargs": {"training": True}}]},
    }
    _changed(tmp_path / "policy.keras", functional(chain))
    whole = load_policy(tmp_path / "policy.keras", action="discrete")
    assert whole.digest == load_policy(FOLDER / "keras3_dqn.keras", action="discrete").digest
    for message, nodes in changes.items():
        _changed(tmp_path / "policy.keras", functional(nodes))
        with pytest.raises(LilliputError, match=message):
            load_policy(tmp_path / "policy.keras", action="discrete")


def test_one_array_that_many_layers_point_at_is_refused() -> None:
    """A small file of them would take any memory."""
    with pytest.raises(LilliputError, match="has layers that share their weights"):
        load_policy(FOLDER / "keras_shared.h5", action="discrete", plain=True)
