"""ONNX files that game engines and simulators run, written by their own exporters, against what their programs do.

`fixtures/load/training/make_unity.py` and `make_playground.py` made them; NAME.npy is what the program itself does on
1,000 observations (with a memory: one episode).
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
UNMASKED = "is taken as ones, which forbid nothing"
CHOICES: dict[str, tuple[int, ...]] = {"unity_branches": (3, 2, 4), "unity_memory": (3,)}


def test_sensors_that_are_normalized_one_by_one_become_one_observation() -> None:
    policy = load_policy(FOLDER / "unity_sensors.onnx")
    assert isinstance(policy.observation_space, spaces.Dict)
    wanted = np.load(FOLDER / "unity_sensors.npy")
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), wanted, atol=2e-6)
    assert wanted.std(axis=0).min() > 0.1


def test_playground_s_own_way_to_onnx_acts_as_brax() -> None:
    """Its notebook's Keras network through tf2onnx, with brax's parameters of the fixture beside it."""
    policy = load_policy(FOLDER / "playground.onnx")
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), np.load(FOLDER / "brax_ppo.npy"), atol=2e-6)


@pytest.mark.parametrize("name", CHOICES)
def test_branches_choose_as_with_nothing_masked_and_that_is_said(name: str) -> None:
    policy = load_policy(FOLDER / f"{name}.onnx")
    act = reference.act_episode if policy.has_memory else reference.act
    chosen = np.asarray(act(policy, OBSERVATIONS)).reshape(1000, -1)
    wanted = np.load(FOLDER / f"{name}.npy").reshape(1000, -1)
    assert (chosen == wanted).all(axis=1).mean() >= 0.999  # of nearly equal numbers another may be larger
    assert all(len(np.unique(column)) > 1 for column in wanted.T)
    found = policy.action_space
    sizes = (found.n,) if isinstance(found, spaces.Discrete) else getattr(found, "sizes", ())
    assert sizes == CHOICES[name]
    assert any(UNMASKED in guess for guess in policy.provenance.guesses)


def _two_kinds(folder: Path) -> Path:
    """A file with real actions and choices, as an agent of both kinds has."""
    nodes = [
        helper.make_node("MatMul", ["obs_0", "w"], ["continuous_actions"]),
        helper.make_node("MatMul", ["obs_0", "v"], ["scores"]),
        helper.make_node("Mul", ["scores", "action_masks"], ["allowed"]),
        helper.make_node("ArgMax", ["allowed"], ["discrete_actions"], axis=1),
    ]
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        nodes,
        "hybrid",
        [
            helper.make_tensor_value_info("obs_0", TensorProto.FLOAT, ["batch", 5]),
            helper.make_tensor_value_info("action_masks", TensorProto.FLOAT, ["batch", 3]),
        ],
        [
            helper.make_tensor_value_info("continuous_actions", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("discrete_actions", TensorProto.INT64, ["batch", 1]),
        ],
        [numpy_helper.from_array(rng.normal(size=(5, n)).astype(np.float32), name) for n, name in ((2, "w"), (3, "v"))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "h.onnx")
    return folder / "h.onnx"


def test_real_actions_beside_choices_are_no_action_of_one_kind(tmp_path: Path) -> None:
    path = _two_kinds(tmp_path)
    with pytest.raises(LilliputError, match=r"real actions and choices at once .*'discrete_actions'.*--output NAME"):
        load_policy(path)
    alone: dict[str, Any] = {
        name: load_policy(path, output=name) for name in ("continuous_actions", "discrete_actions")
    }
    assert isinstance(alone["continuous_actions"].action_space, spaces.Box)
    assert not any(UNMASKED in guess for guess in alone["continuous_actions"].provenance.guesses)
    assert alone["discrete_actions"].action_space == spaces.Discrete(3)
    assert any(UNMASKED in guess for guess in alone["discrete_actions"].provenance.guesses)


@pytest.mark.parametrize("name", ["invalid_action_mask", "last_action_mask"])
def test_a_mask_in_which_ones_forbid_or_of_another_step_is_not_taken_as_ones(tmp_path: Path, name: str) -> None:
    model = onnx.load(_two_kinds(tmp_path))
    model.graph.input[1].name = model.graph.node[2].input[1] = name
    model.graph.node[2].op_type = "Sub"
    onnx.save(model, tmp_path / "h.onnx")
    with pytest.raises(LilliputError, match="Sub joins two values"):
        load_policy(tmp_path / "h.onnx", output="discrete_actions")


FORBIDDING = {
    "by addition": (("Mul", "action_masks", "far"), ("Add", "scores", "part")),
    "by subtraction": (("Mul", "action_masks", "near"), ("Sub", "scores", "part")),
    "by a product": (("Sub", "one", "action_masks"), ("Mul", "scores", "part")),
}


@pytest.mark.parametrize("how", FORBIDDING)
@pytest.mark.parametrize("chooses", [True, False])
def test_a_mask_that_forbids_where_it_is_1_is_refused_whatever_its_name(
    how: str, chooses: bool, tmp_path: Path
) -> None:
    model = onnx.load(_two_kinds(tmp_path))
    (made, *first), (joined, *second) = FORBIDDING[how]
    graph = model.graph
    del graph.node[2]
    graph.node.insert(2, helper.make_node(made, first, ["part"]))
    graph.node.insert(3, helper.make_node(joined, second, ["allowed"]))
    for name, number in (("far", -1e9), ("near", 1e9), ("one", 1.0)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(number, np.float32), name))
    if not chooses:
        del graph.node[-1]
        graph.node[-1].output[0] = "logits"
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]))
    onnx.save(model, tmp_path / "h.onnx")
    with pytest.raises(
        LilliputError, match=r"'action_masks' forbids a choice where it is 1.*export the policy without"
    ):
        load_policy(tmp_path / "h.onnx", output="discrete_actions" if chooses else "logits")
    swapped = {"far": 1e9, "near": -1e9}  # now it allows where it is 1, less the same number for all
    for tensor in graph.initializer:
        if tensor.name in swapped:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(swapped[tensor.name] / 1e7, np.float32), tensor.name))
    onnx.save(model, tmp_path / "h.onnx")
    if how != "by a product":
        read = load_policy(tmp_path / "h.onnx", output="discrete_actions" if chooses else "logits")
        assert any(UNMASKED in guess for guess in read.provenance.guesses)


@pytest.mark.parametrize("size", ["choices", 1 << 40])
def test_a_mask_of_no_fixed_size_is_refused(tmp_path: Path, size: str | int) -> None:
    model = onnx.load(_two_kinds(tmp_path))
    dim = model.graph.input[1].type.tensor_type.shape.dim[1]
    if isinstance(size, str):
        dim.dim_param = size
    else:
        dim.dim_value = size
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(LilliputError, match="'action_masks' masks choices and has no fixed size"):
        load_policy(tmp_path / "free.onnx", output="discrete_actions")
