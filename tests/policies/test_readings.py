"""Where the last action stands and how readings are scaled, as what stands beside a policy tells it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32
from tests.policies.load.test_contract import ONE

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import last_action, layers, reference
from lilliput.policies.export import check, export
from lilliput.policies.load import load_policy
from lilliput.policies.readings import names

N = 12
STEPS = 50
W0 = 0.3 * f32(N, 8)
OBSERVATIONS: dict[str, Any] = {
    "base_ang_vel": {"params": {}, "clip": None, "scale": [0.2, 0.2, 0.2], "history_length": 1},
    "last_action": {"params": {}, "clip": None, "scale": [1.0, 1.0, 1.0], "history_length": 2},
    "joint_pos_rel": {"params": {}, "clip": [-2.0, 2.0], "scale": [1.0, 0.5, 1.0], "history_length": 1},
}
METADATA = {
    "joint_names": "a,b,c",
    "default_joint_pos": "0.100,-0.200,0.300",
    "command_names": "twist",
    "action_scale": "0.250,0.500,0.250",
    "observation_names": "joint_pos,actions,joint_vel,command",
    "observation_terms_scale": "1.000,1.000,0.050,2.000;2.000;0.250",
    "observation_terms_flatten_history_dim": "1.000,1.000,1.000,1.000",
    "observation_terms_history_length": "0.000,0.000,0.000,1.000",
    "observation_terms_clip": "-inf;inf,-inf;inf,-3.000;3.000,-inf;inf",
}
"""As mjlab 1.6 writes it."""


def network(x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ W0 + WEIGHTS["b0"], 0) @ (0.3 * WEIGHTS["w1"]).T + WEIGHTS["b1"]


def written(
    folder: Path, metadata: dict[str, str] | None = None, observations: Any = None, agent: dict[str, Any] | None = None
) -> Path:
    model = onnx.ModelProto.FromString(build(SIMPLE, {**WEIGHTS, "w0": W0, "w1": 0.3 * WEIGHTS["w1"]}, ("n", N)))
    onnx.helper.set_model_props(model, metadata or {})
    path = folder / "policy.onnx"
    path.write_bytes(model.SerializeToString())
    if observations is not None:
        deploy = {"default_joint_pos": [0, 0, 0], "actions": {"JointPositionAction": ONE}, "observations": observations}
        (folder / "deploy.yaml").write_text(json.dumps(deploy))  # JSON is YAML
    if agent is not None:
        (folder / "params").mkdir()
        (folder / "params" / "agent.yaml").write_text(json.dumps(agent))
    return path


def changed(term: str, **parts: Any) -> dict[str, Any]:
    return {**OBSERVATIONS, term: {**OBSERVATIONS[term], **parts}}


def test_a_deploy_file_tells_where_the_last_actions_stand(tmp_path: Path) -> None:
    """Oracle: the network in numpy, and a loop around it that puts them there."""
    path = written(tmp_path, observations=OBSERVATIONS)
    plain = load_policy(path)
    assert not plain.has_memory
    assert (
        "the observation holds the last action at 3:9: --previous-action 3:9 remembers it" in plain.provenance.guesses
    )
    own = load_policy(path, previous_action="contract")
    assert own.digest == load_policy(path, previous_action=(3, 9)).digest
    assert any(
        "numbers 3 to 8 of the observation are taken for the policy's last actions, 2 steps (deploy.yaml: "
        "observations.last_action)" in guess
        for guess in own.provenance.guesses
    )
    x = np.random.default_rng(0).normal(0, 2, (STEPS, N)).astype(np.float32)
    last, wanted = np.zeros((2, 3)), []
    for row in x:
        wanted.append(network(np.concatenate([row[:3], last.reshape(-1), row[9:]])[None])[0])
        last = np.stack([last[1], wanted[-1]])
    np.testing.assert_allclose(reference.act_episode(own, x), wanted, rtol=1e-4, atol=1e-4)
    policy_file.write(plain, tmp_path / "plain.lilliput")
    assert load_policy(tmp_path / "plain.lilliput", previous_action="contract").digest == own.digest


def test_the_readings_of_an_onnx_file_are_clipped_and_scaled_as_it_says(tmp_path: Path) -> None:
    """Oracle: numpy in the order of mjlab's observation manager: clip, scale, network, action_scale and default."""
    path = written(tmp_path, METADATA)
    own = load_policy(path, contract="inside", previous_action="contract")
    assert next(one for one in own.layers if isinstance(one, layers.PreviousAction)).start == 3
    x = np.random.default_rng(0).normal(0, 4, (STEPS, N)).astype(np.float32)
    last, wanted = np.zeros(3), []
    for row in x:
        velocity, command = np.clip(row[6:9], -3, 3) * 0.05, row[9:] * [2, 2, 0.25]
        last = network(np.concatenate([row[:3], last, velocity, command])[None])[0]
        wanted.append(last * [0.25, 0.5, 0.25] + [0.1, -0.2, 0.3])
    np.testing.assert_allclose(reference.act_episode(own, x), wanted, rtol=1e-4, atol=1e-4)
    assert (np.abs(x[:, 6:9]) > 3).any()


