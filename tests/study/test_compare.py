import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.shrink.games import BALANCE, CARELESS
from tests.study.waiting import WAITS

import lilliput
from lilliput import record
from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies.compress import Context, compress
from lilliput.policies.export import open_artifact
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play import SeedPlan, episode_returns
from lilliput.report import summary
from lilliput.report.remarks import remarks
from lilliput.study import workspace
from lilliput.study.compare import Comparison, cells, compare, timings_of
from lilliput.study.table import wing_of
from lilliput.task import Task

ROOT = Path(__file__).parents[2]
SILENT = lambda *_: None  # noqa: E731
RECIPES = ('quantize(scheme="dynamic")', "prune_units(ratio=0.25)")


def comparison(**changes):
    return dataclasses.replace(Comparison(Task(BALANCE), RECIPES, ("onnx",), 12, timings=False), **changes)


@pytest.fixture(scope="session")
def finished(balancer, tmp_path_factory):
    """A comparison that one process ran, and its folder, of which each test takes a copy."""
    folder = tmp_path_factory.mktemp("finished")
    return compare(Checkpoint(balancer), comparison(), folder, 1, SILENT), folder


def test_where_candidates_do_not_meet_the_same_episodes_it_is_said_once(balancer, finished, tmp_path):
    careless = comparison(task=Task(CARELESS), recipes=RECIPES[:1], n_episodes=3)
    told = remarks(summary.rows(compare(Checkpoint(balancer), careless, tmp_path, 1, SILENT), 0.95))
    assert sum("plays another episode when it is asked for the same seed" in line for line in told) == 1
    assert not [line for line in told if "summed in another order" in line]
    told = remarks(summary.rows(finished[0], 0.95))
    assert not [line for line in told if "another episode" in line]
    assert [line for line in told if "summed in another order" in line]


def test_every_number_is_the_artifacts_own(balancer, finished):
    rows = summary.rows(finished[0], 0.95)
    assert [row.recipe for row in rows] == ["", "", "quantize()", "prune_units(ratio=0.25)"]
    assert [row.format for row in rows] == ["onnx", "reference", "onnx", "onnx"]
    seeds = SeedPlan(0).episodes("confirmation", 12)
    played = episode_returns(balancer, BALANCE, seeds)
    assert rows[0].mean_return == played.mean() == 100
    context = Context.from_environment(balancer, BALANCE, 0)
    for row in rows[2:]:
        small = compress(balancer, row.recipe, context)
        assert (row.model_bytes, row.n_parameters, row.n_macs) == (small.model_bytes, small.n_parameters, small.n_macs)
        assert row.smaller == balancer.model_bytes / small.model_bytes
        assert row.random_mean is not None
        assert row.random_mean < 60


def test_what_is_finished_is_never_done_again(balancer, finished, tmp_path):
    first, folder = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    again = compare(Checkpoint(balancer), comparison(recipes=(*RECIPES, "half()")), tmp_path, 1, SILENT)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(list((tmp_path / "records").iterdir())) == len(files) + 1
    assert again[: len(first) - 1] == first[:-1]
    assert again[-1] == first[-1]


def test_two_processes_find_what_one_does(balancer, finished, tmp_path):
    one, two = finished[0], compare(Checkpoint(balancer), comparison(), tmp_path, 2, SILENT)
    assert [r.values("episode_return") for r in one] == [r.values("episode_return") for r in two]


def test_a_recipe_that_fails_is_a_record_and_the_others_go_on(balancer, tmp_path):
    asked = comparison(recipes=("remove_dead_inputs()", "prune_units(ratio=0.01)", "half()"), n_episodes=2)
    records = compare(Checkpoint(balancer), asked, tmp_path, 1, SILENT)
    assert [r.status for r in records[1:]] == ["done", "not_applicable", "not_applicable", "done", "done"]
    assert "dead" in records[2].reason


@pytest.mark.slow
def test_timings_are_interleaved_with_the_baseline(balancer, tmp_path):
    records = compare(Checkpoint(balancer), comparison(recipes=RECIPES[:1], timings=True), tmp_path, 1, SILENT)
    _, _, quantized = summary.rows(records, 0.95)
    timed = [r for r in records if r.values("latency_s")]
    assert len(timed) == 2
    assert timed[0].values("baseline_latency_s") == timed[1].values("baseline_latency_s")
    assert quantized.latency is not None
    assert quantized.peak_memory_bytes is not None
    assert quantized.episode_time_s is not None
    assert 0 < quantized.latency.p50 <= quantized.latency.p95 <= quantized.latency.p99
    assert quantized.peak_memory_bytes > 10e6
    assert quantized.episode_time_s > 0
    assert quantized.energy_j is not None or any("energy_j" in note for note in quantized.notes)


