"""From records to rows: what each candidate kept and cost, against the baseline on the same seeds."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.record import Cell, Record
from lilliput.report.decisions import Decision, Episodes, decide
from lilliput.statistics import Retention, Verdict, worst_decile
from lilliput.sums import deviation, mean
from lilliput.task import Task

Floors = dict[tuple[Task, tuple[int | str, ...]], Record]
"""What the floor did, by task and items."""


@final
@dataclass(frozen=True)
class Latency:
    """Seconds of one decision: median and tails; `ratio` is the baseline's median over this one's, in the same run."""

    p50: float
    p95: float
    p99: float
    ratio: float | None


@final
@dataclass(frozen=True)
class OnTarget:
    """What a candidate's C takes on a processor, counted in an emulator."""

    target: str
    flash_bytes: int
    ram_bytes: int
    instructions: int


@final
@dataclass(frozen=True)
class Row:
    """One candidate on one environment in one format; what was not measured is None, and `notes` say why.

    Attributes:
        smaller: the baseline's model_bytes over this one's.
        file_smaller: the same of the files on disk.
        memory_bytes: peak resident memory over that of the same runtime serving an identity policy.
        environment: the task in words.
        digests: of the cells that the row is made of: the names of their record files.
        on_targets: on each processor that it was counted on.
    """

    policy: str
    names: tuple[tuple[str, str], ...]
    task: Task
    environment: str
    recipe: str
    format: str
    target: str
    compression_seed: int
    status: str
    reason: str
    n_episodes: int
    mean_return: float | None
    sd_return: float | None
    worst_decile: float | None
    retention: Retention | None
    verdict: Verdict | None
    baseline_mean: float | None
    random_mean: float | None
    model_bytes: int | None
    smaller: float | None
    file_bytes: int | None
    file_smaller: float | None
    n_parameters: int | None
    n_nonzero_parameters: int | None
    n_macs: int | None
    latency: Latency | None
    memory_bytes: float | None
    peak_memory_bytes: float | None
    energy_j: float | None
    episode_time_s: float | None
    notes: tuple[str, ...]
    digests: tuple[str, ...] = ()
    on_targets: tuple[OnTarget, ...] = ()


def rows(records: Iterable[Record], keep: float, aside: Executor | None = None) -> tuple[Row, ...]:
    """One row a candidate, the baseline of each group first and the others in the order of the records.

    Args:
        records: of return, size and timing cells, in any number; the two kinds of one candidate become one row.
        keep: the share of the return above random that a candidate has to keep.
        aside: another process, which takes a part of the decisions.
    """
    parts, counted = _parts(records)
    chosen = _decidable(parts)
    decided = decide([parts[number].returns.episodes for number in chosen], keep, aside)
    return _rows(parts, dict(zip(chosen, decided, strict=True)), counted)


def rows_to_the_first_kept(records: Iterable[Record], keep: float) -> tuple[Row, ...]:
    """The same rows, but decided only from the smallest of each policy up to the first that is kept, or little further.

    The lower bound of a verdict is below the mean, so a candidate whose mean keeps too little needs no verdict.
    """
    parts, counted = _parts(records)
    waiting: dict[object, list[int]] = defaultdict(list)
    for number in sorted(_decidable(parts), key=lambda number: parts[number].own.one("model_bytes") or math.inf):
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
    return _rows(parts, known, counted)


def _parts(records: Iterable[Record]) -> tuple[list["_Part"], dict[tuple[object, ...], list[Record]]]:
    """The candidates in the order of the rows, and what was counted on targets."""
    groups: dict[tuple[str, Task], dict[tuple[object, ...], list[Record]]] = defaultdict(lambda: defaultdict(list))
    randoms: Floors = {}
    counted: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.cell.target != "host":
            counted[_whole(record.cell)].append(record)
        elif record.cell.is_floor:
            randoms[record.cell.task, record.cell.items] = record
        else:
            groups[record.cell.subject, record.cell.task][_candidate(record.cell)].append(record)
    parts: list[_Part] = []
    for (_, task), candidates in groups.items():
        measured = {candidate: _measured(own) for candidate, own in candidates.items()}
        for candidate in sorted(measured, key=lambda candidate: candidate[0] != ""):
            baseline = measured.get(("", *candidate[1:])) or _any_seed(measured, candidate)
            own = measured[candidate]
            parts.append(_Part(own, baseline, _returns(own, baseline, task, randoms)))
    return parts, counted