def test_older_metadata_without_sizes_is_enough_where_names_tell_them(tmp_path: Path) -> None:
    said = {key: text for key, text in METADATA.items() if "terms" not in key}
    policy = load_policy(written(tmp_path, {**said, "observation_history_lengths": "1.000,1.000,1.000,1.000"}))
    assert any("holds the last action at 3:6" in guess for guess in policy.provenance.guesses)
    inside = load_policy(tmp_path / "policy.onnx", contract="inside")
    assert any("(3:6), that stays the network's own" in guess for guess in inside.provenance.guesses)
    assert not any(isinstance(one, layers.Standardize) for one in inside.layers)


def test_a_scaled_last_action_is_remembered_in_front_of_its_scale(tmp_path: Path) -> None:
    path = written(tmp_path, observations=changed("last_action", scale=[0.5, 0.5, 2.0]))
    with pytest.raises(LilliputError, match=r"last_action scales or clips the last action; give --contract inside"):
        load_policy(path, previous_action="contract")
    assert not any("holds the last action" in guess for guess in load_policy(path).provenance.guesses)
    own = load_policy(path, previous_action="contract", contract="inside")
    assert [type(one) for one in last_action.apart(own)[0]] == [layers.SelectInputs, layers.PreviousAction]
    assert isinstance(own.layers[2], layers.Standardize)
    np.testing.assert_array_equal(own.layers[2].scale[3:9], np.array([0.5, 0.5, 2.0] * 2, np.float32))


