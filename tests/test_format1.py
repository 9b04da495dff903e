"""Folders that a program of record format 1 wrote are read as what they were: `fixtures/format1` was made by one.

The rows beside them are those that the same program printed.
"""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lilliput import record
from lilliput.errors import LilliputError
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy
from lilliput.record import RANDOM_POLICY, Record
from lilliput.report import summary, table
from lilliput.shrink import page, result
from lilliput.shrink.confirm import fixed
from lilliput.shrink.request import REQUEST, Place, Request
from lilliput.shrink.run import shrink
from lilliput.study.conduct import read_plan, records, tally_of
from lilliput.task import Task

FOLDER = Path(__file__).parent / "fixtures" / "format1"


def old(kind: str) -> list[Record]:
    return list(record.read_all(FOLDER / kind / "records"))


def same(now: Any, then: Any) -> bool:
    """Whether what was there is still there; floats but for the last digits, which depend on the order of sums."""
    match then:
        case dict():
            return all(same(now[name], value) for name, value in then.items())
        case list():
            return len(now) == len(then) and all(map(same, now, then))
        case float():
            return math.isclose(now, then, rel_tol=1e-9, abs_tol=1e-12)
        case _:
            return now == then


def test_every_record_is_read_by_renaming() -> None:
    for path in sorted(FOLDER.glob("*/records/*.json")):
        written, read = json.loads(path.read_text()), record.read(path)
        cell = written["cell"]
        assert written["record_format"] == 1
        assert read.digest == path.stem
        assert (read.cell.subject, read.cell.recipe) == (cell["policy"], cell["recipe"])
        assert read.cell.task == Task(cell["environment"], cell["environment_kwargs"], tuple(cell["wrappers"]))
        assert list(read.cell.items) == cell["episode_seeds"]
        assert read.cell.is_floor == (cell["policy"] == RANDOM_POLICY)
        assert [(m.quantity, list(m.values)) for m in read.measurements] == [
            (m["quantity"], m["values"]) for m in written["measurements"]
        ]
        rest = ("format", "target", "compression_seed", "quantities", "settings", "versions")
        assert json.loads(json.dumps({name: getattr(read.cell, name) for name in rest})) == {n: cell[n] for n in rest}


@pytest.mark.parametrize("kind", ["comparison", "study"])
def test_the_rows_are_those_that_were_printed(kind: str) -> None:
    then = json.loads((FOLDER / "rows.json").read_text())[kind]
    assert same(table.to_json(summary.rows(old(kind), 0.95)), then)


def test_a_written_old_record_is_one_of_the_present_format(tmp_path: Path) -> None:
    for one in old("study"):
        again = record.read(record.write(one, tmp_path))
        assert again == one
        assert again.digest == one.cell.digest != one.digest


def test_an_old_study_is_told_of_and_reported() -> None:
    assert len(read_plan(FOLDER / "study")["cells"]) > len(old("study"))
    found = list(records(FOLDER / "study"))
    assert {r.digest for r in found} == {path.stem for path in (FOLDER / "study" / "records").iterdir()}
    tally = tally_of(FOLDER / "study")
    assert (tally.done, tally.failed, tally.not_applicable) == (5, 2, 0)  # no compiler for the target was there


def test_an_old_shrink_is_told_of_and_drawn() -> None:
    found = result.read_result(FOLDER / "shrink" / "result.json")
    assert REQUEST.read(FOLDER / "shrink" / "request.json")["environment"] == "Pendulum-v1"
    then = json.loads((FOLDER / "rows.json").read_text())["shrink"]
    now = table.to_json(page.rows(old("shrink"), found, 0.8))
    # A row of a part of the episodes names the record that they were taken from, where it named none that there is.
    assert {digest for row in now for digest in row["digests"]} <= {r.digest for r in old("shrink")}
    assert same(now, [{name: value for name, value in row.items() if name != "digests"} for row in then])


def finished(folder: Path, example_policies: Path) -> tuple[Policy, Request, Path]:
    """The old shrink's folder, with the policy and the request that it was of."""
    policy = load_policy(example_policies / "sac-Pendulum-v1" / "sac-Pendulum-v1.zip")
    request = Request(Task("Pendulum-v1"), 0.8, 40.0, format="onnx", workers=1, train=False)
    return policy, request, Path(shutil.copytree(FOLDER / "shrink", folder / "small"))


def test_an_old_finished_shrink_is_its_result(tmp_path: Path, example_policies: Path) -> None:
    policy, request, folder = finished(tmp_path, example_policies)
    said: list[str] = []
    found = shrink(policy, request, folder, said.append)
    assert found.bytes == json.loads((folder / "result.json").read_text())["bytes"]
    assert "was finished before" in said[0]
    with pytest.raises(LilliputError, match=r"holds a shrink of keep 0\.8; choose another folder"):
        shrink(policy, replace(request, keep=0.9), folder, said.append)


def read_again(name: str, policy: Policy, request: Request, folder: Path) -> None:
    """What goes on in the folder reads the file of that name."""
    if name == "confirmation.json":
        fixed(Place(folder, policy.digest, request), ())
    else:
        shrink(policy, request, folder, lambda _: None)


@pytest.mark.parametrize("name", ["request.json", "confirmation.json", "result.json"])
def test_a_cut_or_foreign_file_of_a_shrink_is_one_line(tmp_path: Path, example_policies: Path, name: str) -> None:
    policy, request, folder = finished(tmp_path, example_policies)
    path = folder / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"[]", b'{"order": 3}', b'{"order": [], "confirmation_format": 9}'):
        path.write_bytes(content)
        with pytest.raises(LilliputError) as caught:
            read_again(name, policy, request, folder)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or "--force" in str(caught.value)


def test_an_old_order_of_finalists_stays(tmp_path: Path, example_policies: Path) -> None:
    policy, request, folder = finished(tmp_path, example_policies)
    order = fixed(Place(folder, policy.digest, request), ())
    assert list(order) == json.loads((folder / "confirmation.json").read_text())["order"]
