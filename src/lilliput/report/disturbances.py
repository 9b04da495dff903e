"""Whether a compressed policy stands less: what it keeps in a disturbed environment against the plain one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from lilliput.report.guidelines import MIN_POLICIES, interval_over_policies
from lilliput.report.row import Row
from lilliput.statistics import Interval
from lilliput.sums import mean


@final
@dataclass(frozen=True)
class Effect:
    """One recipe under one disturbance, over the policies that played with it and without.

    Attributes:
        baseline_left: share of its undisturbed return above random that the baseline has left, the median.
        before, under: retentions without and under the disturbance, the medians; each against the baseline there.
        lost_more: the candidate's loss under it less its loss without, as shares of the undisturbed baseline's return
            above random: the mean with its t-interval over policies. None: of fewer than two policies.
        answer: what the interval says: stands less; no less (it loses at most 1 - keep more); or undecided, as with
            fewer than three policies.
    """

    recipe: str
    disturbance: str
    n_policies: int
    baseline_left: float
    before: float
    under: float
    lost_more: Interval | None
    answer: Literal["stands less", "no less", "undecided"]


EVERY = "all of them"


def effects(rows: Sequence[Row], keep: float) -> tuple[Effect, ...]:
    """All recipes together and each alone under each disturbance; nothing where no environment is disturbed.

    Only candidates whose mean keeps `keep` without the disturbance count: what is broken has little left to lose.
    """
    plain = {_candidate(row, row.environment): row for row in rows if row.retention is not None}
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = defaultdict(list)
    for row in rows:
        disturbance = row.task.changed
        before = plain.get(_candidate(row, row.task.base)) if disturbance and row.recipe and row.retention else None
        if before is not None and before.retention is not None and before.retention.estimate >= keep:
            pairs[EVERY, disturbance].append((before, row))
            pairs[row.recipe, disturbance].append((before, row))
    order = sorted(pairs, key=lambda key: (key[0] != EVERY, *key))
    return tuple(_effect(recipe, disturbance, pairs[recipe, disturbance], 1 - keep) for recipe, disturbance in order)


def _candidate(row: Row, environment: str) -> tuple[object, ...]:
    return row.policy, environment, row.recipe, row.format, row.compression_seed


def _effect(recipe: str, disturbance: str, pairs: Sequence[tuple[Row, Row]], margin: float) -> Effect:
    by_policy: dict[str, list[float]] = defaultdict(list)
    left, before, under = [], [], []
    for plain, disturbed in pairs:
        span = (plain.baseline_mean or 0.0) - (plain.random_mean or 0.0)
        by_policy[plain.policy].append((_loss(disturbed) - _loss(plain)) / span)
        left.append(((disturbed.baseline_mean or 0.0) - (plain.random_mean or 0.0)) / span)
        before.append(plain.retention.estimate if plain.retention else np.nan)
        under.append(disturbed.retention.estimate if disturbed.retention else np.nan)
    values = [mean(own) for own in by_policy.values()]
    lost = interval_over_policies(values) if len(values) > 1 else None
    middle = [float(np.median(shares)) for shares in (left, before, under)]
    return Effect(
        recipe, disturbance, len(values), middle[0], middle[1], middle[2], lost, _answer(lost, len(values), margin)
    )


def _answer(lost: Interval | None, n: int, margin: float) -> Literal["stands less", "no less", "undecided"]:
    if lost is None or n < MIN_POLICIES:
        return "undecided"
    return "stands less" if lost.low > 0 else "no less" if lost.high <= margin else "undecided"


def _loss(row: Row) -> float:
    return (row.baseline_mean or 0.0) - (row.mean_return or 0.0)
