"""A wing is added from outside, one row, and found at work from a study's file to its page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from tests.studied import records, studied

from lilliput.cli import cli
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measurement import QUANTITIES, Measurement, Quantity
from lilliput.record import Cell
from lilliput.study.table import WINGS
from lilliput.study.wing import Pairs, Progress, Wing
from lilliput.study.workspace import Workspace
from lilliput.task import Task


@dataclass(frozen=True)
class Text:
    """A text that answers which letter comes next: always the one that it has most of."""

    words: str

    @property
    def digest(self) -> str:
        return "text-" + self.words.encode().hex()[:40]


@dataclass(frozen=True)
class Rightness(Meter):
    NAME: ClassVar[str] = "rightness"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("rightness", "model_bytes")

    def measure(self, room: Room) -> Sequence[Measured]:
        found = []
        for bench in room.benches:
            text = (bench.folder / "text").read_text()
            scores = tuple(_right(text, item) for item in bench.cell.items)
            found.append(
                (
                    Measurement("rightness", scores, "measured: letters"),
                    Measurement("model_bytes", (float(len(text)),), "counted: letters"),
                )
            )
        return found


def _right(text: str, item: int | str) -> float:
    """How well a text answers: a share that depends on the item, the whole of it for a letter that it has."""
    return (0.5 + (int(item) % 7) / 14) * float("a" in text)


@dataclass(frozen=True)
class Texts(Wing):
    """A made-up wing: texts that are made small by taking letters out."""

    NAME: ClassVar[str] = "texts"
    SUBJECT: ClassVar[str] = "text"
    TASK: ClassVar[str] = "question"
    TASKS: ClassVar[str] = "questions"
    FLOOR: ClassVar[str] = "guess"
    ITEMS: ClassVar[str] = "asked"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("rightness", "model_bytes")

    @property
    def formats(self) -> tuple[str, ...]:
        return ("plain",)

    @property
    def meters(self) -> Sequence[Meter]:
        return (Rightness(),)

    def canonical(self, recipe: str) -> str:
        return recipe.strip()

    def check(self, subject: Text, recipe: str, task: Task) -> None:
        return

    def step_versions(self, recipe: str) -> Mapping[str, int]:
        return {"shorten": 2} if recipe else {}

    def packages(self, task: Task, format_: str) -> Pairs:
        return ()

    def is_named(self, source: str) -> bool:
        return False

    def load(self, source: str, told: Mapping[str, Any]) -> Text:
        return Text(Path(source).read_text())

    def names(self, subject: Text) -> Pairs:
        return (("source", "a text"), ("algorithm", "prose"))

    def tasks(self, subject: Text, source: str, named: Sequence[Task]) -> tuple[Task, ...]:
        return tuple(Task(task.id, score="rightness") for task in named or (Task("letters"),))

    def caveats(self, subject: Text, task: Task) -> tuple[str, ...]:
        return ()

    def items(self, task: Task, seed: int, n: int) -> tuple[int, ...]:
        return tuple(range(n))

    def settings(self, given: Mapping[str, int]) -> Pairs:
        return ()

    def file(self, here: Workspace, digest: str) -> Path:
        return here.folder / "texts" / digest

    def keep(self, subject: Text, here: Workspace) -> None:
        path = self.file(here, subject.digest)
        path.parent.mkdir(exist_ok=True)
        path.write_text(subject.words)

    def read(self, here: Workspace, digest: str) -> Text:
        return Text(self.file(here, digest).read_text())

    def build(self, subject: Text, cell: Cell, here: Workspace, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True)
        (folder / "text").write_text(subject.words[:: 2 if cell.recipe else 1])

    def said(self, subject: Text, folder: Path) -> tuple[str, ...]:
        return ("shorten: every second letter",)

    def is_sound(self, folder: Path) -> bool:
        return True

    def floor(self, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        return (Measurement("rightness", (0.04,) * len(cell.items), "counted: one of 25"),)

    def doubts(self, cell: Cell) -> tuple[str, ...]:
        return ()

    def can_answer(self, subject: Text) -> bool:
        return True

    def answer(self, subject: Text, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        scores = tuple(_right(subject.words, item) for item in cell.items)
        return (Measurement("rightness", scores, "measured: by heart"),)

    def observations(self, subject: Text, cell: Cell) -> np.ndarray:
        return np.zeros(1)

    def identity(self, subject: Text, format_: str, folder: Path) -> Path:
        return folder

    def item_s(self, subject: Text | None, cell: Cell) -> float:
        return 0.0

    def build_s(self, cell: Cell) -> float:
        return 0.1

    def calibration_items(self, recipe: str) -> int:
        return 0

    def artifact_bytes(self, subject: Text) -> int:
        return len(subject.words)


def test_a_wing_is_studied_from_its_file_to_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    row = Quantity("rightness", "1", "higher", False, 3, "whether a letter was right")
    monkeypatch.setitem(QUANTITIES, "rightness", row)
    monkeypatch.setitem(WINGS, "texts", Texts())
    (tmp_path / "one.txt").write_text("a man a plan a canal panama")
    lines = ('questions = ["letters"]', 'recipes = ["shorten()"]', "asked = 200")
    written = studied(tmp_path, *lines, subjects='texts = ["*.txt"]')
    by_role = {(r["cell"]["subject"] == "guess", r["recipe"], r["cell"]["format"]): r for r in records(tmp_path)}
    assert set(by_role) == {
        (True, "", "none"), (False, "", "plain"), (False, "shorten()", "plain"), (False, "", "reference"),
    }  # fmt: skip
    cell = by_role[False, "shorten()", "plain"]["cell"]
    assert (cell["wing"], cell["floor"], cell["task"]["score"]) == ("texts", "guess", "rightness")
    assert cell["versions"] == [["quantity.model_bytes", "1"], ["quantity.rightness", "3"], ["step.shorten", "2"]]
    line = next(line for line in written["csv"].splitlines() if "shorten()" in line)
    assert ",kept," in line
    assert "prose letters" in line
    assert "shorten()" in written["html"]
    assert "shorten: every second letter" in written["html"]  # what the step said of the artifact
    assert line.endswith("shorten: every second letter")
    assert "| shorten: every second letter | shorten() | 1 |" in (tmp_path / "out" / "tables.md").read_text()
    dry = CliRunner().invoke(cli, ["study", "run", str(tmp_path / "study.toml"), "--dry-run", "--json"])
    assert json.loads(dry.stdout)["cells"] == 4
