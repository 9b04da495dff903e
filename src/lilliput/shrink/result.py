"""What shrink found, in numbers and in one sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.shrink.searched import Searched

FORMAT = Format("result", 1, {0: dict})
"""Of the file. 1: the fields of `Result`, factor and sentence; 0: the same without a version."""

_UNITS = {
    "flash_bytes": "bytes of flash",
    "ram_bytes": "bytes of RAM",
    "instructions": "instructions a decision",
    "n_macs": "multiply-accumulates a decision",
}


@final
@dataclass(frozen=True)
class TrialPoint:
    """One trial on the frontier of the objective against retention, on selection episodes.

    Attributes:
        value: of the objective; None in files of before it was written.
    """

    recipe: str
    bytes: int
    retention: float
    standard_error: float
    n_episodes: int
    outcome: str = ""
    value: float | None = None

    @property
    def size(self) -> float:
        """What was made small."""
        return self.bytes if self.value is None else self.value


@final
@dataclass(frozen=True)
class Taught:
    """One of several teachers.

    Attributes:
        source: what it was loaded from; digest: its beginning, as recipes name it.
        best: whether its return is the one to be kept.
        n_students: that were tried of it; retention: of the best of them on selection episodes, None: of none.
        chosen: whether the result is a student of it.
    """

    source: str
    digest: str
    best: bool
    n_students: int
    retention: float | None
    chosen: bool

    @property
    def sentence(self) -> str:
        """The same for people."""
        kept = "" if self.retention is None else f", of which the best kept {100 * self.retention:.1f} %"
        best = " (the best teacher)" if self.best else ""
        students = "student" if self.n_students == 1 else "students"
        return f"{self.source}{best} taught {self.n_students} {students}{kept}"


@final
@dataclass(frozen=True)
class Result:
    """What shrink found.

    Attributes:
        baseline_bytes, bytes: model_bytes before and after.
        retention: on the confirmation episodes; low: its lower bound at 95 %, valid for the whole command; high: the
            upper end of its interval.
        recipe: what was done; empty: nothing smaller was confirmed and the result is the policy as it was.
        worst_decile, baseline_worst_decile: means of the worst tenth of the confirmation episodes.
        n_episodes: of the confirmation.
        n_trials: recipes that were tried.
        seconds: in all.
        notes: what the user should read.
        frontier: no other trial is both smaller and better.
        teachers: where there were several.
        figures: quantity, its value before and after, of all that the objective and the limits are about.
        objective: what was made small; target: the processor that it is to run on, host where none was named.
    """

    baseline_bytes: int
    bytes: int
    retention: float
    low: float
    high: float
    recipe: str
    worst_decile: float
    baseline_worst_decile: float
    n_episodes: int
    n_trials: int
    seconds: float
    notes: tuple[str, ...]
    frontier: tuple[TrialPoint, ...]
    figures: tuple[tuple[str, float, float], ...] = ()
    teachers: tuple[Taught, ...] = ()
    objective: str = "model_bytes"
    target: str = "host"

    @property
    def factor(self) -> float:
        """How much smaller."""
        return self.baseline_bytes / self.bytes

    @property
    def sentence(self) -> str:
        """The result for people."""
        if not self.recipe:
            made = "" if self.objective == "model_bytes" else f", in {self.made_small},"
            return f"{self.bytes:,} bytes as before: nothing smaller{made} was confirmed to keep the return"
        figures = "".join(f", {_words(name, before, after)}" for name, before, after in self.figures)
        return (
            f"{self.bytes:,} bytes instead of {self.baseline_bytes:,} ({self.factor:.0f}x){figures}; "
            f"keeps {100 * self.retention:.1f} % of the return (at least {100 * self.low:.1f} %, 95 % confidence) "
            f"on {self.n_episodes} episodes that the search never saw.{self._taught}"
        )

    @property
    def made_small(self) -> str:
        """What was made small, for people."""
        if self.objective in ("flash_bytes", "ram_bytes", "instructions"):
            return f"{_UNITS[self.objective]} on {self.target}"
        return {**_UNITS, "model_bytes": "bytes of constants", "latency_s": "time of a decision"}[self.objective]

    @property
    def _taught(self) -> str:
        """Whose student it is, and which of the teachers was the best."""
        chosen = next((one for one in self.teachers if one.chosen), None)
        best = next((one for one in self.teachers if one.best), None)
        if chosen is None or best is None:
            return ""
        kept = "the best of" if chosen is best else f"the return is that of {best.source}, the best of"
        return f" It is a student of {chosen.source}; {kept} {len(self.teachers)} teachers."


def _words(name: str, before: float, after: float) -> str:
    times = f"({before / after:.1f}x)" if after else ""
    if name == "latency_s":
        return f"{1e6 * after:.2f} us a decision instead of {1e6 * before:.2f} {times}"
    return f"{after:,.0f} {_UNITS[name]} instead of {before:,.0f} {times}"


def to_json(result: Result) -> dict[str, Any]:
    """The result as JSON data."""
    data = asdict(result)
    return {**data, "factor": result.factor, "sentence": result.sentence}


def write_result(result: Result, path: Path) -> None:
    """Write the file that says that a shrink is finished."""
    FORMAT.write(path, to_json(result))


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises:
        LilliputError: it is cut, damaged, something else or newer than this program.
    """
    try:
        data = FORMAT.read(path)
    except LilliputError as error:
        raise LilliputError(f"{error}; remove it, and the same command goes on from its records") from error
    try:
        return from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise LilliputError(
            f"{path} is malformed: {str(error)[:80]}; remove it, and the same command goes on from its records"
        ) from error


