"""The studies that ship are well formed, and with the public policies they can be planned."""

import os
from pathlib import Path

import pytest

from lilliput.study.document import read_study
from lilliput.study.plan import plan
from lilliput.study.training import waiting

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))


def of_wing(name):
    return [path for path in STUDIES if name == read_study(path).wing.NAME]


def test_there_are_studies():
    assert sorted([*of_wing("policies"), *of_wing("models")]) == STUDIES
    assert {path.stem for path in STUDIES} >= {"lu2024", "ivanov2024", "calibration", "robustness", "order", "bits"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_has_its_section_in_the_docs(path):
    study = read_study(path)
    assert study.title.startswith(path.stem)
    page = Path(__file__).parents[2] / "docs" / "studies.md"
    assert f"## {path.stem}" in page.read_text()


def check_plan(path, least):
    for folder in ("LILLIPUT_POLICIES", "LILLIPUT_GRID", "LILLIPUT_MODELS", "LILLIPUT_SMOLLM2"):
        if f"${folder}" in path.read_text() and not os.environ.get(folder):
            pytest.skip(f"needs public policies or models: set {folder}")
    if waiting(read_study(path).trainings):
        pytest.skip("its policies have to be trained first")
    planned = plan(read_study(path))
    # A task that a model cannot be asked is excluded for it: of two generators one has a bound, the other makes noise.
    assert [note for note in planned.notes if not note.endswith("everything is excluded")] == []
    assert len(planned.subjects) >= least
    assert len(planned.cells) > 50


@pytest.mark.parametrize("path", of_wing("policies"), ids=lambda path: path.stem)
def test_every_study_of_policies_can_be_planned(path):
    pytest.importorskip("mujoco")
    check_plan(path, 6)


@pytest.mark.parametrize("path", of_wing("models"), ids=lambda path: path.stem)
def test_every_study_of_models_can_be_planned(path):
    pytest.importorskip("transformers")
    check_plan(path, 1)
