"""Which output of an ONNX file is the action."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32, loaded, node, ran

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy, onnx_output


@pytest.mark.parametrize(
    ("names", "action"),
    [
        (["value", "action"], "action"),
        (["actions", "log_prob"], "actions"),
        (["V", "pi"], "pi"),
        (["state_value", "action_mean"], "action_mean"),
        (["log_std", "mu"], "mu"),
        (["std", "means"], "means"),
        (["vf", "logits_0"], "logits_0"),
        (["continuous_actions", "deterministic_continuous_actions"], "deterministic_continuous_actions"),
        (["mean", "std", "value"], "mean"),
        (["output", "state_outs"], "output"),
        (["actionMean", "stdDev"], "actionMean"),
        (["StatefulPartitionedCall:0"], "StatefulPartitionedCall:0"),
        (["42"], "42"),
        (["value", "q_values"], "q_values"),
    ],
)
def test_the_name_tells(names: list[str], action: str) -> None:
    found, guess = onnx_output.choose(names, None, "'x.onnx'")
    assert found == action
    assert bool(guess) == (len(names) > 1)


@pytest.mark.parametrize(
    "names",
    [
        ["10", "9"],
        ["value"],
        ["log_std"],
        ["v", "value_2"],
        ["head_a", "head_b"],
        ["logits_0", "logits_1"],
        ["out", "7"],
        ["squashed_action", "mean", "std"],
    ],
)
def test_names_that_do_not_tell_are_refused_with_the_list(names: list[str]) -> None:
    with pytest.raises(
        LilliputError, match=r"which is the action cannot be told; name it \(output=, --output NAME\)"
    ) as e:
        onnx_output.choose(names, None, "'x.onnx'")
    assert all(repr(name) in str(e.value) for name in names)
    assert onnx_output.choose(names, names[0], "'x.onnx'") == (names[0], "")


def two_heads(first: str, second: str) -> bytes:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a wv", first),
        node("Gemm", "a w1 b1", second, transB=1),
    ]
    kinds = [(first, TensorProto.FLOAT), (second, TensorProto.FLOAT)]
    return build(nodes, WEIGHTS | {"wv": f32(8, 1, seed=1)}, outputs=kinds)


@pytest.mark.parametrize("between", [[], [node("Identity", "m", "mean")]])
@pytest.mark.parametrize("after", ["squashed_mean", "tanh_mu", "out"])
def test_a_mean_from_which_another_output_is_computed_is_not_taken_for_the_action(
    after: str, between: list[Any], tmp_path: Path
) -> None:
    """SAC's actor with the mean and its tanh, which is the action."""
    made = "m" if between else "mean"
    nodes = [*SIMPLE[:2], node("Gemm", "a w1 b1", made, transB=1), *between, node("Tanh", made, after)]
    (tmp_path / "policy.onnx").write_bytes(
        build(nodes, WEIGHTS, outputs=[("mean", TensorProto.FLOAT), (after, TensorProto.FLOAT)])
    )
    with pytest.raises(LilliputError, match=f"'mean' and '{after}', which is computed from it: .*--output NAME"):
        load_policy(tmp_path / "policy.onnx")
    for output, kinds in (("mean", 0), (after, 1)):
        policy = load_policy(tmp_path / "policy.onnx", output=output)
        assert sum(isinstance(layer, layers.SquashAction) for layer in policy.layers) == kinds


def test_the_value_is_never_taken_for_the_action(tmp_path: Path) -> None:
    policy = loaded(two_heads("value", "policy"), tmp_path)
    assert spaces.action_shape(policy.action_space) == (3,)
    assert any("by the others' names the action is 'policy'" in guess for guess in policy.provenance.guesses)
    with pytest.raises(LilliputError, match="has the outputs 'a1', 'a2'"):
        loaded(two_heads("a1", "a2"), tmp_path)


def test_named_scores_are_a_choice_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    data = two_heads("value", "action_logits")
    policy = loaded(data, tmp_path)
    assert policy.action_space == spaces.Discrete(3)
    assert any("is a number a choice" in guess for guess in policy.provenance.guesses)
    assert any("not as several choices (MultiDiscrete)" in guess for guess in policy.provenance.guesses)
    assert isinstance(load_policy(tmp_path / "policy.onnx", action="continuous").action_space, spaces.Box)


