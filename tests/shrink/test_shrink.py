"""The command from end to end, on a small game; what it says is held against what stands in its folder."""

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.disjoint import check_disjoint
from tests.policies.bright import BRIGHT, SWITCHES, bright, switches
from tests.shrink.counted import AN_HOUR_S, end_after, lessons, students, trials
from tests.shrink.games import BALANCE, cartpole

from lilliput import record
from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.files import locked
from lilliput.policies import file as policy_file
from lilliput.policies import layers, spaces
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy
from lilliput.shrink.request import Place, Request
from lilliput.shrink.run import _trainable, shrink
from lilliput.task import Task


@pytest.mark.slow
@pytest.mark.longest
def test_without_training_it_ends_with_an_artifact_and_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    end_after(monkeypatch, trials(3))
    source, folder = tmp_path / "wide.lilliput", tmp_path / "small"
    policy_file.write(cartpole(), source)
    command = [
        "shrink", str(source), "--env", BALANCE, "--keep", "0.8", "--within", "1h", "--no-training",
        "--format", "onnx", "--json", "-o", str(folder),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["baseline_bytes"] == cartpole().model_bytes
    assert found["bytes"] < found["baseline_bytes"] / 3
    assert found["low"] >= 0.8
    assert found["low"] <= found["retention"] <= found["high"]
    small = policy_file.read(folder / "policy.lilliput")
    assert small.model_bytes == found["bytes"]
    assert small.provenance.recipe == found["recipe"]
    assert json.loads((folder / "artifact" / "manifest.json").read_text())["policy_digest"] == small.digest
    assert episode_returns(small, BALANCE, range(40)).mean() > 0.95 * 100
    records = list(record.read_all(folder / "records"))
    roles = {role: [r for r in records if ("role", role) in r.cell.settings] for role in ("selection", "confirmation")}
    check_disjoint(
        selection={int(seed) for r in roles["selection"] for seed in r.cell.items},
        confirmation={int(seed) for r in roles["confirmation"] for seed in r.cell.items},
    )
    assert {r.cell.recipe for r in roles["selection"]} >= {found["recipe"], ""}
    confirming = [r for r in roles["confirmation"] if r.cell.recipe == found["recipe"]]
    assert sum(len(r.cell.items) for r in confirming) == found["n_episodes"]
    assert {r.cell.format for r in confirming} == {"onnx"}
    again = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert json.loads(again.stdout) == found


@pytest.mark.slow
def test_a_student_is_found_and_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    end_after(monkeypatch, students(1))
    lessons(monkeypatch, 1_000)
    request = Request(Task(BALANCE), keep=0.8, within_s=AN_HOUR_S, format="onnx", workers=1)
    said: list[str] = []
    result = shrink(cartpole(128), request, tmp_path, said.append)
    assert result.recipe.startswith("distill(")
    assert result.factor > 20
    assert result.low >= 0.8
    assert f"{result.bytes:,} bytes instead of {result.baseline_bytes:,}" in result.sentence
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
@pytest.mark.longest
def test_of_images_a_convolutional_student_is_found_and_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    end_after(monkeypatch, students(1))
    lessons(monkeypatch, 300)
    request = Request(Task(f"tests.policies.learn.toys:{BRIGHT}"), keep=0.9, within_s=AN_HOUR_S, workers=1)
    result = shrink(bright(32, 64), request, tmp_path, lambda _: None)
    assert result.recipe.startswith("distill_images(")
    assert result.factor > 10
    assert result.low >= 0.9
    small = policy_file.read(tmp_path / "policy.lilliput")
    assert (episode_returns(small, BRIGHT, range(40)) > 18).all()


@pytest.mark.slow
def test_of_a_board_a_student_is_found_and_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_after(monkeypatch, students(1))
    lessons(monkeypatch, 600)
    request = Request(Task(f"tests.policies.learn.toys:{SWITCHES}"), keep=0.9, within_s=AN_HOUR_S, workers=1)
    result = shrink(switches(), request, tmp_path, lambda _: None)
    assert any(point.recipe.startswith("distill(") for point in result.frontier)
    assert result.low >= 0.9
    small = policy_file.read(tmp_path / "policy.lilliput")
    assert (episode_returns(small, SWITCHES, range(40)) > 18).all()


@pytest.mark.parametrize("torch", [True, False])
def test_what_no_student_can_see_is_said_and_torch_is_named_where_it_helps(
    torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("lilliput.shrink.run"), "can_train_images", lambda: torch)
    request = Request(Task(SWITCHES))
    assert _trainable(switches(), request) == (request, [])
    large, layer = (64, 65), layers.Dense(np.ones((2, 64 * 65), np.float32), None)
    stack = layers.Flatten(), layer, layers.ArgmaxAction((2,))
    board = Policy(spaces.Box(large, np.zeros(()), np.ones(())), spaces.Discrete(2), stack)
    (said,) = _trainable(board, request)[1]
    assert said.startswith("no students were tried: they see vectors, boards of up to 4,096 numbers or, choosing")


def test_a_policy_that_is_not_better_than_random_is_refused(tmp_path: Path) -> None:
    flat = Policy(
        spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf)),
        spaces.Discrete(2),
        (layers.Dense(np.zeros((2, 4), np.float32), np.zeros(2, np.float32)), layers.ArgmaxAction((2,))),
    )
    with pytest.raises(LilliputError, match="there is no return to keep"):
        shrink(flat, Request(Task("CartPole-v1"), within_s=30.0, train=False, workers=1), tmp_path, lambda _: None)


