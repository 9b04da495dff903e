"""The row of a table: one candidate on one task in one format, and what its status is called."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from lilliput.statistics import Retention, Verdict
from lilliput.task import Task


@final
@dataclass(frozen=True)
class LatencyFigures:
    """Seconds of one decision: median and tails; `ratio` is the baseline's median over this one's, in the same run."""

    p50: float
    p95: float
    p99: float
    ratio: float | None


@final
@dataclass(frozen=True)
class TargetFigures:
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
        mean_return: the mean of the values that the task gives, one an item; of models too, where the score that
            people print is made of it (`vocabulary.score_of`).
        figures: name and median of each quantity that has a column of its own.
        n_terminated: episodes that ended by themselves, as by a fall; baseline_terminated: the baseline's.
        n_cut: episodes that nothing but our own limit ended.
        noise: by how much the return of the baseline, the same weights, differs where other arithmetic sums them.
        within_noise: whether this candidate's return differs from its baseline's by no more than that.
        said: what the steps of its recipe said of it.
        doubts: what is said of the task itself.
        other_versions: under which packages this was played and its baseline or the random policy was not.
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
    latency: LatencyFigures | None
    memory_bytes: float | None
    peak_memory_bytes: float | None
    energy_j: float | None
    episode_time_s: float | None
    notes: tuple[str, ...]
    digests: tuple[str, ...] = ()
    on_targets: tuple[TargetFigures, ...] = ()
    figures: tuple[tuple[str, float], ...] = ()
    n_terminated: int | None = None
    baseline_terminated: int | None = None
    n_cut: int = 0
    noise: float | None = None
    within_noise: bool = False
    other_versions: str = ""
    said: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def verdict_of(row: Row) -> str:
    """kept, lost, in noise (lost no more than other sums lose), undecided, no baseline, failed, not applicable, or
    nothing for a baseline.
    """
    if row.status != "done":
        return row.status.replace("_", " ")
    if not row.recipe:
        return ""
    if row.verdict is None:
        return "not played"
    if row.verdict.status == "lost" and row.within_noise:
        return "in noise"
    return "no baseline" if row.verdict.status == "baseline not better than random" else row.verdict.status


def by_policy(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each policy in each environment."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.policy, row.environment].append(row)
    return dict(groups)


def undisturbed(rows: Iterable[Row]) -> list[Row]:
    """The rows without those of a changed task whose policy is judged on the unchanged one, too."""
    found = list(rows)
    played = {(row.policy, row.environment) for row in found}
    return [row for row in found if not row.task.changed or (row.policy, row.task.base) not in played]
