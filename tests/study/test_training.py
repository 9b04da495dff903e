"""Policies that a study trains first: where, how often, and what becomes of one that fails."""

import json
import queue
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lilliput.cli import cli
from lilliput.cli.study import _watched
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies.learn import curve
from lilliput.policies.learn.rl.training import FILE as TRAINING
from lilliput.policies.learn.rl.training import NAME, Training
from lilliput.policies.policy import Policy
from lilliput.study.document import read_study
from lilliput.study.training import DONE, DONE_NAME, _arguments, cells_of, waiting

FILE = """
recipes = ["half()"]
formats = ["onnx"]
episodes = 4

[[train]]
folder = "runs/ppo"
algorithm = "ppo"
environment = "CartPole-v1"
steps = 64
seeds = [0, 1]
segment = 64
episodes = 1
hidden = [4]
settings = { n_steps = 32, batch_size = 32, n_envs = 1, n_epochs = 1, learning_rate = 0.001, clip_range = 0.2 }
"""


def test_a_training_is_one_cell_a_seed(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(FILE)
    cells = read_study(tmp_path / "study.toml").trainings
    assert [cell.folder for cell in cells] == [tmp_path / "runs" / "ppo" / f"seed-{seed}" for seed in (0, 1)]
    assert [cell.asked["seed"] for cell in cells] == [0, 1]
    assert waiting(cells) == cells
    cells[0].folder.mkdir(parents=True)
    cells[0].policy.write_bytes(b"put there by hand")
    assert waiting(cells) == cells[1:], "a policy without a training is taken as it is"
    (cells[0].folder / "training.json").write_text("{}")
    assert waiting(cells) == cells, "one that was interrupted goes on"


def test_a_training_that_was_begun_anew_by_hand_is_not_taken_for_what_was_asked(tmp_path: Path) -> None:
    asked = {"folder": "a", "algorithm": "ppo", "environment": "CartPole-v1", "steps": 40, "hidden": [4]}
    (cell,) = cells_of({**asked, "pruning": {"sparsity": 0.5}}, tmp_path)
    (other,) = cells_of(asked, tmp_path)
    cell.folder.mkdir(parents=True)
    DONE.write(cell.folder / DONE_NAME, {"asked": dict(cell.asked)})
    TRAINING.write(cell.folder / NAME, Training(**_arguments(cell.asked)).to_json())
    assert cell.is_there
    TRAINING.write(cell.folder / NAME, Training(**_arguments(other.asked)).to_json())
    with pytest.raises(LilliputError, match=r"holds another training \(pruning differ\)"):
        _ = cell.is_there


def test_a_dry_run_tells_what_is_trained_first(balancer: Policy, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(FILE + '[[exclude]]\npolicy = "*seed-1*"\n')
    run = ["study", "run", str(path), "--dry-run"]
    told = CliRunner().invoke(cli, run)
    assert told.exit_code == 0, told.output
    assert "2 policies are trained first, 128 steps in all" in told.stderr
    assert json.loads(CliRunner().invoke(cli, [*run, "--json"]).stdout) == {"trainings": 2, "training_steps": 128}
    there = tmp_path / "runs" / "ppo" / "seed-0"
    there.mkdir(parents=True)
    policy_file.write(balancer, there / "policy.lilliput")
    told = CliRunner().invoke(cli, [*run, "--json"])
    assert "1 policies are trained first, 64 steps" in told.stderr
    assert "nothing is left out" not in told.stderr, "what it leaves out is not trained yet"
    found = json.loads(told.stdout)
    assert (found["trainings"], found["training_steps"]) == (1, 64)
    assert found["to_go"] == found["cells"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algoritm": "sac"}, "unknown key 'algoritm'; did you mean algorithm"),
        ({"steps": "many"}, "steps is 'many'; it must be of the kind of int"),
        ({"steps": None}, "steps is missing"),
        ({"seeds": []}, r"seeds is \[\]; it must be a list of integers"),
        ({"pruning": {"end": 0.5}}, "pruning names no sparsity"),
        ({"quantization": {"weight_bits": 4, "bits": 3}}, "quantization: 'bits'"),
        ({"folder": ""}, "folder is empty"),
        ({"algorithm": "pop"}, "algo is 'pop'; .*allowed: a2c"),
        ({"steps": 0}, "steps is 0; it must be an integer from 1"),
        ({"segment": 0}, "segment is 0; it must be an integer from 1"),
        ({"hidden": [8, "8"]}, r"hidden is \[8, '8'\]; it must be a list of integers"),
        ({"wrappers": [4]}, r"wrappers is \[4\]; it must be a list of texts"),
        ({"wrappers": ["framestack(4)"]}, "wrapper 'framestack\\(4\\)' is not known; did you mean frame_stack"),
        ({"activation": "relo"}, r"activation is 'relo'; did you mean relu\?"),
        ({"settings": {"batch_sise": 8}}, r"no setting 'batch_sise'; did you mean batch_size\?"),
        ({"settings": {"batch_size": 0}}, "batch_size is 0; it must be an integer from 1"),
        ({"quantization": {"weight_bits": 9}}, "weight_bits is 9; it must be from 2 to 8"),
        ({"quantization": {"weight_bits": "8"}}, "quantization: weight_bits is '8'; it must be an integer"),
        ({"quantization": {"weight_bits": 8, "start": 1.5}}, "quantization begins at 1.5"),
        ({"pruning": {"sparsity": "half"}}, "pruning: sparsity is 'half'; it must be a number"),
        ({"pruning": {"sparsity": 1.5}}, "sparsity is 1.5; it must be between 0 and 1"),
        ({"pruning": {"sparsity": 0.5, "distribution": "even"}}, "distribution is 'even'; allowed: uniform"),
    ],
)
def test_what_cannot_be_trained_is_one_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Before anything is trained: what a cell would only say in the night is said when the file is read."""
    asked = {"folder": "a", "algorithm": "ppo", "environment": "CartPole-v1", "steps": 10, **change}
    with pytest.raises(LilliputError, match=message):
        cells_of({key: value for key, value in asked.items() if value is not None}, tmp_path)


def test_a_training_that_cannot_be_says_at_which_line_it_is(tmp_path: Path) -> None:
    second = FILE[FILE.index("[[train]]") :].replace('"runs/ppo"', '"runs/b"').replace("steps = 64", "steps = -1")
    (tmp_path / "study.toml").write_text(FILE + second)
    line = FILE.count("\n") + 1
    with pytest.raises(LilliputError, match=rf"study\.toml, line {line}: train: steps is -1"):
        read_study(tmp_path / "study.toml")


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(FILE + FILE[FILE.index("[[train]]") :])
    with pytest.raises(LilliputError, match=r"study\.toml, line \d+: train: two trainings have the folder"):
        read_study(tmp_path / "study.toml")


@pytest.mark.frameworks
def test_what_is_not_there_is_trained_and_then_studied_once(tmp_path: Path) -> None:
    for name in ("torch", "stable_baselines3", "onnxruntime"):
        pytest.importorskip(name)
    (tmp_path / "study.toml").write_text(FILE)
    command = ["study", "run", str(tmp_path / "study.toml"), "-o", str(tmp_path / "out"), "--workers", "1", "--json"]
    first = CliRunner().invoke(cli, command)
    assert "2 of 2 trained" in first.stderr, first.stderr
    found = json.loads(first.stdout)
    assert (found["failed"], found["to_go"]) == (0, 0)
    cells = read_study(tmp_path / "study.toml").trainings
    assert len({policy_file.read(cell.policy).digest for cell in cells}) == 2, "each seed is another policy"
    before = [cell.policy.stat().st_mtime_ns for cell in cells]
    again = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "trained" not in again.stderr
    assert [cell.policy.stat().st_mtime_ns for cell in cells] == before
    (tmp_path / "study.toml").write_text(FILE.replace("steps = 64", "steps = 96"))
    changed = CliRunner().invoke(cli, command)
    assert "holds another training (steps differ)" in str(changed.exception)


@pytest.mark.frameworks
def test_a_training_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    for name in ("torch", "stable_baselines3", "onnxruntime"):
        pytest.importorskip(name)
    bad = FILE[FILE.index("[[train]]") :].replace('"runs/ppo"', '"runs/sac"').replace('"ppo"', '"sac"')
    (tmp_path / "study.toml").write_text(FILE.replace("[0, 1]", "[0]") + bad)
    command = ["study", "run", str(tmp_path / "study.toml"), "-o", str(tmp_path / "out"), "--workers", "1"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 1
    assert done.stderr.count("failed: training in") == 2
    assert "2 trainings failed" in done.stderr
    assert "cells done" in done.stdout


def test_who_waits_for_trainings_hears_how_far_they_are(tmp_path: Path) -> None:
    asked = {"folder": "a", "algorithm": "ppo", "environment": "CartPole-v1", "steps": 40, "seeds": [0, 1]}
    cells = cells_of(asked, tmp_path)
    heard: queue.Queue[tuple[str, int, int]] = queue.Queue()
    with _watched(cells, lambda what, done, of: heard.put((what, done, of)), every_s=0.01):
        assert heard.get(timeout=600) == ("training, steps", 0, 80)
        for cell, steps in zip(cells, (10, 44), strict=True):  # the last rollout goes beyond the last step
            cell.folder.mkdir(parents=True)
            curve.write(cell.folder, [(steps, (1.0,))])
            assert curve.steps(cell.folder) == steps
        while (said := heard.get(timeout=600)) != ("training, steps", 50, 80):
            assert said == ("training, steps", 10, 80)
    assert heard.empty(), "the same is not said again"