def _decidable(parts: Sequence["_Part"]) -> list[int]:
    return [number for number, part in enumerate(parts) if part.cell.recipe and part.returns.complete]


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
    returns: _Returns

    @property
    def cell(self) -> Cell:
        return self.own.records[0].cell

    @property
    def key(self) -> tuple[str, str]:
        return self.cell.subject, str(self.cell.task)


def _returns(
    own: _Measured,
    baseline: _Measured,
    task: Task,
    randoms: Floors,
) -> _Returns:
    played = next((record for record in own.records if record.values("episode_return")), None)
    random = randoms.get((task, played.cell.items)) if played else None
    return _Returns(
        np.array(own.values.get("episode_return", ()), np.float64),
        np.array(baseline.values.get("episode_return", ()), np.float64),
        np.array(random.values("episode_return") if random else (), np.float64),
    )


def _candidate(cell: Cell) -> tuple[object, ...]:
    return cell.recipe, cell.format, cell.compression_seed


def _whole(cell: Cell) -> tuple[object, ...]:
    return cell.subject, cell.task, _candidate(cell)


def _any_seed(measured: dict[tuple[object, ...], _Measured], candidate: tuple[object, ...]) -> _Measured:
    """The baseline of that format under another compression seed: nothing in a baseline is random."""
    return next(
        (found for key, found in measured.items() if key[0] == "" and key[1] == candidate[1]), _Measured((), {})
    )


def _row(
    part: _Part,
    kept: Retention | None,
    decided: Verdict | None,
    counted: list[Record],
) -> Row:
    own, baseline, cell = part.own, part.baseline, part.cell
    records = own.records
    failed = next((record for record in records if record.status != "done"), None)
    returns, base_returns, random_returns = part.returns.episodes
    model_bytes, base_bytes = own.one("model_bytes"), baseline.one("model_bytes")
    file_bytes, base_file = own.one("file_bytes"), baseline.one("file_bytes")
    peak, identity = own.one("peak_memory_bytes"), own.one("identity_memory_bytes")
    absent = {f"{a.quantity}: {a.reason}": None for record in records for a in record.absent}
    absent |= {f"{record.cell.target}: {record.reason}": None for record in counted if record.status != "done"}
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
        mean_return=mean(returns) if len(returns) else None,
        sd_return=deviation(returns) if len(returns) > 1 else None,
        worst_decile=worst_decile(returns) if len(returns) else None,
        retention=kept,
        verdict=decided,
        baseline_mean=mean(base_returns) if len(base_returns) else None,
        random_mean=mean(random_returns) if len(random_returns) else None,
        model_bytes=_int(model_bytes),
        smaller=base_bytes / model_bytes if base_bytes and model_bytes else None,
        file_bytes=_int(file_bytes),
        file_smaller=base_file / file_bytes if base_file and file_bytes else None,
        n_parameters=_int(own.one("n_parameters")),
        n_nonzero_parameters=_int(own.one("n_nonzero_parameters")),
        n_macs=_int(own.one("n_macs")),
        latency=_latency(own),
        memory_bytes=peak - identity if peak is not None and identity is not None else None,
        peak_memory_bytes=peak,
        energy_j=own.one("energy_j"),
        episode_time_s=own.one("episode_time_s"),
        notes=tuple(absent),
        digests=tuple(record.digest for record in (*records, *counted)),
        on_targets=tuple(_on_target(record) for record in counted if record.status == "done"),
    )


def _on_target(record: Record) -> OnTarget:
    flash, ram, instructions = (round(record.values(name)[0]) for name in ("flash_bytes", "ram_bytes", "instructions"))
    return OnTarget(record.cell.target, flash, ram, instructions)


def _median(values: tuple[float, ...]) -> float | None:
    if len(values) == 1:
        return values[0]
    return statistics.median(values) if values else None


def _int(value: float | None) -> int | None:
    return None if value is None else round(value)


def _latency(own: _Measured) -> Latency | None:
    values = own.values.get("latency_s")
    if not values:
        return None
    p50, p95, p99 = (float(q) for q in np.quantile(values, (0.5, 0.95, 0.99)))
    baseline = own.one("baseline_latency_s")
    return Latency(p50, p95, p99, baseline / p50 if baseline else None)