def test_constants_and_inputs_passed_through_are_no_action(tmp_path: Path) -> None:
    """As Unity ML-Agents and Godot RL write them."""
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a w1 b1", "mu", transB=1),
        node("RandomNormalLike", "mu", "noise"),
        node("Add", "mu noise", "continuous_actions"),
        node("Clip", "mu low high", "deterministic_continuous_actions"),
        node("Identity", "version", "version_number"),
    ]
    extra = {"low": np.float32(-1), "high": np.float32(1), "version": np.array([3], np.float32)}
    constants = WEIGHTS | {key: np.asarray(value) for key, value in extra.items()}
    names = ["version_number", "continuous_actions", "deterministic_continuous_actions"]
    data = build(nodes, constants, outputs=[(name, TensorProto.FLOAT) for name in names])
    policy = loaded(data, tmp_path)
    batch = f32(100, 5, seed=3)
    hidden = np.maximum(batch @ WEIGHTS["w0"] + WEIGHTS["b0"], 0)
    expected = np.clip(hidden @ WEIGHTS["w1"].T + WEIGHTS["b1"], -1, 1)
    np.testing.assert_allclose(reference.act(policy, batch), expected, atol=1e-5)
    with pytest.raises(LilliputError, match="drawn at random"):
        load_policy(tmp_path / "policy.onnx", output="continuous_actions")


@pytest.mark.parametrize("output", ["q_values", "out"])
def test_a_table_of_numbers_is_no_row_of_choices(output: str, tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a atoms", "flat"),
        node("Reshape", "flat shape", output),
    ]
    constants = WEIGHTS | {"atoms": f32(8, 6, seed=1), "shape": np.asarray([-1, 2, 3])}
    (tmp_path / "policy.onnx").write_bytes(build(nodes, constants, outputs=[(output, TensorProto.FLOAT)]))
    with pytest.raises(LilliputError, match=r"shape \[2, 3\] an observation: several numbers a choice"):
        load_policy(tmp_path / "policy.onnx", action=None if output == "q_values" else "discrete")


def test_a_dueling_network_is_a_choice_only_where_the_user_says_so(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a wv", "v"),
        node("Gemm", "a w1 b1", "adv", transB=1),
        node("ReduceMean", "adv", "mean", axes=[1], keepdims=1),
        node("Add", "v adv", "sum"),
        node("Sub", "sum mean", "out"),
    ]
    data = build(nodes, WEIGHTS | {"wv": f32(8, 1, seed=1)}, outputs=[("out", TensorProto.FLOAT)])
    with pytest.raises(LilliputError, match="--action discrete"):
        loaded(data, tmp_path)
    policy = load_policy(tmp_path / "policy.onnx", action="discrete")
    batch = f32(1000, 5, seed=3)
    hidden = np.maximum(batch @ WEIGHTS["w0"] + WEIGHTS["b0"], 0)
    np.testing.assert_array_equal(
        reference.act(policy, batch), (hidden @ WEIGHTS["w1"].T + WEIGHTS["b1"]).argmax(axis=1)
    )


@pytest.mark.parametrize("axis", [2, -1])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("batch", ["n", 1])
def test_an_argmax_of_each_row_is_a_multi_discrete_action(batch: Any, keep: int, axis: int, tmp_path: Path) -> None:
    nodes = [
        *SIMPLE[:2],
        node("Gemm", "a wt", "flat"),
        node("Reshape", "flat shape", "table"),
        node("ArgMax", "table", "action", axis=axis, keepdims=keep),
    ]
    constants = WEIGHTS | {"wt": f32(8, 6, seed=1), "shape": np.asarray([-1, 2, 3])}
    data = build(nodes, constants, [batch, 5], outputs=[("action", TensorProto.INT64)])
    policy = loaded(data, tmp_path)
    assert policy.action_space == spaces.MultiDiscrete((3, 3))
    x = f32(200, 5, seed=3)
    theirs = [ran(data, row[None]).reshape(2) for row in x]
    np.testing.assert_array_equal(reference.act(policy, x), theirs)
    columns = build([*nodes[:-1], node("ArgMax", "table", "action", axis=1)], constants, [batch, 5])
    with pytest.raises(LilliputError, match="over axis 1; supported: one choice from all of an observation, or one a"):
        loaded(columns, tmp_path)


