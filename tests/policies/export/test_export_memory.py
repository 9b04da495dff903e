"""Artifacts of policies with a memory: they act as the reference over whole episodes, alone and side by side."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.policies.recurrent import every_memory, gru, lstm, policy_with, walk

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.export import check, export, open_artifact
from lilliput.policies.policy import Policy
from lilliput.policies.runtime.native import CtypesActor, _loadable

POLICIES = every_memory()
DRIFT = 1e-5


def followed(policy: Policy, folder: Path, x: np.ndarray) -> np.ndarray:
    """The artifact's actions over an episode."""
    act = open_artifact(folder).begin()
    return np.stack([np.asarray(act(row)) for row in x])


@pytest.mark.parametrize("format_", ["onnx", "c"])
@pytest.mark.parametrize("name", POLICIES)
def test_an_artifact_acts_as_the_reference_over_an_episode(name: str, format_: str, tmp_path: Path) -> None:
    policy, folder = POLICIES[name], tmp_path / "a"
    artifact = export(policy, format_, folder)
    assert check(folder).ok
    x = walk(policy, 70, seed=5)
    x[11] = np.nan
    np.testing.assert_allclose(followed(policy, folder, x), reference.act_episode(policy, x), atol=DRIFT)
    golden = np.load(folder / "golden.npz")
    assert golden["observations"].shape[:2] == (4, 64)
    assert json.loads((folder / "manifest.json").read_text())["artifact_format"] == 3
    assert artifact.manifest.state


@pytest.mark.parametrize("format_", ["onnx", "c"])
def test_an_artifact_has_no_action_without_an_episode(format_: str, tmp_path: Path) -> None:
    policy = POLICIES["lstm"]
    export(policy, format_, tmp_path / "a")
    actor, x = open_artifact(tmp_path / "a"), walk(policy, 2)
    with pytest.raises(LilliputError, match="has a memory: an action follows from an episode"):
        actor(x[0])
    with pytest.raises(LilliputError, match="has a memory: an action follows from an episode"):
        actor.batch(x)


def test_an_episode_that_has_begun_is_no_other(tmp_path: Path) -> None:
    policy = POLICIES["gru"]
    export(policy, "c", tmp_path / "a")
    act = open_artifact(tmp_path / "a").begin()
    with pytest.raises(LilliputError, match="an episode has begun already"):
        act.begin()  # type: ignore[attr-defined]
    with pytest.raises(LilliputError, match="acted step by step, not on a batch"):
        act.batch(walk(policy, 2))  # type: ignore[attr-defined]


def test_two_thousand_steps_do_not_drift(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    policy = policy_with(lstm(rng, 5, 8), gru(rng, 8, 8))
    x = np.tile(walk(policy, 200), (10, 1))
    expected = reference.act_episode(policy, x)
    for format_ in ("onnx", "c"):
        export(policy, format_, tmp_path / format_)
        off = np.abs(followed(policy, tmp_path / format_, x) - expected).max(axis=1)
        assert off.max() < DRIFT
        assert off[-200:].max() < 2 * off[:200].max() + 1e-6


def test_onnx_has_the_ports_of_rsl_rl(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    policy = policy_with(lstm(rng, 5, 6), lstm(rng, 6, 6))
    export(policy, "onnx", tmp_path / "a")
    session = onnxruntime.InferenceSession(tmp_path / "a" / "model.onnx", providers=["CPUExecutionProvider"])
    ports = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
    assert ports == {
        "obs": ["batch", 5],
        "h_in": [2, "batch", 6],
        "c_in": [2, "batch", 6],
        "actions": ["batch", 2],
        "h_out": [2, "batch", 6],
        "c_out": [2, "batch", 6],
    }
    h, c = np.zeros((2, 2, 3, 6), np.float32)
    episodes, actions = np.stack([walk(policy, 20, seed) for seed in range(3)]), np.zeros(0)
    for step in range(20):
        actions, h, c = map(
            np.asarray, session.run(["actions", "h_out", "c_out"], {"obs": episodes[:, step], "h_in": h, "c_in": c})
        )
    expected = [reference.act_episode(policy, episode)[-1] for episode in episodes]
    np.testing.assert_allclose(actions, expected, atol=DRIFT)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_selftest_passes_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    policy = POLICIES["all of them"]
    export(policy, "c", tmp_path / "a", name="walker")
    flags = "-std=c99 -O1 -Wall -Wextra -Werror -Wdouble-promotion -Wfloat-conversion -ffp-contract=off"
    files = [str(tmp_path / "a" / name) for name in ("walker.c", "walker_selftest.c")]
    command = [
        compiler,
        *flags.split(),
        *(["-fsanitize=undefined"] if compiler == "gcc" else []),  # Debian packs clang's sanitizers apart
        "-DWALKER_SELFTEST_MAIN",
        *files,
        "-lm",
        "-o",
        str(tmp_path / "selftest"),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("passed")
    header = (tmp_path / "a" / "walker.h").read_text()
    assert "void walker_reset(walker_state *state);" in header
    assert "int walker_act(walker_state *state, const float *observation, float *action);" in header


def test_without_the_extension_an_episode_is_the_same(tmp_path: Path) -> None:
    policy = POLICIES["lstm begins elsewhere"]
    artifact = export(policy, "c", tmp_path / "a")
    files = [tmp_path / "a" / f"a{end}" for end in (".c", ".h", "_kernels.h")]
    act, x = CtypesActor(artifact, _loadable(files, "a_act"), "a_act"), walk(policy, 9)
    np.testing.assert_array_equal(np.stack([act(row) for row in x]), followed(policy, tmp_path / "a", x))


@pytest.mark.parametrize(
    "change",
    [
        {"h": {"shape": [1, 9], "initial": []}, "c": {"shape": [1, 7], "initial": []}},
        {"h": {"shape": [1, -7], "initial": []}},
        {"h": {"shape": [1, 7], "initial": [1.0]}},
        {"h h": {"shape": [1, 7], "initial": []}},
        {},
    ],
)
def test_a_manifest_of_another_state_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    export(POLICIES["lstm"], "onnx", tmp_path / "a")
    path = tmp_path / "a" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": change}))
    with pytest.raises(LilliputError, match=r"is malformed|its manifest says"):
        open_artifact(tmp_path / "a")
