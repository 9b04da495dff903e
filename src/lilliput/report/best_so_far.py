"""The best candidate while a study is still under way: from means alone, so that it costs nothing to keep."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, final

from lilliput import paired
from lilliput.record import Cell, Record
from lilliput.report.vocabulary import brief_text, name_of
from lilliput.sums import mean
from lilliput.task import MODEL_SCORES

_Task = tuple[object, ...]


@final
@dataclass(frozen=True)
class Candidate:
    """A candidate whose mean keeps enough; no interval stands behind it yet.

    Attributes:
        smaller: its baseline's model_bytes over its own.
    """

    algorithm: str
    environment: str
    recipe: str
    format: str
    retention: float
    smaller: float

    def to_json(self) -> dict[str, Any]:
        """The candidate as JSON data."""
        return vars(self)


@final
class BestSoFar:
    """Follows the records as they come, in any order, and knows the most compressed whose mean keeps `keep`."""

    def __init__(self, keep: float) -> None:
        """Before the first record."""
        self.keep = keep
        self.candidate: Candidate | None = None
        self._random: dict[_Task, float] = {}
        self._baseline: dict[_Task, tuple[float, float]] = {}
        self._waiting: dict[_Task, list[Record]] = defaultdict(list)

    def follow(self, record: Record) -> None:
        """Take a record in; the candidate may be another one then."""
        returns = record.scores
        if record.status != "done" or not returns:
            return
        task, cell = _task(record.cell), record.cell
        if cell.is_floor:
            self._random[task] = mean(returns)
            for group in [key for key in self._waiting if key[: len(task)] == task]:
                self._settle(group, task)
            return
        sizes = record.values("model_bytes")
        if not sizes:
            return
        group = (*task, cell.subject, cell.format)
        if cell.recipe:
            self._waiting[group].append(record)
        else:
            self._baseline[group] = (mean(returns), sizes[0])
        self._settle(group, task)

    def _settle(self, group: _Task, task: _Task) -> None:
        """Compare what waited for this baseline and random policy, where both are there."""
        if task not in self._random or group not in self._baseline:
            return
        random, (baseline, n_bytes) = self._random[task], self._baseline[group]
        for record in self._waiting.pop(group, []):
            kept = paired.share(mean(record.scores), baseline, random)
            smaller = n_bytes / record.values("model_bytes")[0]
            if kept >= self.keep and smaller > (self.candidate.smaller if self.candidate else 1):
                names, cell = dict(record.names), record.cell
                called = name_of(names.get("source" if cell.task.score in MODEL_SCORES else "algorithm") or "one")
                self.candidate = Candidate(called, brief_text(cell.task), cell.recipe, cell.format, kept, smaller)


def _task(cell: Cell) -> _Task:
    return cell.task, cell.items
