"""A study on a processor: its cells count, its rows carry the counts, and nothing else of the report changes."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from lilliput.measure import count, target_named
from lilliput.measurement import Measurement
from lilliput.policies import file as policy_file
from lilliput.policies.policy import Policy
from lilliput.record import Record
from lilliput.report import study_tables, summary
from lilliput.report.files import csv_text
from lilliput.report.row import TargetFigures
from lilliput.study.conduct import conduct, records
from lilliput.study.document import read_study
from lilliput.study.local import Local
from lilliput.study.plan import on_target, plan
from lilliput.study.policies import POLICIES

STUDY = """
policies = ["balancer.lilliput"]
recipes = ["half()"]
formats = ["c", "onnx"]
targets = ["cortex-m4"]
episodes = 3
"""


@pytest.fixture
def study(tmp_path: Path, balancer: Policy) -> Path:
    policy_file.write(balancer, tmp_path / "balancer.lilliput")
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


def test_what_is_written_in_c_is_counted_too(study: Path) -> None:
    cells = plan(read_study(study)).cells
    counted = [cell for cell in cells if cell.target != "host"]
    assert [(cell.recipe, cell.format, cell.target) for cell in counted] == [
        ("", "c", "cortex-m4"),
        ("half()", "c", "cortex-m4"),
    ]
    assert all(cell.quantities == ("flash_bytes", "ram_bytes", "instructions") for cell in counted)
    assert not any(cell.items for cell in counted)
    played = [cell for cell in cells if cell.target == "host"]
    assert len(played) == 2 + 2 * 2
    assert not any("flash_bytes" in cell.quantities for cell in played)


def test_counts_stand_in_the_row_of_their_candidate(study: Path) -> None:
    played = [
        Record(cell, "done", measurements=(Measurement("episode_return", (1.0, 2.0, 4.0), "measured: by hand"),))
        for cell in plan(read_study(study)).cells
        if cell.target == "host"
    ]
    values = {"flash_bytes": 900.0, "ram_bytes": 80.0, "instructions": 700.0}
    counts = tuple(Measurement(name, (value,), "emulated: by hand") for name, value in values.items())
    half = next(record.cell for record in played if record.cell.recipe and record.cell.format == "c")
    done = Record(on_target(POLICIES, half, "cortex-m4"), "done", measurements=counts)
    failed = Record(on_target(POLICIES, half, "cortex-m3"), "failed", "no compiler")
    alone, rows = summary.rows(played, 0.9), summary.rows([*played, done, failed], 0.9)
    (row,) = (row for row in rows if row.on_targets)
    assert (row.recipe, row.format) == ("half()", "c")
    assert row.on_targets == (TargetFigures("cortex-m4", 900, 80, 700),)
    assert row.notes == ("cortex-m3: no compiler",)
    bare = [dataclasses.replace(row, on_targets=(), notes=(), digests=()) for row in rows]
    assert bare == [dataclasses.replace(row, digests=()) for row in alone]
    assert [line[2:6] for line in study_tables.on_targets(rows).body] == [("cortex-m4", "900", "80", "700")]
    assert "cortex-m4_flash_bytes" in csv_text(rows)
    assert not study_tables.on_targets(alone).body


@pytest.mark.embedded
def test_a_study_counts_what_measure_counts(study: Path, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    from lilliput.policies.artifact import read_artifact

    folder = tmp_path / "ran"
    conduct(read_study(study), plan(read_study(study)), folder, Local(1), lambda *_: None, text=study.read_text())
    found = [record for record in records(folder) if record.cell.target != "host"]
    assert len(found) == 2
    for record in found:
        counts = count(read_artifact(folder / record.artifact), target_named("cortex-m4"))
        assert record.values("instructions") == (counts.instructions,)
        assert record.values("flash_bytes") == (counts.flash_bytes,)
    rows = summary.rows(records(folder), 0.9)
    assert sum(len(row.on_targets) for row in rows) == 2