def test_several_argmaxes_are_a_multi_discrete_action(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        helper.make_node("Split", ["h", "sizes"], ["first", "second"], axis=1),
        node("ArgMax", "first", "i", axis=1, keepdims=1),
        node("ArgMax", "second", "j", axis=1, keepdims=0),
        node("Unsqueeze", "j one", "j2"),
        node("Concat", "j2 i", "action", axis=1),
    ]
    constants = WEIGHTS | {"sizes": np.array([5, 3]), "one": np.array([1])}
    policy = loaded(build(nodes, constants, outputs=[("action", TensorProto.INT64)]), tmp_path)
    assert policy.action_space == spaces.MultiDiscrete((3, 5))
    batch = f32(500, 5, seed=2)
    h = batch @ WEIGHTS["w0"] + WEIGHTS["b0"]
    expected = np.stack([h[:, 5:].argmax(axis=1), h[:, :5].argmax(axis=1)], axis=1)
    np.testing.assert_array_equal(reference.act(policy, batch), expected)


def remembering(state: str, dims: list[str | int | None] | None) -> bytes:
    """An Elman network: what it remembers is an input, and what it gives to remember an output."""
    nodes = [
        node("Concat", "obs before", "c", axis=1),
        node("MatMul", "c wh", "p"),
        node("Tanh", "p", state),
        node("MatMul", f"{state} wo", "action"),
    ]
    outputs = [
        helper.make_tensor_value_info("action", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info(state, TensorProto.FLOAT, dims),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 5]) for name in ("obs", "before")]
    weights = [numpy_helper.from_array(f32(*size), name) for name, size in (("wh", (10, 5)), ("wo", (5, 3)))]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("name", ["h_out", "hidden", "nextState", "cx", "lstm_1"])
def test_an_output_that_is_named_as_a_memory_beside_several_inputs_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=rf"the output '{name}' beside several inputs .obs, before., .*a memory"):
        loaded(remembering(name, ["n", 5]), tmp_path)


@pytest.mark.parametrize("dims", [["n", 5], None])
def test_an_output_of_an_input_s_shape_is_said_to_go_nowhere(
    dims: list[str | int | None] | None, tmp_path: Path
) -> None:
    said = [one for one in loaded(remembering("y", dims), tmp_path).provenance.guesses if "goes back in" in one]
    assert [one.partition(":")[0] for one in said] == ["the output 'y' may be what goes back in as 'before'"]
    assert not [one for one in loaded(remembering("value", dims), tmp_path).provenance.guesses if "goes back in" in one]


@pytest.mark.parametrize(("mean", "spread", "said"), [("mean", "log_std", 1), ("mu", "sigma", 1), ("action", "std", 0)])
def test_a_mean_beside_a_spread_that_varies_may_be_sac_s(mean: str, spread: str, said: int, tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "obs w0 b0", "h"),
        node("Relu", "h", "a"),
        node("Gemm", "a w1 b1", mean, transB=1),
        node("Gemm", "a w1 b1", spread, transB=1),
    ]
    data = build(nodes, WEIGHTS, outputs=[(name, TensorProto.FLOAT) for name in (mean, spread)])
    assert sum("as in SAC" in one for one in loaded(data, tmp_path).provenance.guesses) == said
    squashed = [*nodes[:2], node("Gemm", "a w1 b1", "m", transB=1), node("Tanh", "m", mean), nodes[3]]
    data = build(squashed, WEIGHTS, outputs=[(name, TensorProto.FLOAT) for name in (mean, spread)])
    assert not [one for one in loaded(data, tmp_path).provenance.guesses if "as in SAC" in one]