def from_json(data: Mapping[str, Any]) -> Result:
    """The result that `to_json` wrote."""
    plain = {name: value for name, value in data.items() if name not in ("factor", "sentence")}
    plain["notes"], plain["frontier"] = tuple(plain["notes"]), tuple(TrialPoint(**point) for point in plain["frontier"])
    plain["teachers"] = tuple(Taught(**one) for one in plain.get("teachers", ()))
    plain["figures"] = tuple((name, before, after) for name, before, after in plain.get("figures", ()))
    return Result(**plain)


def frontier(searched: Searched, outcomes: Mapping[str, str]) -> tuple[TrialPoint, ...]:
    """The trials that no other is both smaller and better than, the smallest first, and whatever was confirmed."""
    points = []
    for trial in searched.trials.values():
        if trial.reason or not len(trial.returns) or (trial.recipe and trial.broken):
            continue
        if not math.isfinite(trial.value):  # what was hopeless was not measured
            continue
        estimate, error = searched.bar.retention(trial.returns)
        outcome, n = outcomes.get(trial.recipe, ""), len(trial.returns)
        points.append(TrialPoint(trial.recipe, trial.model_bytes, estimate, error, n, outcome, trial.value))
    points.sort(key=lambda point: (point.size, -point.retention))
    kept: list[TrialPoint] = []
    best = float("-inf")
    for point in points:
        if point.retention > best or point.outcome:
            kept.append(point)
            best = max(best, point.retention)
    return tuple(kept)


def table(points: Sequence[TrialPoint], baseline_bytes: int, objective: str = "model_bytes") -> str:
    """The frontier as text, with a column for what was made small."""
    shown = "" if objective == "model_bytes" else f"{objective:>13} "
    lines = [f"{'bytes':>9} {'factor':>8} {shown}{'kept %':>8} {'±':>5} {'episodes':>8}  recipe"]
    for point in points:
        outcome = f" ({point.outcome})" if point.outcome else ""
        size = f"{point.size:>13,.6g} " if shown else ""
        lines.append(
            f"{point.bytes:>9,} {baseline_bytes / point.bytes:>7.1f}x {size}{100 * point.retention:>8.1f} "
            f"{200 * point.standard_error:>5.1f} {point.n_episodes:>8}  {point.recipe or 'baseline'}{outcome}"
        )
    return "\n".join(lines)
