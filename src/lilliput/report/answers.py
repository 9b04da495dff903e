"""What one wants to know first: the smallest that kept the return, what each method cost, what failed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.report.recipe_text import method
from lilliput.report.summary import Row
from lilliput.statistics import Interval, interquartile_mean

_DRAWS = 500


@final
@dataclass(frozen=True)
class MethodCost:
    """What one method did over all policies.

    Attributes:
        retention: interquartile mean over all its cells; the interval comes from drawing policies, each with all of
            its cells, so that it says what other policies would give. It has no width where there is one policy.
        smaller, faster: medians of the factors.
    """

    method: str
    n_policies: int
    n_cells: int
    statuses: Counter[str]
    retention: Interval | None
    smaller: float | None
    faster: float | None


def algorithm(row: Row) -> str:
    """The algorithm that trained the policy, as its source says."""
    return dict(row.names).get("algorithm") or "unknown"


def label(row: Row) -> str:
    """The policy and where it plays, in words."""
    names = dict(row.names)
    who = names.get("algorithm") or names.get("source") or row.policy[:8]
    return f"{who} {row.environment}"


def labels(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """A label for each policy and environment, told apart by the digest where two would read alike."""
    named: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.names or (row.policy, row.environment) not in named:
            named[row.policy, row.environment] = row
    found = {key: label(row) for key, row in named.items()}
    taken = Counter(found.values())
    return {key: text if taken[text] == 1 else f"{text} ({key[0][:6]})" for key, text in found.items()}


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


def smallest(rows: Sequence[Row]) -> list[Row | None]:
    """Of each policy the candidate of the fewest model bytes whose verdict is kept; None where there is none."""
    found: list[Row | None] = []
    for group in by_policy(rows).values():
        kept = [row for row in group if verdict_of(row) == "kept" and row.model_bytes is not None]
        found.append(min(kept, key=lambda row: row.model_bytes or 0, default=None))
    return found


def promising(group: Sequence[Row], keep: float) -> Row | None:
    """The smallest undecided candidate that looks as if it kept the return and that more episodes would decide."""
    found = [
        row
        for row in group
        if verdict_of(row) == "undecided"
        and row.retention is not None
        and row.retention.estimate >= keep
        and row.verdict is not None
        and row.verdict.episodes_needed
    ]
    return min(found, key=lambda row: row.model_bytes or 0, default=None)


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


def costs(rows: Sequence[Row]) -> tuple[MethodCost, ...]:
    """What each method did, the one that kept the most first; disturbed environments are left out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in undisturbed(rows):
        if row.recipe:
            groups[method(row.recipe)].append(row)
    found = [_cost(name, group) for name, group in groups.items()]
    return tuple(sorted(found, key=lambda cost: -(cost.retention.estimate if cost.retention else -np.inf)))


def _cost(name: str, group: Sequence[Row]) -> MethodCost:
    by_digest: dict[str, list[float]] = defaultdict(list)
    for row in group:
        if row.retention is not None:
            by_digest[row.policy].append(row.retention.estimate)
    return MethodCost(
        name,
        n_policies=len({row.policy for row in group}),
        n_cells=len(group),
        statuses=Counter(verdict_of(row) for row in group),
        retention=_over_policies([np.array(kept) for kept in by_digest.values()]),
        smaller=_median([row.smaller for row in group if row.smaller is not None]),
        faster=_median([row.latency.ratio for row in group if row.latency is not None and row.latency.ratio]),
    )


def _over_policies(kept: Sequence[Float64[np.ndarray, " _"]]) -> Interval | None:
    """The interquartile mean of all, with the percentile interval of drawing as many groups with replacement."""
    if not kept:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(kept), (_DRAWS, len(kept)))
    means = [float(interquartile_mean(np.concatenate([kept[n] for n in draw]))) for draw in drawn]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(interquartile_mean(np.concatenate(kept))), float(low), float(high))


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
