"""From records to rows: what each candidate kept and cost, against the baseline on the same seeds."""

import functools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.measurement import QUANTITIES
from lilliput.policies.play import MAX_STEPS
from lilliput.record import Cell, Record
from lilliput.report.decisions import Decision, Episodes, decide
from lilliput.report.row import LatencyFigures, Row, TargetFigures
from lilliput.statistics import Retention, Verdict, shared_draws, worst_decile
from lilliput.statistics.variance_components import flips
from lilliput.sums import deviation, mean
from lilliput.task import DRAWN_SCORE, ITEM_SCORE, Task

Floors = dict[tuple[Task, tuple[int | str, ...], int | None], "_Measured"]
"""What the floor did, by task, items and where episodes are cut."""

_WORLDS = ("gymnasium", "mujoco", "box2d", "ale-py", "pybullet")
"""Packages whose version is a part of the task: another one's physics pays other returns for the same actions."""


def rows(records: Iterable[Record], keep: float, second: Executor | None = None) -> tuple[Row, ...]:
    """One row a candidate, the baseline of each group first and the others in the order of the records.

    Args:
        records: of return, size and timing cells, in any number; the two kinds of one candidate become one row.
        keep: the share of the return above random that a candidate has to keep.
        second: another process, which takes a part of the decisions.
    """
    parts, counted = _parts(records)
    chosen = [number for number in _decidable(parts) if not parts[number].is_drawn]
    decided = decide([parts[number].returns.episodes for number in chosen], keep, second)
    return _rows(parts, dict(zip(chosen, decided, strict=True)) | _drawn(parts, keep), counted)


def rows_to_the_first_kept(records: Iterable[Record], keep: float) -> tuple[Row, ...]:
    """The same rows, but decided only from the smallest of each policy up to the first that is kept, or little further.

    The lower bound of a verdict is below the mean, so a candidate whose mean keeps too little needs no verdict.
    """
    parts, counted = _parts(records)
    waiting: dict[object, list[int]] = defaultdict(list)
    for number in sorted(
        [n for n in _decidable(parts) if not parts[n].is_drawn],
        key=lambda number: parts[number].own.one("model_bytes") or math.inf,
    ):
        ours, theirs, random = (mean(side) for side in parts[number].returns.episodes)
        if ours - random > keep * (theirs - random):
            waiting[parts[number].key].append(number)
    known: dict[int, Decision] = {}
    at_once = 4
    while waiting:
        taken = [number for own in waiting.values() for number in own[:at_once]]
        known |= zip(taken, decide([parts[number].returns.episodes for number in taken], keep), strict=True)
        waiting = {
            key: own[at_once:]
            for key, own in waiting.items()
            if own[at_once:] and all(known[number][1].status != "kept" for number in own[:at_once])
        }
        at_once *= 2
    return _rows(parts, known | _drawn(parts, keep), counted)


