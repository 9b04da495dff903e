"""Policies that remember their own last action: the same as one that is handed it, in every format and step."""

import json
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from tests.arrays import f32
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build
from tests.policies.load.test_contract import DEPLOY, network, written
from tests.policies.recurrent import UNBOUNDED, dense, gru, policy_with, walk

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import last_action, layers, reference, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.export import check, export, open_artifact
from lilliput.policies.load import load_policy
from lilliput.policies.play import EnvironmentSpec, Lockstep
from lilliput.policies.policy import Policy

STEPS = 50
HERE = "tests.policies.test_last_action:Handed-v0"


def network_of(n_inputs: int, *memory: layers.Layer) -> Policy:
    """A policy of two actions that reads its normalized observation, wide enough for quantization to show."""
    rng = np.random.default_rng(7)
    n = layers.output_shapes(memory, (n_inputs,))[-1][0]
    normalizer = layers.Standardize(f32(rng.normal(size=n_inputs)), f32(rng.uniform(0.5, 2, n_inputs)), f32(10))
    stack = (normalizer, *memory, dense(rng, 8, n), layers.Tanh(), dense(rng, 2, 8), layers.SquashAction())
    box = spaces.Box((n_inputs,), *UNBOUNDED)
    return Policy(box, spaces.Box((2,), np.array(-1.0), np.array(1.0)), stack)


def cut_off(policy: Policy) -> Policy:
    """The policy with ReLU for tanh and without a squash: nothing curved."""
    stack = tuple(layers.Relu() if isinstance(one, layers.Tanh) else one for one in policy.layers[:-1])
    return Policy(policy.observation_space, policy.action_space, stack)


def handed(policy: Policy, x: np.ndarray, start: int, steps: int = 1) -> np.ndarray:
    """What a policy without that memory does where somebody puts its last actions into the observation."""
    last, state, actions = np.zeros((steps, 2), np.float32), reference.start(policy), []
    for row in x:
        seen = row.copy()
        seen[start : start + last.size] = last.reshape(-1)
        state, (action,) = reference.step(policy, state, seen[None])
        last = np.concatenate([last[1:], action[None]])
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize(("start", "steps"), [(0, 1), (2, 1), (1, 2), (2, 3)])
def test_it_does_what_it_did_when_it_was_handed_its_last_actions(start: int, steps: int) -> None:
    policy = network_of(8)
    own = last_action.remembering(policy, start, start + 2 * steps)
    x = walk(policy, STEPS)
    expected = handed(policy, x, start, steps)
    x[:, start : start + 2 * steps] = np.nan  # nothing there is read
    np.testing.assert_array_equal(reference.act_episode(own, x), expected)
    assert "which it remembers itself" in own.provenance.guesses[-1]
    front, behind = last_action.apart(own)
    assert behind.digest == policy.digest
    assert last_action.together(front, behind).digest == own.digest


def test_an_observation_that_is_none_leaves_the_last_action_as_it_was() -> None:
    own = last_action.remembering(network_of(8), 2, 4)
    x = walk(own, 9)
    whole = reference.act_episode(own, x)
    missing = np.insert(x, 5, np.nan, axis=0)
    actions = reference.act_episode(own, missing)
    assert np.isnan(actions[5]).all()
    np.testing.assert_array_equal(np.delete(actions, 5, axis=0), whole)


@pytest.mark.parametrize("format_", ["onnx", "c"])
@pytest.mark.parametrize(
    "recipe", ["", "half()", *(f"quantize(scheme='{one}')" for one in ("static", "dynamic", "weight_only"))]
)
@pytest.mark.parametrize("memory", [False, True], ids=["alone", "with a GRU"])
def test_every_format_remembers_it(format_: str, recipe: str, memory: bool, tmp_path: Path) -> None:
    policy = network_of(8, *((gru(np.random.default_rng(1), 8, 6),) if memory else ()))
    own = last_action.remembering(policy, 2, 6)
    x = walk(policy, 300)
    x[:, 2:6] = np.tanh(x[:, 2:6])
    small = compress(own, recipe, Context.from_observations(own, x))
    export(small, format_, tmp_path / "a")
    assert check(tmp_path / "a").ok
    golden = np.load(tmp_path / "a" / "golden.npz")
    assert golden["observations"].shape[1] >= STEPS
    for episode, actions in zip(golden["observations"], golden["actions"], strict=True):
        act = open_artifact(tmp_path / "a").begin()
        found = np.stack([np.asarray(act(row)) for row in episode])
        np.testing.assert_allclose(found, actions, atol=2e-6)
        np.testing.assert_array_equal(reference.act_episode(small, episode), actions)