@pytest.mark.parametrize(
    ("metadata", "observations", "agent", "message"),
    [
        (None, None, None, "does not say what its observation is made of; say where it stands: --previous-action FROM"),
        (None, {"a": {"scale": [1.0] * N}}, None, r"0 readings .a. are a last action by name"),
        (None, {**OBSERVATIONS, "actions": {"scale": [1.0] * 3}}, None, r"2 readings .*joint_pos_rel, actions. are"),
        (None, OBSERVATIONS, {"clip_actions": 100.0}, "agent.yaml clips actions at 100.0 before the observation holds"),
        (None, changed("last_action", scale=[1.0] * 2, history_length=3), None, "has 2 numbers, which are no action"),
        (None, changed("last_action", history_length=1), None, r"takes \[12\] numbers, and deploy.yaml tells of 9"),
        (
            None,
            {"use_gym_history": True, "last_action": {"scale": [1.0] * 3, "history_length": 4}},
            None,
            "puts 4 frames one after the other .use_gym_history., so that the last actions do not stand together",
        ),
        (
            None,
            {**OBSERVATIONS, "scan": {"scale": None}},
            None,
            "nothing tells how many numbers deploy.yaml: .*scan has",
        ),
        (
            {**METADATA, "observation_names": "joint_pos,actions,height_scan,command"},
            None,
            None,
            "nothing tells how many numbers observation_names: height_scan has",
        ),
        (
            {**METADATA, "command_names": "motion", "observation_terms_scale": "1.0"},
            None,
            None,
            r"takes \[12\] numbers, and observation_names tells of 15",
        ),
        ({**METADATA, "observation_terms_scale": "1.0,1.0"}, None, None, "scale of the contract has 2 entries for 4"),
        ({**METADATA, "observation_terms_clip": "-1;2"}, None, None, "observation_terms_clip of joint_pos is -1 to 2"),
        ({**METADATA, "observation_terms_clip": "1"}, None, None, "observation_terms_clip of joint_pos is 1; it must"),
        (
            {
                **METADATA,
                "observation_terms_history_length": "3.000",
                "observation_terms_flatten_history_dim": "0.000",
            },
            None,
            None,
            "observation_names: joint_pos keeps its 3 steps apart",
        ),
        (
            {**METADATA, "observation_dims": "3,3,3,3", "observation_terms_scale": "1.0,1.0,1.0;2.0,1.0"},
            None,
            None,
            "observation_names: joint_vel has 3 numbers and 2 scales; they must fit",
        ),
        (
            None,
            {**OBSERVATIONS, "use_gym_history": "y"},
            None,
            "deploy.yaml: observations.use_gym_history is y; it must be true or false",
        ),
        (
            None,
            changed("last_action", scale_first="1"),
            None,
            "observations.last_action.scale_first is 1; it must be true or false",
        ),
        (
            {**METADATA, "observation_delay": "2"},
            None,
            None,
            "observation_delay is 2, which is not read here .* or say where it stands: --previous-action FROM:TO",
        ),
        (
            {**METADATA, "observation_terms_history_length": "0.5"},
            None,
            None,
            "history_length is 0.5; it must be a whole",
        ),
    ],
)
def test_what_leaves_a_doubt_is_refused(
    metadata: dict[str, str] | None, observations: Any, agent: Any, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, metadata, observations, agent)
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path, previous_action="contract")
    assert "\n" not in str(caught.value)
    assert not any("--previous-action" in guess for guess in load_policy(path).provenance.guesses)


@pytest.mark.parametrize("parts", [{"scale": [1e-60] * 3}, {"scale": [1e60] * 3}, {"clip": [-1e-60, 1e-60]}])
def test_no_reading_is_lost_in_the_rounding_of_its_scale(parts: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, observations=changed("base_ang_vel", **parts))
    with pytest.raises(LilliputError, match="a scale or a clip of its readings is 0 or infinite as float32"):
        load_policy(path, contract="inside")


def test_the_header_names_the_numbers(tmp_path: Path) -> None:
    said = {**METADATA, "joint_names": "hip*/ int x; /*,knee??/,foot"}
    export(load_policy(written(tmp_path, said)), "c", tmp_path / "leg")
    header = (tmp_path / "leg" / "leg.h").read_text()
    joints = "hip* / int x; / *, knee? ?/, foot"
    assert (
        f"""\
/* What the numbers are called where the policy is from:
     observation 0 to 2: joint_pos: {joints}
     observation 3 to 5: actions
     observation 6 to 8: joint_vel: {joints}
     observation 9 to 11: command
     action: {joints} */
"""
        in header
    )
    assert check(tmp_path / "leg").ok
    policy = load_policy(written(tmp_path, observations=OBSERVATIONS))
    assert names(policy)[0] == (
        (0, 2, "base_ang_vel"),
        (3, 8, "last_action, 2 steps, the oldest first"),
        (9, 11, "joint_pos_rel"),
    )
    framed = {"use_gym_history": True, "a": {"scale": [1.0], "history_length": 2}}
    framed["b"] = {"scale": [1.0] * 5, "history_length": 2}
    assert names(load_policy(written(tmp_path, observations=framed)))[0] == (
        (0, 0, "a, frame 1 of 2"),
        (1, 5, "b, frame 1 of 2"),
        (6, 6, "a, frame 2 of 2"),
        (7, 11, "b, frame 2 of 2"),
    )