def test_another_environment_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match="Pendulum-v1 has"):
        shrink(cartpole(), Request(Task("Pendulum-v1")), tmp_path, lambda _: None)


def test_a_folder_of_another_request_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_after(monkeypatch, trials(0))
    request = Request(Task(BALANCE), within_s=AN_HOUR_S, train=False, format="onnx", workers=1)
    shrink(cartpole(), request, tmp_path, lambda _: None)
    asked = tmp_path / "request.json"
    asked.write_text(json.dumps({**json.loads(asked.read_text()), "environment": "Pendulum-v1"}))
    with pytest.raises(LilliputError, match=r"holds a shrink of environment 'Pendulum-v1', keep 0\.95; choose another"):
        shrink(cartpole(), replace(request, keep=0.9), tmp_path, lambda _: None)


def test_a_refused_command_leaves_nothing_and_force_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after(monkeypatch, trials(0))
    source, folder = tmp_path / "wide.lilliput", tmp_path / "small"
    policy_file.write(cartpole(), source)

    def run(environment: str, *more: str) -> Result:
        command = ["shrink", str(source), "--env", environment, "-o", str(folder), "--no-training", "--format", "onnx"]
        return CliRunner().invoke(cli, [*command, "--workers", "1", "--within", "1h", *more])

    assert "Pendulum-v1 has" in str(run("Pendulum-v1").exception)
    assert not folder.exists()
    folder.mkdir()
    (folder / "lilliput.json").write_text(json.dumps({"kind": "shrink", "format": 1}))
    (folder / "request.json").write_text(json.dumps({"keep": 0.5}))
    (folder / "result.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    assert "give --force" in str(run(BALANCE).exception)
    with locked(folder):
        assert "another run is at work" in str(run(BALANCE, "--force").exception)
    assert (folder / "result.json").read_text() == "{}"
    assert run(BALANCE, "--force").exit_code == 0
    assert json.loads((folder / "request.json").read_text())["keep"] == 0.95
    assert (folder / "notes.txt").read_text() == "mine"
    again = run(BALANCE)
    assert "was finished before" in again.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_flash": 100}, "name it, such as --target cortex-m4"),
        ({"target": "cortex-m4", "deadline_s": 0.1}, "use --objective instructions"),
        ({"target": "cortex-m4", "format": "onnx"}, "takes the format c"),
        ({"keep": 0.0}, "keep is 0"),
        ({"within_s": 0.5}, "within is 0.5 s"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        Request(Task("CartPole-v1"), **change)


def test_a_time_is_read_with_its_unit() -> None:
    done = CliRunner().invoke(cli, ["shrink", "x", "--within", "soon", "-o", "y"])
    assert done.exit_code == 2


@pytest.mark.slow
def test_where_nothing_was_tried_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    end_after(monkeypatch, trials(0))
    request = Request(Task(BALANCE), within_s=AN_HOUR_S, train=False, format="onnx", workers=1)
    result = shrink(cartpole(), request, tmp_path, lambda _: None)
    assert result.recipe == ""
    assert any("give more time" in note for note in result.notes)


@pytest.mark.embedded
def test_a_policy_that_cannot_fit_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    end_after(monkeypatch, trials(1))
    request = Request(Task(BALANCE), within_s=AN_HOUR_S, train=False, workers=1, target="cortex-m4", max_flash=10)
    result = shrink(cartpole(), request, tmp_path, lambda _: None)
    assert result.recipe == ""
    assert any("flash_bytes is" in note and "over the limit of 10" in note for note in result.notes)


def test_a_finalist_that_cannot_be_exported_is_passed_over_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a quantized policy with a memory may be, which no example can be found for that every processor repeats."""
    run = importlib.import_module("lilliput.shrink.run")
    place = Place(tmp_path, "0" * 64, Request(Task("CartPole-v1")))

    def export(_: Place, recipe: str) -> None:
        if recipe == "b()":
            raise LilliputError("the policy is too unsteady to check")

    monkeypatch.setattr(run, "_export", export)
    found, notes = run._shippable(place, ["a()", "b()", "c()"])
    assert found == ["a()", "c()"]
    assert notes == ["not confirmed, since it cannot be exported: b(): the policy is too unsteady to check"]