def test_c_without_a_curve_is_the_reference_to_the_bit(tmp_path: Path) -> None:
    own = last_action.remembering(cut_off(network_of(8)), 2, 4)
    x = walk(own, 300)
    small = compress(own, "fold_inputs(max_clipped=1) | quantize()", Context.from_observations(own, x))
    export(small, "c", tmp_path / "a")
    act = open_artifact(tmp_path / "a").begin()
    np.testing.assert_array_equal(np.stack([np.asarray(act(row)) for row in x]), reference.act_episode(small, x))


@pytest.mark.parametrize(
    "recipe",
    [
        "equalize() | quantize()",
        "prune_weights(sparsity=0.5, importance='sparsegpt')",
        "quantize(weight_bits='auto', max_bytes=150)",
        "remove_dead_inputs()",
        "fold_inputs(max_clipped=1)",
        "prune_units(ratio=0.25)",
    ],
)
def test_steps_are_those_of_the_policy_that_is_handed_it(recipe: str) -> None:
    policy = cut_off(network_of(8))
    own = last_action.remembering(policy, 2, 4)
    x = walk(policy, 300)
    x[:, 7] = 0.5  # is dead
    there, here = (compress(one, recipe, Context.from_observations(one, x)) for one in (policy, own))
    front, behind = last_action.apart(here)
    assert len(front) == 2
    assert behind.digest == there.digest
    assert here.provenance.recipe == there.provenance.recipe


def test_its_contract_stands_behind_what_it_remembers(tmp_path: Path) -> None:
    """Oracle: the network in numpy, and a robot's loop around it."""
    said = {
        **DEPLOY,
        "observations": {
            "base_ang_vel": {"clip": None, "scale": [0.2, 0.2], "history_length": 1},
            "last_action": {"clip": None, "scale": [0.5, 0.5, 0.5], "history_length": 1},
        },
    }
    path = written(tmp_path, deploy=said)
    own = load_policy(path, contract="inside", previous_action=(2, 5))
    assert not any("lets the policy remember" in guess for guess in own.provenance.guesses)
    action = DEPLOY["actions"]["JointPositionAction"]
    x = np.random.default_rng(3).normal(0, 2, (STEPS, 5)).astype(np.float32)
    last, wanted = np.zeros(3), []
    for row in x:
        last = network(np.concatenate([row[:2] * 0.2, last * 0.5])[None])[0]
        wanted.append(np.clip(last * action["scale"] + action["offset"], *np.transpose(action["clip"])))
    np.testing.assert_allclose(reference.act_episode(own, x), wanted, atol=1e-4)
    assert (np.abs(np.array(wanted)[:, 1]) == 0.5).any()
    policy_file.write(own, tmp_path / "own.lilliput")
    assert load_policy(tmp_path / "own.lilliput").digest == own.digest
    later = load_policy(path, previous_action=(2, 5))
    policy_file.write(later, tmp_path / "later.lilliput")
    assert [type(one) for one in last_action.apart(later)[0]] == [layers.SelectInputs, layers.PreviousAction]
    plain = load_policy(path, contract="inside")
    policy_file.write(plain, tmp_path / "plain.lilliput")
    with pytest.raises(LilliputError, match=r"has its contract inside already, and the last action .* together"):
        load_policy(tmp_path / "plain.lilliput", previous_action=(2, 5))