def test_energy_alone_can_be_left_out():
    wing = wing_of("policies")
    everything, without = timings_of(wing, energy=True), timings_of(wing, energy=False)
    assert set(everything) - set(without) == {"energy_j", "gross_energy_j", "episode_energy_j"}
    assert {"latency_s", "peak_memory_bytes", "episode_time_s"} <= set(without)


def test_a_damaged_record_is_done_again_and_a_damaged_artifact_made_anew(balancer, finished, tmp_path):
    first, folder = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    victim = tmp_path / "records" / f"{first[1].cell.digest}.json"
    victim.write_text("{")
    (tmp_path / first[1].artifact / "model.onnx").write_bytes(b"junk")
    again = compare(Checkpoint(balancer), comparison(), tmp_path, 1, SILENT)
    assert again[1].values("episode_return") == first[1].values("episode_return")
    assert record.read(victim).status == "done"


def test_what_is_measured_again_is_said_and_an_artifact_with_a_cut_manifest_is_made_again(balancer, finished, tmp_path):
    folder = shutil.copytree(finished[1], tmp_path / "results")
    candidate = finished[0][2]
    victim, manifest = (
        folder / "records" / f"{candidate.cell.digest}.json",
        folder / candidate.artifact / "manifest.json",
    )

    def go_on():
        return lilliput.compare(
            balancer, RECIPES, folder, BALANCE, formats=("onnx",), episodes=12, timings=False, workers=1
        )

    whole = victim.read_bytes()
    for cut in (b"", whole[: len(whole) // 2], whole.rstrip()[:-1], b"\xff\x00", b"[]", b"{}"):
        victim.write_bytes(cut)
        (again,) = [line for line in go_on().remarks if line.startswith("measured again")]
        assert f"since its record could not be read: {victim}" in again
        assert record.read(victim).values("episode_return") == candidate.values("episode_return")
    for cut in (b"", manifest.read_bytes()[:100], b"[]", b"{}"):
        manifest.write_bytes(cut)
        victim.unlink()
        assert not any("again" in line for line in go_on().remarks)
        assert open_artifact(folder / candidate.artifact).artifact.manifest.recipe == candidate.cell.recipe


def test_the_wrong_environment_is_refused_with_both_spaces(balancer, tmp_path):
    with pytest.raises(LilliputError, match=r"observation space is Box\(.*Acrobot-v1 has Box"):
        compare(Checkpoint(balancer), comparison(task=Task("Acrobot-v1")), tmp_path, 1, SILENT)


def test_a_folder_keeps_the_table_of_one_policy_unless_forced(balancer, finished, tmp_path):
    folder = shutil.copytree(finished[1], tmp_path / "results")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = Checkpoint(compress(balancer, "half()", Context.from_environment(balancer, "CartPole-v1", 0)))
    with pytest.raises(LilliputError, match=r"holds the comparison of another policy.*another folder, or give --force"):
        compare(other, comparison(recipes=RECIPES[:1]), folder, 1, SILENT)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    both = compare(other, comparison(recipes=RECIPES[:1], n_episodes=2), folder, 1, SILENT, force=True)
    assert all(record.status == "done" for record in both)
    assert set(before) < set(folder.rglob("*"))


def test_a_recipe_without_a_step_is_refused_and_twins_are_one(balancer):
    with pytest.raises(LilliputError, match=r"recipe '' has no step; drop it"):
        cells(Checkpoint(balancer), comparison(recipes=("",)))
    assert len(cells(Checkpoint(balancer), comparison(recipes=("half()", " half( )")))) == 4


def test_a_folder_of_something_else_is_refused(tmp_path):
    workspace.enter(tmp_path / "new", "comparison", force=False)
    workspace.enter(tmp_path / "new", "comparison", force=False)
    with pytest.raises(LilliputError, match="holds a comparison, not a study; choose another folder"):
        workspace.enter(tmp_path / "new", "study", force=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(LilliputError, match="is not a comparison of lilliput"):
        workspace.enter(tmp_path / "other", "comparison", force=False)


def test_the_seeds_of_a_comparison_are_those_of_confirmation(balancer):
    found = cells(Checkpoint(balancer), comparison())
    assert {cell.items for cell in found} == {SeedPlan(0).episodes("confirmation", 12)}
    assert not set(found[0].items) & set(SeedPlan(0).episodes("calibration", 1000))


@pytest.mark.slow
def test_killed_half_way_the_same_command_ends_in_the_same_table(balancer, tmp_path):
    source = tmp_path / "balancer.lilliput"
    policy_file.write(balancer, source)
    recipes = [f"prune_weights(sparsity={s / 20})" for s in range(2, 8)]
    command = ["compare", str(source), "--env", WAITS, "--format", "onnx", "--episodes", "10", "--no-timings"]
    command += ["--workers", "1", *(part for recipe in recipes for part in ("-r", recipe))]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, "-m", "lilliput", *command, "-o", str(cut)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    while len(list((cut / "records").glob("*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in (cut / "records").glob("*.json")}
    assert 3 <= len(finished) < len(recipes) + 2
    for folder in (cut, whole):
        result = CliRunner().invoke(cli, [*command, "-o", str(folder)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert (cut / "table.md").read_text() == (whole / "table.md").read_text()
    assert [path.name for path in cut.rglob(".*") if path.is_file()] == [".lock"], "nothing is half-written"


def odd(monkeypatch, **behaviour):
    """CartPole that is not as it should be."""
    import gymnasium
    from gymnasium.envs.classic_control import CartPoleEnv
    from gymnasium.envs.registration import EnvSpec

    class Odd(CartPoleEnv):
        def step(self, action):
            if behaviour.get("breaks"):
                raise RuntimeError("no simulation")
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated and not behaviour.get("endless"), truncated, info

    monkeypatch.setitem(gymnasium.registry, "Odd-v0", EnvSpec("Odd-v0", lambda **_: Odd()))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_cell_that_failed_makes_the_status_1(balancer, tmp_path, monkeypatch, as_json):
    odd(monkeypatch, breaks=True)
    policy_file.write(balancer, tmp_path / "balancer.lilliput")
    command = ["compare", str(tmp_path / "balancer.lilliput"), "--env", "Odd-v0", "-r", "half()", "--format", "onnx"]
    command += ["--episodes", "2", "--no-timings", "--workers", "1", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*command, *(["--json"] if as_json else [])])
    assert done.exit_code == 1
    assert "Error: 4 of 4 cells failed; the first: Odd-v0, episode seed" in done.stderr
    assert "RuntimeError: no simulation" in done.stderr
    assert (tmp_path / "out" / "table.md").is_file()
    study = tmp_path / "study.toml"
    study.write_text("policies = ['*.lilliput']\nrecipes = ['half()']\nenvironments = 'Odd-v0'\nformats = ['onnx']")
    run = ["study", "run", str(study), "-o", str(tmp_path / "study"), "--workers", "1"]
    study.write_text(study.read_text() + "\nepisodes = 2\ncell_timeout = 0\n")
    done = CliRunner().invoke(cli, [*run, *(["--json"] if as_json else [])])
    assert done.exit_code == 1
    assert "Error: 4 cells failed; see: lilliput study status" in done.stderr


@pytest.mark.filterwarnings("ignore:.*already returned terminated")
def test_an_episode_without_an_end_is_cut_and_said(balancer, tmp_path, monkeypatch):
    odd(monkeypatch, endless=True)
    asked = comparison(task=Task("Odd-v0"), n_episodes=2, recipes=("half()",), max_steps=30)
    records = compare(Checkpoint(balancer), asked, tmp_path, 1, SILENT)
    assert [(r.status, r.reason) for r in records] == [("done", "")] * 4
    assert {r.values("episode_length") for r in records} == {(30.0, 30.0)}
    assert all(r.cell.max_steps == 30 for r in records)
    assert all("2 of 2 cut after 30 steps" in r.measurements[0].method for r in records)
    rows = summary.rows(records, 0.95)
    assert [row.n_cut for row in rows] == [2, 2, 2]
    assert "half(): 2 of 2 episodes did not end and were cut (--max-steps)" in remarks(rows)
    # What is not said is as it always was: old records stay what they are.
    assert all(cell.settings == () for cell in cells(Checkpoint(balancer), comparison(max_steps=100_000)))
