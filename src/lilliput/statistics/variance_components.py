"""Where the variation of compressed models comes from: the calibration source, the draw from it, the items asked.

`values` holds one value for each source, draw of that source and item: draws are nested in sources, items are the same
for all. The components are those of the balanced analysis of variance with random effects (Searle et al. 1992, section
4.6); their intervals are generalized confidence intervals (Weerahandi 1993).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.statistics.quantile import Interval, student_t_quantile
from lilliput.sums import deviation, mean, means, total

Values = Float64[np.ndarray, "sources draws items"]

_REPLICATES = 20_000


@final
@dataclass(frozen=True)
class Split:
    """The standard deviation of a model's score, and its share of the variance, by where it comes from.

    Attributes:
        sources: between the means of sources.
        draws: between draws of one source.
        items: of asking these items and not others.
        calibration: of sources and draws together: what the choice of calibration data does.
        shares: of the variance of one score: sources, draws, items.
    """

    sources: Interval
    draws: Interval
    items: Interval
    calibration: Interval
    shares: tuple[float, float, float]


@final
@dataclass(frozen=True)
class Difference:
    """How much better the first of two sources is, for new draws and new items."""

    first: int
    second: int
    difference: Interval

    @property
    def decided(self) -> bool:
        """Whether one of them is better: 0 is not in the interval."""
        return self.difference.low > 0 or self.difference.high < 0


def split(values: Values, *, rng: np.random.Generator, confidence: float = 0.95) -> Split:
    """The components of the score's variance, with their intervals.

    Raises:
        LilliputError: there are fewer than two sources, draws or items, or a value is not finite.
    """
    squares, freedom = _mean_squares(values)
    n_items = values.shape[2]
    point = _components(squares, values.shape)
    pivots = {name: squares[name] * freedom[name] / rng.chisquare(freedom[name], _REPLICATES) for name in squares}
    spread = _components(pivots, values.shape)
    items = {name: spread[name] / n_items for name in ("item", "source_item", "rest")}
    parts = {
        "sources": (point["source"], spread["source"]),
        "draws": (point["draw"], spread["draw"]),
        "items": (_per_score(point, n_items), sum(items.values())),
        "calibration": (point["source"] + point["draw"], spread["source"] + spread["draw"]),
    }
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    found = {}
    for name, (estimate, replicates) in parts.items():
        low, high = np.sqrt(np.quantile(replicates, ends))
        found[name] = Interval(math.sqrt(float(estimate)), float(low), float(high))
    variances = [float(parts[name][0]) for name in ("sources", "draws", "items")]
    total = sum(variances)
    shares = tuple(one / total if total else math.nan for one in variances)
    return Split(**found, shares=(shares[0], shares[1], shares[2]))


def ratio_of_sensitivity(
    ours: Float64[np.ndarray, "_ _ _"],
    theirs: Float64[np.ndarray, "_ _ _"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Interval:
    """How many times as much the calibration data moves our score as theirs, as standard deviations.

    Raises:
        LilliputError: as `split`; or neither moves at all.
    """
    spreads, points = [], []
    for values in (ours, theirs):
        squares, freedom = _mean_squares(values)
        pivots = {name: squares[name] * freedom[name] / rng.chisquare(freedom[name], _REPLICATES) for name in squares}
        for found, into in ((squares, points), (pivots, spreads)):
            parts = _components(found, values.shape)
            into.append(np.sqrt(parts["source"] + parts["draw"]))
    if points[1] == 0:
        raise LilliputError("the scores compared with do not move with the calibration data at all; there is no ratio")
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = np.where(spreads[1] > 0, spreads[0] / spreads[1], np.where(spreads[0] > 0, np.inf, 1.0))
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    return Interval(float(points[0] / points[1]), float(low), float(high))


def source_differences(values: Values, *, confidence: float = 0.95) -> tuple[Difference, ...]:
    """Every pair of sources, together at that confidence (Bonferroni).

    The error of a difference is what its two sources show: of their draws, and of how differently they take the items;
    its degrees of freedom are Satterthwaite's.
    """
    _check(values)
    sources, draws, items = values.shape
    pairs = [(one, other) for one in range(sources) for other in range(one + 1, sources)]
    found = []
    for one, other in pairs:
        squares, freedom = _mean_squares(values[[one, other]])
        error = squares["source_item"] + squares["draw"] - squares["rest"]
        # Both are in it: that the difference of mean squares falls below one of them is chance.
        error = max(error, squares["draw"], squares["source_item"])
        weights = [squares[name] ** 2 / freedom[name] for name in ("source_item", "draw", "rest")]
        degrees = max(int(error**2 / sum(weights)), 1) if sum(weights) > 0 else draws - 1
        quantile = student_t_quantile(1 - (1 - confidence) / 2 / len(pairs), degrees)
        half = quantile * math.sqrt(2 * error / (draws * items))
        middle = mean(values[one].ravel()) - mean(values[other].ravel())
        found.append(Difference(one, other, Interval(middle, middle - half, middle + half)))
    return tuple(found)


def next_draw(scores: Float64[np.ndarray, " draws"], *, confidence: float = 0.95) -> Interval:
    """The mean of the scores of some draws, and between which bounds the score of one more will be.

    Raises:
        LilliputError: there are fewer than three draws.
    """
    n = len(scores)
    if n < 3:
        raise LilliputError(f"{n} draws; at least 3 are needed to say anything of the next")
    middle = mean(scores)
    half = student_t_quantile((1 + confidence) / 2, n - 1) * deviation(scores) * math.sqrt(1 + 1 / n)
    return Interval(middle, middle - half, middle + half)


def flips(values: Float64[np.ndarray, "models items"], baseline: Float64[np.ndarray, " items"]) -> float:
    """The share of items whose answer is right in one and wrong in the other, over all models."""
    return np.count_nonzero((values > 0.5) != (baseline > 0.5)) / values.size


def _check(values: Values) -> None:
    if min(values.shape) < 2:
        raise LilliputError(
            f"{values.shape[0]} sources, {values.shape[1]} draws, {values.shape[2]} items; two of each are needed"
        )
    if not np.isfinite(values).all():
        raise LilliputError("a value is not finite")


def _mean_squares(values: Values) -> tuple[dict[str, float], dict[str, float]]:
    """The mean squares of the analysis of variance, and their degrees of freedom."""
    _check(values)
    a, b, n = values.shape
    centred = values - mean(values.ravel())
    by_source = means(centred.reshape(a, b * n))
    by_model = means(centred)
    by_item = means(centred.reshape(a * b, n).T)
    by_source_item = means(np.moveaxis(centred, 1, 2))
    of_draws = by_model - by_source[:, None]
    of_both = by_source_item - by_source[:, None] - by_item
    rest = centred - by_source_item[:, None, :] - of_draws[:, :, None]
    sums = {
        "source": b * n * _squares(by_source),
        "draw": n * _squares(of_draws),
        "item": a * b * _squares(by_item),
        "source_item": b * _squares(of_both),
        "rest": _squares(rest),
    }
    freedom = {
        "source": a - 1.0,
        "draw": a * (b - 1.0),
        "item": n - 1.0,
        "source_item": (a - 1.0) * (n - 1.0),
        "rest": a * (b - 1.0) * (n - 1.0),
    }
    return {name: float(sums[name] / freedom[name]) for name in sums}, freedom


def _squares(values: Float64[np.ndarray, "..."]) -> float:
    return total(np.square(values).ravel())


def _components(squares: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """The variances that the mean squares stand for; none is below zero."""
    a, b, n = shape
    rest, draw, both = squares["rest"], squares["draw"], squares["source_item"]
    found = {
        "rest": rest,
        "source_item": (both - rest) / b,
        "item": (squares["item"] - both) / (a * b),
        "draw": (draw - rest) / n,
        "source": (squares["source"] - draw - both + rest) / (b * n),
    }
    return {name: np.maximum(one, 0.0) for name, one in found.items()}


def _per_score(parts: Mapping[str, Any], n_items: int) -> float:
    return float((parts["item"] + parts["source_item"] + parts["rest"]) / n_items)
