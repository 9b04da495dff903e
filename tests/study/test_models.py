"""A study of a language model: the same machinery as for policies, its records answered by the paper's questions."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

from tests.models.made import small_folder, text_file

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.record import Cell, read
from lilliput.report.calibration_draws import draws_of
from lilliput.study import document, plan
from lilliput.study.run import artifact_name, run
from lilliput.study.workspace import Workspace

PARTS = ("held_out", "whole")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    small_folder(folder / "model")
    for seed, name in enumerate(("one", "two")):
        text_file(folder / f"{name}.txt", seed=seed)
    return folder


def written(place, tasks):
    sources = f'["{place}/one.txt", "{place}/two.txt"]'
    recipe = f'quantize(weight_bits=3, method="gptq", source={sources}, samples=4, tokens=32)'
    (place / "study.toml").write_text(
        f"models = ['{place}/model']\ntasks = {tasks}\nrecipes = ['{recipe}']\ncompression_seeds = [0, 1]\n"
        "formats = ['transformers']\nitems = 6\n"
    )
    return document.read_study(place / "study.toml")


def test_a_study_of_draws_is_planned_run_and_answered(place):
    study = written(place, [f'perplexity(text="{place}/one.txt", windows=6, tokens=32)'])
    planned = plan.plan(study)
    assert len(planned.cells) == 1 + 1 + 4
    here = Workspace(place / "out")
    for subject in planned.subjects.values():
        planned.wing.keep(subject, here)
    records = [run(cell, here.folder, lambda *_: None) for cell in planned.cells]
    assert [record.status for record in records] == ["done"] * 6
    (found,) = draws_of(records)
    assert (found.method, found.values.shape, found.score.name) == ("GPTQ", (2, 2, 6), "perplexity")
    assert found.floor == pytest.approx(-np.log(257))
    assert len({record.artifact for record in records}) == 1 + 1 + 4
    sizes = {record.values("model_bytes") for record in records if record.cell.recipe}
    assert len(sizes) == 1


def test_one_artifact_serves_every_task():
    cells = [Cell("x", "half()", task, wing="models") for task in _two_tasks()]
    assert artifact_name(cells[0]) == artifact_name(cells[1])
    assert artifact_name(Cell("x", "half()", _two_tasks()[0])) != artifact_name(Cell("x", "half()", _two_tasks()[1]))


def _two_tasks():
    from lilliput.task import Task

    return Task("perplexity('x', windows=6)"), Task("perplexity('x', windows=5)")


def test_a_task_that_no_verdict_fits_is_refused(place):
    with pytest.raises(
        LilliputError, match="a model of language; its tasks: perplexity, choices; classification is asked of"
    ):
        plan.plan(written(place, [f'classification("{place}")']))


def test_cells_of_one_artifact_stand_together_so_that_it_is_opened_once(place):
    tasks = [f'perplexity(text="{place}/one.txt", windows={n}, tokens=32)' for n in (5, 6)]
    cells = [cell for cell in plan.plan(written(place, tasks)).cells if cell.recipe]
    assert [artifact_name(cell) for cell in cells[::2]] == [artifact_name(cell) for cell in cells[1::2]]
    assert [cell.task.id for cell in cells] == tasks * 4
    assert len({artifact_name(cell) for cell in cells}) == 4


def test_a_study_whose_task_asks_what_a_recipe_calibrates_on_is_not_planned(place):
    tasks = [f'perplexity(text="{place}/one.txt", windows=6, tokens=32, part="{part}")' for part in PARTS]
    with pytest.raises(LilliputError, match="also stands in the calibration source"):
        plan.plan(written(place, tasks))
    assert len(plan.plan(written(place, tasks[:1])).cells) == 6


def two_tasks_of(place):
    return written(place, [f'perplexity(text="{place}/one.txt", windows={n}, tokens=32)' for n in (5, 6)])


def check_records(study, there, folder):
    """Every record in `there` says what a run of its cell alone says, in this process."""
    planned, here = plan.plan(study), Workspace(folder)
    for subject in planned.subjects.values():
        planned.wing.keep(subject, here)
    for cell in planned.cells:
        alone, found = run(cell, here.folder, lambda *_: None), read(there / "records" / f"{cell.digest}.json")
        assert (found.status, found.artifact) == (alone.status, alone.artifact)
        assert found.scores == pytest.approx(alone.scores)
        assert not found.artifact or (there / found.artifact / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.longest
def test_a_study_of_a_model_that_was_killed_half_way_goes_on_and_ends_in_the_same_records(place, tmp_path):
    study, out = two_tasks_of(place), tmp_path / "out"
    command = ["study", "run", str(place / "study.toml"), "-o", str(out), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "lilliput", *command, "--workers", "2"], start_new_session=True)
    while len(list(out.glob("records/*.json"))) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.read_bytes() for path in out.glob("records/*.json")}
    assert 5 <= len(before) < 12
    assert CliRunner().invoke(cli, [*command, "--workers", "1"], catch_exceptions=False).exit_code == 0
    assert all(path.read_bytes() == text for path, text in before.items())
    check_records(study, out, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_finds_of_a_model_what_this_process_finds(place, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    from lilliput.study.cluster import Ray
    from lilliput.study.conduct import conduct

    study = two_tasks_of(place)
    tally = conduct(study, plan.plan(study), tmp_path / "out", Ray(2), lambda *_: None)
    assert (tally.done, tally.failed) == (12, 0)
    check_records(study, tmp_path / "out", tmp_path / "alone")