def _parts(records: Iterable[Record]) -> tuple[list["_Part"], dict[tuple[object, ...], list[Record]]]:
    """The candidates in the order of the rows, and what was counted on targets."""
    groups: dict[tuple[str, Task, int | None], dict[tuple[object, ...], list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    randoms: Floors = {}
    counted: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.cell.target != "host":
            counted[_whole(record.cell)].append(record)
        elif record.cell.is_floor:
            randoms[record.cell.task, record.cell.items, record.cell.max_steps] = _measured([record])
        else:
            groups[record.cell.subject, record.cell.task, record.cell.max_steps][_candidate(record.cell)].append(record)
    parts: list[_Part] = []
    for (_, task, _), candidates in groups.items():
        measured = {candidate: _measured(own) for candidate, own in candidates.items()}
        returns = {str(key[1]): own.returns for key, own in measured.items() if key[0] == "" and len(own.returns)}
        drawn_score = task.score == DRAWN_SCORE
        noises = {name: None if drawn_score else floor_of_noise(name, returns) for name in returns}
        for candidate in sorted(measured, key=lambda candidate: candidate[0] != ""):
            baseline = measured.get(("", *candidate[1:])) or _any_seed(measured, candidate)
            own = measured[candidate]
            random = _random(own, task, randoms)
            parts.append(_Part(own, baseline, random, noises.get(str(candidate[1]))))
    return parts, counted


def _decidable(parts: Sequence["_Part"]) -> list[int]:
    return [number for number, part in enumerate(parts) if part.cell.recipe and part.returns.complete]


def _drawn(parts: Sequence["_Part"], keep: float) -> dict[int, Decision]:
    """Those whose metric is no mean of items, by the draws that they share."""
    return {n: shared_draws.decided(*parts[n].returns.episodes, keep) for n in _decidable(parts) if parts[n].is_drawn}


def _rows(
    parts: Sequence["_Part"], known: dict[int, Decision], counted: dict[tuple[object, ...], list[Record]]
) -> tuple[Row, ...]:
    return tuple(
        _row(part, *known.get(number, (None, None)), counted[_whole(part.cell)]) for number, part in enumerate(parts)
    )


@final
@dataclass(frozen=True)
class _Measured:
    """The records of one candidate, and the values of each quantity from the first that has it."""

    records: tuple[Record, ...]
    values: dict[str, tuple[float, ...]]

    def one(self, name: str) -> float | None:
        """The median; None where it was not measured."""
        return _median(self.values.get(name, ()))

    @functools.cached_property
    def returns(self) -> Float64[np.ndarray, " n"]:
        """The score, one an item; none where nothing was played."""
        score = self.records[0].cell.task.score if self.records else ""
        return np.array(self.values.get(score, ()), np.float64)

    @functools.cached_property
    def score(self) -> float | None:
        """The mean of the items, or the metric of all; None where nothing was played."""
        if not len(self.returns):
            return None
        return float(self.returns[0]) if self.is_drawn else mean(self.returns)

    @property
    def is_drawn(self) -> bool:
        """Whether the score is a metric of all items, then of draws of them."""
        return self.records[0].cell.task.score == DRAWN_SCORE

    @functools.cached_property
    def packages(self) -> dict[str, str]:
        """Version by package that rewards depend on: what a cell asked for, and what it was really played under."""
        found: dict[str, str] = {}
        for record in self.records:
            versions, score = record.cell.versions, record.cell.task.score
            asked = {key.removeprefix("package."): text for key, text in versions if key.startswith("package.")}
            played = next((m.conditions.packages for m in record.measurements if m.quantity == score), ())
            found = {**asked, **{name: text for name, text in played if name in _WORLDS}, **found}
        return found

    @property
    def n_terminated(self) -> int | None:
        """Episodes that ended by themselves; None where nobody looked."""
        found = self.values.get("episode_terminated")
        return None if found is None else round(math.fsum(found))


_NOTHING = _Measured((), {})


def _measured(records: Sequence[Record]) -> _Measured:
    values = {m.quantity: m.values for record in reversed(records) for m in reversed(record.measurements)}
    return _Measured(tuple(records), values)


@final
@dataclass(frozen=True)
class _Returns:
    """What a candidate, its baseline and the random policy returned; empty where there is nothing."""

    candidate: Float64[np.ndarray, " n"]
    baseline: Float64[np.ndarray, " m"]
    random: Float64[np.ndarray, " k"]

    @property
    def complete(self) -> bool:
        return 0 < len(self.candidate) == len(self.baseline) == len(self.random)

    @property
    def episodes(self) -> Episodes:
        return self.candidate, self.baseline, self.random


@final
@dataclass(frozen=True)
class _Part:
    """What a row is made of, but for its verdict."""

    own: _Measured
    baseline: _Measured
    random: _Measured
    noise: float | None

    @property
    def cell(self) -> Cell:
        return self.own.records[0].cell

    @property
    def is_drawn(self) -> bool:
        """Whether the score is a metric of all items, then of draws of them."""
        return self.own.is_drawn

    @property
    def key(self) -> tuple[str, str]:
        return self.cell.subject, str(self.cell.task)

    @functools.cached_property
    def returns(self) -> _Returns:
        return _Returns(self.own.returns, self.baseline.returns, self.random.returns)


def _random(own: _Measured, task: Task, randoms: Floors) -> _Measured:
    played = next((record for record in own.records if record.scores), None)
    return (randoms.get((task, played.cell.items, played.cell.max_steps)) if played else None) or _NOTHING


def floor_of_noise(format_: str, returns: Mapping[str, Float64[np.ndarray, " n"]]) -> float | None:
    """How far the mean return of a baseline goes where nothing but the order of its sums changes; None: not known.

    The largest difference from the same weights in another arithmetic on the same seeds, and no less than what chance
    makes of such differences: two standard errors of their mean.

    >>> floor_of_noise("c", {"c": np.array([4.0, 2.0]), "reference": np.array([1.0, 3.0])})
    4.0
    """
    own = returns.get(format_, np.zeros(0))
    pairs = [own - other for name, other in returns.items() if name != format_ and len(other) == len(own) > 1]
    return max((max(abs(mean(d)), 2 * deviation(d) / math.sqrt(len(d))) for d in pairs), default=None)


def _candidate(cell: Cell) -> tuple[object, ...]:
    return cell.recipe, cell.format, cell.compression_seed


def _whole(cell: Cell) -> tuple[object, ...]:
    return cell.subject, cell.task, _candidate(cell)


def _any_seed(measured: dict[tuple[object, ...], _Measured], candidate: tuple[object, ...]) -> _Measured:
    """The baseline of that format under another compression seed: nothing in a baseline is random."""
    return next((one for key, one in measured.items() if key[0] == "" and key[1] == candidate[1]), _NOTHING)


def _row(
    part: _Part,
    kept: Retention | None,
    decided: Verdict | None,
    counted: list[Record],
) -> Row:
    own, baseline, cell = part.own, part.baseline, part.cell
    records = own.records
    failed = next((record for record in records if record.status != "done"), None)
    returns = own.returns
    spread = returns[1:] if part.is_drawn else returns
    model_bytes, base_bytes = own.one("model_bytes"), baseline.one("model_bytes")
    file_bytes, base_file = own.one("file_bytes"), baseline.one("file_bytes")
    peak, identity = own.one("peak_memory_bytes"), own.one("identity_memory_bytes")
    reasons: dict[str, dict[str, None]] = {}
    for what, reason in (
        *((absent.quantity, absent.reason) for record in records for absent in record.absent),
        *((record.cell.target, record.reason) for record in counted if record.status != "done"),
    ):
        reasons.setdefault(reason, {})[what] = None
    return Row(
        policy=cell.subject,
        names=records[0].names or (baseline.records[0].names if baseline.records else ()),
        task=cell.task,
        environment=str(cell.task),
        recipe=cell.recipe,
        format=cell.format,
        target=cell.target,
        compression_seed=cell.compression_seed,
        status=failed.status if failed else "done",
        reason=failed.reason if failed else "",
        n_episodes=len(returns),
        mean_return=own.score,
        sd_return=deviation(spread) if len(spread) > 1 else None,
        worst_decile=worst_decile(returns) if len(returns) and not part.is_drawn else None,
        retention=kept,
        verdict=decided,
        baseline_mean=baseline.score,
        random_mean=part.random.score,
        model_bytes=_int(model_bytes),
        smaller=base_bytes / model_bytes if base_bytes and model_bytes else None,
        file_bytes=_int(file_bytes),
        file_smaller=base_file / file_bytes if base_file and file_bytes else None,
        n_parameters=_int(own.one("n_parameters")),
        n_nonzero_parameters=_int(own.one("n_nonzero_parameters")),
        n_macs=_int(own.one("n_macs")),
        latency=_latency(part),
        memory_bytes=peak - identity if peak is not None and identity is not None else None,
        peak_memory_bytes=peak,
        energy_j=own.one("energy_j"),
        episode_time_s=own.one("episode_time_s"),
        notes=tuple(f"{', '.join(what)}: {reason}" for reason, what in reasons.items()),
        digests=tuple(record.digest for record in (*records, *counted)),
        on_targets=tuple(_on_target(record) for record in counted if record.status == "done"),
        figures=_figures(part),
        n_terminated=own.n_terminated,
        baseline_terminated=baseline.n_terminated,
        n_cut=_n_cut(own, cell.max_steps or MAX_STEPS),
        noise=part.noise,
        within_noise=_is_within_noise(part),
        other_versions=_other_versions(part),
        said=tuple(dict.fromkeys(sentence for record in records for sentence in record.said)),
        doubts=tuple(sentence for record in part.random.records for sentence in record.said),
    )


def _is_within_noise(part: _Part) -> bool:
    """Whether a candidate differs from its baseline by no more than the same weights do in other arithmetic."""
    if not (part.cell.recipe and part.noise and part.returns.complete):
        return False
    return abs(mean(part.own.returns) - mean(part.baseline.returns)) <= part.noise


def _n_cut(own: _Measured, limit: int) -> int:
    """Episodes as long as our own limit that did not end by themselves."""
    pairs = zip(own.values.get("episode_length", ()), own.values.get("episode_terminated", ()), strict=False)
    return sum(length >= limit and not terminated for length, terminated in pairs)


def _other_versions(part: _Part) -> str:
    """In words, which packages of the environment differ between what is compared; empty where none does."""
    ours = part.own.packages
    others = {"its baseline": part.baseline.packages, "the random policy": part.random.packages}
    found = [
        f"{who} under {name} {theirs[name]}, this under {ours[name]}"
        for who, theirs in others.items()
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]
    return "; ".join(found)


def _figures(part: _Part) -> tuple[tuple[str, float], ...]:
    own = part.own
    found = {name: statistics.median(own.values[name]) for name in own.values if QUANTITIES[name].column}
    ours, theirs = own.returns, part.baseline.returns
    # Where every value is right or wrong, an answer can change without a change of the mean.
    right_or_wrong = part.cell.task.score == ITEM_SCORE and set(np.unique(np.concatenate([ours, theirs]))) <= {0.0, 1.0}
    if part.cell.recipe and right_or_wrong and 0 < len(ours) == len(theirs):
        found["flips"] = flips(ours[None], theirs)
    return tuple(sorted(found.items()))


def _on_target(record: Record) -> TargetFigures:
    flash, ram, instructions = (round(record.values(name)[0]) for name in ("flash_bytes", "ram_bytes", "instructions"))
    return TargetFigures(record.cell.target, flash, ram, instructions)


def _median(values: tuple[float, ...]) -> float | None:
    if len(values) == 1:
        return values[0]
    return statistics.median(values) if values else None


def _int(value: float | None) -> int | None:
    return None if value is None else round(value)


def _latency(part: _Part) -> LatencyFigures | None:
    values = part.own.values.get("latency_s")
    if not values:
        return None
    p50, p95, p99 = (float(q) for q in np.quantile(values, (0.5, 0.95, 0.99)))
    # Timed twice in the same turns, the baseline is the measure: that one time is not the other says nothing.
    baseline = part.own.one("baseline_latency_s") if part.cell.recipe else p50
    return LatencyFigures(p50, p95, p99, baseline / p50 if baseline else None)