@pytest.mark.parametrize(
    ("policy", "where", "message"),
    [
        (network_of(8), (2, 5), r"the last action at 2:5: there must be 2 numbers, an action, or a multiple"),
        (network_of(8), (7, 9), r"there must be 2 numbers"),
        (network_of(8), (4, 2), r"there must be 2 numbers"),
        (network_of(8), (0, 8), r"not all of the observation's 8"),
        (last_action.remembering(network_of(8), 0, 2), (2, 4), r"remembers its last action already"),
        (policy_with(n_choices=3), (0, 3), r"the policy gives choices"),
    ],
)
def test_what_is_no_last_action_is_refused(policy: Policy, where: tuple[int, int], message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        last_action.remembering(policy, *where)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.PreviousAction(0, 3), r"remembers 3 numbers of \[2\]"),
        (layers.PreviousAction(0, 2, 1, 1), r"remembers what 1 layers stand behind; each must move or clip"),
        (layers.PreviousAction(0, 2, 1, 9), r"remembers what 9 layers stand behind"),
    ],
)
def test_a_policy_that_remembers_something_else_is_refused(layer: layers.PreviousAction, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        policy_with(layer)


def test_the_command_says_where_it_stands(tmp_path: Path) -> None:
    path = written(tmp_path)
    out = tmp_path / "small"
    run_arguments = ["export", str(path), "--previous-action", "2:5", "-o", str(out), "--format", "c"]
    run = CliRunner().invoke(cli, run_arguments)
    assert "grow beyond all numbers in 64 steps of what it remembers: check where" in str(run.exception)
    path.write_bytes(build(SIMPLE, {name: 0.3 * values for name, values in WEIGHTS.items()}))
    run = CliRunner().invoke(cli, run_arguments)
    assert run.exit_code == 0, run.output
    assert "numbers 2 to 4 of the observation are taken for the policy's last action" in run.output
    assert (
        "Numbers 2 to 4 of the observation may be anything: the policy remembers what it did."
        in (out / "README.md").read_text()
    )
    assert json.loads((out / "manifest.json").read_text())["state"] == {"previous": {"shape": [1, 3], "initial": []}}
    run = CliRunner().invoke(cli, ["show", str(path), "--previous-action", "2-5"])
    assert run.exit_code == 2
    assert "'2-5' is not two whole numbers with a colon between, nor 'contract'" in run.output


class Handed(gymnasium.Env):
    """Puts the last action into the observation, as robots' environments do; pays for coming near the other number."""

    STEPS = 20

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step, self._last = 0, 0.0
        return self._seen(), {}

    def _seen(self) -> np.ndarray:
        self._cue = float(self.np_random.uniform(-1, 1))
        return np.array([self._cue, self._last], np.float32)

    def step(self, action):
        self._last = float(np.asarray(action).reshape(-1)[0])
        reward = -abs(self._last - self._cue)
        self._step += 1
        return self._seen(), reward, False, self._step == self.STEPS, {}


gymnasium.register("Handed-v0", entry_point=f"{__name__}:Handed")


def test_an_environment_that_puts_something_else_there_is_refused(tmp_path: Path) -> None:
    policy_file.write(smoothing(), tmp_path / "policy.lilliput")

    def compressed(where: str) -> str:
        given = [str(tmp_path / "policy.lilliput"), "-r", "half()", "--env", HERE, "--previous-action", where]
        run = CliRunner().invoke(cli, ["compress", *given, "-o", str(tmp_path / f"{where}.lilliput")])
        return str(run.exception) if run.exit_code else ""

    assert compressed("1:2") == ""
    assert re.match(
        r"numbers 0 to 0 of the observation of .*Handed-v0 are not the policy's last action: they are 0.\d+ off it, "
        r"which is 0 large; say where it stands \(--previous-action\)",
        compressed("0:1"),
    )


def smoothing() -> Policy:
    """Half of the cue and half of what it did before."""
    box = spaces.Box((2,), np.full(2, -2.0), np.full(2, 2.0))
    stack = (layers.Dense(f32([[0.5, 0.5]]), f32([0])), layers.ClipAction(f32(-1), f32(1)))
    return Policy(box, spaces.Box((1,), np.array([-1.0]), np.array([1.0])), stack)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        "distill(hidden=(4,), steps=400, restarts=1, activation='tanh')",
        "distill(hidden=(), steps=400, restarts=1, weight_bits=8, history=2)",
        "distill(hidden=(4,), steps=400, memory=4)",
        "finetune(steps=100, restarts=1)",
        "finetune(objective='return', episodes=60)",
    ],
)
def test_students_remember_it_too(recipe: str) -> None:
    own = last_action.remembering(smoothing(), 1, 2)
    student = compress(own, recipe, Context.from_environment(own, HERE))
    front, behind = last_action.apart(student)
    assert front
    spec = EnvironmentSpec(HERE)
    lockstep = Lockstep(spec, own.observation_space, 4, iter(range(900, 950)))
    acts, seen = [reference.Rows(one) for one in (student, behind, own)], []
    for _ in range(Handed.STEPS):
        actions = [act(lockstep.observations, lockstep.begins) for act in acts]
        np.testing.assert_allclose(actions[0], actions[1], atol=1e-5)  # the environment hands over what it remembers
        seen.append(np.abs(actions[0] - actions[2]).mean())
        lockstep.step(actions[0])
    lockstep.close()
    assert np.mean(seen) < 0.3
