"""What files beside a robot's policy say of its numbers: told, and on request done by the policy itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build

from lilliput.cli.show import text
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import reference, spaces
from lilliput.policies.export import export
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_policy

DEPLOY: dict[str, Any] = {
    "joint_ids_map": [2, 0, 1],
    "step_dt": 0.02,
    "default_joint_pos": [0.1, -0.2, 0.3],
    "actions": {
        "JointPositionAction": {
            "clip": [[-1.0, 1.0], [-0.5, 0.5], [-2.0, 2.0]],
            "joint_names": [".*"],
            "scale": [0.25, 0.5, -0.25],
            "offset": [0.1, -0.2, 0.3],
            "joint_ids": None,
        }
    },
    "observations": {
        "base_ang_vel": {"params": {}, "clip": [-1.0, 1.0], "scale": [0.2], "history_length": 3},
        "joint_pos_rel": {"params": {}, "clip": None, "scale": [1.0, 2.0], "history_length": 1},
    },
}
X = np.random.default_rng(0).normal(0, 2, (100, 5)).astype(np.float32)


def network(x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ WEIGHTS["w0"] + WEIGHTS["b0"], 0) @ WEIGHTS["w1"].T + WEIGHTS["b1"]


def written(folder: Path, metadata: dict[str, str] | None = None, deploy: dict[str, Any] | None = None) -> Path:
    model = onnx.ModelProto.FromString(build(SIMPLE, WEIGHTS))
    onnx.helper.set_model_props(model, metadata or {})
    path = folder / "policy.onnx"
    path.write_bytes(model.SerializeToString())
    if deploy is not None:
        (folder / "params").mkdir(exist_ok=True)
        (folder / "params" / "deploy.yaml").write_text(json.dumps(deploy))  # JSON is YAML
    return path


def test_what_stands_beside_a_policy_is_told_and_not_done(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "exported").mkdir(parents=True)
    path = written(run / "exported")
    (run / "params").mkdir()
    (run / "params" / "env.yaml").write_text(
        "decimation: 4\nsim:\n  dt: 0.005\n  physx: {solver: 1}\nactions:\n  joint_pos: {scale: 0.5, offset: 0.0}\n"
        "scene: {robot: {init_state: {joint_pos: {'.*_hip': 0.1}}}}\n"
    )
    (run / "params" / "agent.yaml").write_text("clip_actions: 100.0\nseed: 42\npolicy: {activation: elu}\n")
    policy = load_policy(path)
    said = dict(policy.provenance.contract)
    assert said["env.yaml: actions.joint_pos.scale"] == "0.5"
    assert said["env.yaml: scene.robot.init_state.joint_pos..*_hip"] == "0.1"
    assert said["agent.yaml: clip_actions"] == "100.0"
    assert not [key for key in said if "physx" in key or "seed" in key]
    assert "env.yaml: sim.dt: 0.005" in text(Checkpoint(policy))
    np.testing.assert_allclose(reference.act(policy, X), network(X), atol=1e-4)
    (run / "params" / "env.yaml").write_text("a: [")
    assert any("env.yaml is not readable YAML" in guess for guess in load_policy(path).provenance.guesses)
    (run / "params" / "env.yaml").write_text("decimation: 4\nsim: {dt: 0.005}\ndecimation: 8\n")
    assert any("env.yaml says a setting of one name twice" in guess for guess in load_policy(path).provenance.guesses)
    with pytest.raises(LilliputError, match=r"does not say how its action is scaled and moved .it says agent.yaml"):
        load_policy(path, contract="inside")


def test_a_deploy_file_is_done_inside(tmp_path: Path) -> None:
    path = written(tmp_path, deploy=DEPLOY)
    policy = load_policy(path, contract="inside")
    action, scale = DEPLOY["actions"]["JointPositionAction"], np.array([0.2, 0.2, 0.2, 1.0, 2.0])
    seen = np.concatenate([np.clip(X[:, :3], -1, 1), X[:, 3:]], axis=1) * scale
    wanted = np.clip(network(seen) * action["scale"] + action["offset"], *np.transpose(action["clip"]))
    np.testing.assert_allclose(reference.act(policy, X), wanted, atol=1e-4)
    assert (np.abs(wanted[:, 1]) == 0.5).any()
    assert isinstance(policy.action_space, spaces.Box)
    np.testing.assert_allclose(policy.action_space.high, [1.0, 0.5, 2.0])
    assert any("the last action, that stays the network's own" in guess for guess in policy.provenance.guesses)
    policy_file.write(policy, tmp_path / "policy.lilliput")
    again = load_policy(tmp_path / "policy.lilliput")
    assert again.digest == policy.digest
    with pytest.raises(LilliputError, match="has its contract inside already"):
        load_policy(tmp_path / "policy.lilliput", contract="inside")
    made = export(again, "onnx", tmp_path / "out")
    assert dict(made.manifest.contract)["inside"].startswith("deploy.yaml: actions.JointPositionAction: action = raw")


def test_histories_frame_by_frame_and_clips_behind_the_scale_are_done_as_the_file_says(tmp_path: Path) -> None:
    two = {
        "use_gym_history": True,
        "a": {"scale": [2.0], "clip": [-1.0, 1.0], "history_length": 2, "scale_first": True},
        "b": {"scale": [0.5], "clip": [-1.0, 1.0], "history_length": 2},
    }
    model = onnx.ModelProto.FromString(build(SIMPLE, {**WEIGHTS, "w0": WEIGHTS["w0"][:4]}))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    path = written(tmp_path, deploy=changed(observations=two))
    path.write_bytes(model.SerializeToString())
    x = X[:, :4].astype(np.float64)
    a, b = np.clip(x[:, ::2] * 2, -1, 1), np.clip(x[:, 1::2], -1, 1) * 0.5
    seen = np.stack([a[:, 0], b[:, 0], a[:, 1], b[:, 1]], axis=1)
    raw = np.maximum(seen @ WEIGHTS["w0"][:4] + WEIGHTS["b0"], 0) @ WEIGHTS["w1"].T + WEIGHTS["b1"]
    wanted = np.clip(raw * ONE["scale"] + ONE["offset"], *np.transpose(ONE["clip"]))
    np.testing.assert_allclose(reference.act(load_policy(path, contract="inside"), X[:, :4]), wanted, atol=1e-4)
    two["use_gym_history"] = False
    written(tmp_path, deploy=changed(observations=two))
    path.write_bytes(model.SerializeToString())
    a, b = np.clip(x[:, :2] * 2, -1, 1), np.clip(x[:, 2:], -1, 1) * 0.5
    raw = np.maximum(np.hstack([a, b]) @ WEIGHTS["w0"][:4] + WEIGHTS["b0"], 0) @ WEIGHTS["w1"].T + WEIGHTS["b1"]
    wanted = np.clip(raw * ONE["scale"] + ONE["offset"], *np.transpose(ONE["clip"]))
    np.testing.assert_allclose(reference.act(load_policy(path, contract="inside"), X[:, :4]), wanted, atol=1e-4)


def test_the_metadata_of_an_onnx_file_is_done_inside(tmp_path: Path) -> None:
    said = {"action_scale": "0.250,0.500,0.250", "default_joint_pos": "0.100,-0.200,0.300", "joint_names": "a,b,c"}
    policy = load_policy(written(tmp_path, said), contract="inside")
    np.testing.assert_allclose(reference.act(policy, X), network(X) * [0.25, 0.5, 0.25] + [0.1, -0.2, 0.3], atol=1e-4)
    one = load_policy(written(tmp_path, {**said, "action_scale": "0.5"}), contract="inside")
    np.testing.assert_allclose(reference.act(one, X), network(X) * 0.5 + [0.1, -0.2, 0.3], atol=1e-4)


def changed(**parts: Any) -> dict[str, Any]:
    return {**DEPLOY, **parts}


def action(**parts: Any) -> dict[str, Any]:
    return changed(actions={"JointPositionAction": {**ONE, **parts}})


def readings(**parts: Any) -> dict[str, Any]:
    seen = DEPLOY["observations"]
    return changed(observations={**seen, "joint_pos_rel": {**seen["joint_pos_rel"], **parts}})


ONE = DEPLOY["actions"]["JointPositionAction"]
SAID = {"action_scale": "0.5", "default_joint_pos": "0.1,0.2,0.3", "joint_names": "a,b,c"}


@pytest.mark.parametrize(
    ("metadata", "deploy", "message"),
    [
        ({}, None, r"does not say how its action is scaled and moved .it says nothing"),
        (
            {"action_scale": "0.5", "default_joint_pos": "0.1,0.2"},
            None,
            "default_joint_pos of the contract is 0.1,0.2; 3 numbers",
        ),
        ({"action_scale": "half", "default_joint_pos": "0"}, None, "says 'half' where action_scale should be numbers"),
        ({}, changed(actions={"a": ONE, "b": ONE}), "has several actions .a, b.; supported: one"),
        ({}, action(scale=[1.0] * 12), r"JointPositionAction.scale of the contract is 1.0,.*; 3 numbers"),
        (
            {},
            changed(actions={"RelativeJointPositionAction": ONE}),
            "class 'RelativeJointPositionAction', which may do",
        ),
        ({}, changed(actions={"JointPositionAction": {"scale": 0.5}}), "has no offset; write it there, 0 where"),
        (SAID, changed(actions={"JointPositionAction": {"offset": 0.5}}), "has no scale; write it there, 1 where"),
        (SAID, changed(actions={"JointPositionAction": None}), "JointPositionAction has no scale; write it there"),
        (SAID, action(scale=None), "JointPositionAction has no scale; write it there"),
        ({}, action(alpha=0.5), "actions.JointPositionAction.alpha is 0.5, which is not read here"),
        ({}, action(rescale_to_limits=True), "rescale_to_limits is true, which is not read here"),
        ({}, changed(action_filter={"cutoff": 5.0}), "action_filter.cutoff is 5.0, which is not read here"),
        ({}, readings(lag=2), "observations.joint_pos_rel.lag is 2, which is not read here"),
        (
            {},
            changed(observations={"obs": DEPLOY["observations"]}),
            "observations.obs.base_ang_vel.*, which is not read",
        ),
        ({}, readings(scale=None), r"takes .5. numbers, and deploy.yaml tells of 6"),
        ({}, readings(history_length=10**9), "history_length is 1000000000; it must be a whole number"),
        ({}, readings(history_length="\u00b2"), "history_length is .; it must be a whole number"),
        (
            {},
            changed(observations={**DEPLOY["observations"], "use_gym_history": True}),
            r"histories of \[3, 1\] steps, frame by frame",
        ),
        ({**SAID, "action_offset": "0,0,0"}, None, "the contract says that action_offset is 0,0,0, which is not read"),
        ({**SAID, "action_joint_names": "c,b,a"}, None, "action_joint_names is c,b,a, which is not read here"),
        ({**SAID, "observation_scales": "2"}, None, "observation_scales is 2, which is not read here"),
        (
            {},
            changed(observations={"x": {"scale": [1.0] * 4, "history_length": 1}}),
            "takes .5. numbers, and deploy.yaml tells of 4",
        ),
        ({}, changed(observations={"x": {"scale": [1.0] * 5, "clip": [-1.0, 2.0]}}), "supported: from -c to c"),
        ({}, changed(observations={"x": {"scale": [0.0] * 5}}), "scale has a 0"),
    ],
)
def test_a_contract_that_does_not_fit_refuses(
    metadata: dict[str, str], deploy: dict[str, Any] | None, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, metadata, deploy)
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path, contract="inside")
    assert "\n" not in str(caught.value)
    assert load_policy(path)


def props(path: Path, *pairs: tuple[str, str]) -> Path:
    """The file with these entries of metadata, whose keys may be the same."""
    model = onnx.ModelProto.FromString(path.read_bytes())
    for key, value in pairs:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path


def test_metadata_in_two_ways_or_too_long_is_told_and_never_acted_on(tmp_path: Path) -> None:
    path = props(written(tmp_path, SAID), ("action_scale", "0.25"), ("joint_names", "a,b,c"))
    said = dict(load_policy(path).provenance.contract)
    assert said["action_scale"] == "(twice in the file and not the same: not kept)"
    assert said["joint_names"] == "a,b,c"  # the same twice
    with pytest.raises(
        LilliputError, match=r"says '.twice in the file and not the same: not kept.' where action_scale"
    ):
        load_policy(path, contract="inside")
    long = props(written(tmp_path, {"action_scale": "0.5"}), ("default_joint_pos", "0.5," * 9000), ("k" * 300, "v"))
    said = dict(load_policy(long).provenance.contract)
    assert said["default_joint_pos"] == "(36000 characters: not kept)"
    assert said["k" * 80 + "... (300 characters)"] == "v"
    with pytest.raises(LilliputError, match=r"says '.36000 characters: not kept.' where default_joint_pos"):
        load_policy(long, contract="inside")
