"""What each method kept and saved over all policies of a study."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.report.recipe_text import method
from lilliput.report.row import Row, undisturbed, verdict_of
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


def costs(rows: Sequence[Row]) -> tuple[MethodCost, ...]:
    """What each method did, the one that kept the most first; disturbed environments are left out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in undisturbed(rows):
        if row.recipe:
            groups[method(row.recipe, row.task.score)].append(row)
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
