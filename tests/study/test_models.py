"""A study of a language model: the same machinery as for policies, its records answered by the paper's questions."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

from tests.models.made import small_folder, text_file

from lilliput.errors import LilliputError
from lilliput.record import Cell
from lilliput.report.williams2024 import draws_of
from lilliput.study import document, plan
from lilliput.study.run import artifact_name, run
from lilliput.study.workspace import Workspace


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
    return document.read(place / "study.toml")


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
    assert (found.method, found.values.shape, found.perplexity) == ("GPTQ", (2, 2, 6), True)
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

    return Task("perplexity(windows=6)"), Task("perplexity(windows=5)")


def test_a_task_that_no_verdict_fits_is_refused(place):
    with pytest.raises(LilliputError, match="no task for it is named"):
        plan.plan(written(place, [f'classification("{place}")']))
