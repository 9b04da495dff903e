"""What holds over many cells: performance profiles, how likely one method beats another, the spread of calibration."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput.report.recipe_text import calibration, method, undrawn
from lilliput.report.row import Row
from lilliput.statistics import (
    Interval,
    PerformanceProfile,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from lilliput.sums import deviation, mean

MOST = 8
"""Methods that are held against each other; more cannot be told apart in a figure."""


@final
@dataclass(frozen=True)
class Improvement:
    """How likely a cell of `ours` keeps more than one of `theirs` on the same policy; policies count equally."""

    ours: str
    theirs: str
    n_policies: int
    interval: Interval


@final
@dataclass(frozen=True)
class Spread:
    """What the draw of the calibration data alone does to the retention: means over policies, and the widest range.

    Attributes:
        mean: of the retention; sd: its standard deviation over draws, within a policy; widest: largest less smallest.
    """

    method: str
    source: str
    observations: str
    n_policies: int
    n_draws: int
    mean: float
    sd: float
    widest: float


Strata = dict[tuple[str, str], Float64[np.ndarray, " _"]]


def strata(rows: Sequence[Row]) -> dict[str, Strata]:
    """The retentions of each method on each policy in each environment, the method that kept the most first."""
    own: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.recipe and row.retention is not None:
            own[method(row.recipe, row.task.score)][row.policy, row.environment].append(row.retention.estimate)
    found = {name: {key: np.array(kept) for key, kept in policies.items()} for name, policies in own.items()}
    pooled = {name: interquartile_mean(np.concatenate(list(policies.values()))) for name, policies in found.items()}
    best = sorted(found, key=lambda name: -float(pooled[name]))[:MOST]
    return {name: found[name] for name in best}


def profiles(rows: Sequence[Row]) -> dict[str, PerformanceProfile]:
    """For each method the share of its cells above each retention, policies counting equally."""
    thresholds = np.linspace(0, 1.1, 45)
    found = {}
    for name, policies in strata(rows).items():
        scores = list(policies.values())
        if max(map(len, scores)) == 1:  # nothing to draw within a policy: policies are drawn
            scores = [np.concatenate(scores)]
        if sum(map(len, scores)) > 1:
            found[name] = performance_profile(scores, thresholds, rng=np.random.default_rng(0), draws=400)
    return found


def improvements(rows: Sequence[Row]) -> tuple[Improvement, ...]:
    """Every method against every other one that shares policies with it."""
    everything = strata(rows)
    found = []
    for ours, left in everything.items():
        for theirs, right in everything.items():
            shared = [key for key in left if key in right]
            if ours == theirs or sum(len(left[key]) * len(right[key]) for key in shared) < 2:
                continue  # one pair of cells makes no probability
            sides = [left[key] for key in shared], [right[key] for key in shared]
            interval = probability_of_improvement(*sides, rng=np.random.default_rng(0), draws=200)
            found.append(Improvement(ours, theirs, len(shared), interval))
    return tuple(found)


def spreads(rows: Sequence[Row]) -> tuple[Spread, ...]:
    """For each method, source and size of calibration data what its draws did, the steadiest method first."""
    kinds: dict[tuple[str, ...], dict[tuple[str, ...], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        kind = calibration(row.recipe, row.task.score)
        if kind is not None and row.retention is not None:
            drawn = (row.policy, row.environment, row.format, undrawn(row.recipe))
            kinds[tuple(kind)][drawn].append(row.retention.estimate)
    found = []
    for (name, source, observations), policies in kinds.items():
        repeated = {key: np.array(values) for key, values in policies.items() if len(values) > 1}
        drawn = list(repeated.values())
        if drawn:
            found.append(
                Spread(
                    name,
                    source,
                    observations,
                    n_policies=len({policy for policy, *_ in repeated}),
                    n_draws=max(map(len, drawn)),
                    mean=mean([mean(values) for values in drawn]),
                    sd=mean([deviation(values) for values in drawn]),
                    widest=float(max(np.ptp(values) for values in drawn)),
                )
            )
    return tuple(sorted(found, key=lambda spread: (spread.sd, spread.method)))
