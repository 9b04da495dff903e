"""Decisions on metrics that are no mean of items (average precision, a Frechet distance): by draws that all share.

A model's values are the metric of all items, then that of each draw of items with replacement, the same draws for
candidate, baseline and floor: their difference has the spread of what is paired.
"""

import math

import numpy as np
from jaxtyping import Float64

from lilliput.paired import differences, gap, shares
from lilliput.statistics.quantile import require_finite
from lilliput.statistics.retention import Retention
from lilliput.statistics.verdict import Status, Verdict, require_share
from lilliput.sums import mean

MIN_DRAWS = 100
"""Fewer do not know their own tails."""

Values = Float64[np.ndarray, " values"]


def decided(
    candidate: Values, baseline: Values, floor: Values, keep: float, *, confidence: float = 0.95
) -> tuple[Retention | None, Verdict]:
    """Retention (two-sided) and verdict (each bound one-sided), from the draws' spread about their own mean.

    A metric of drawn items is not that of all on average (a distance is larger), which is why the spread is put about
    the metric of all items.

    Raises:
        LilliputError: a value is not finite.
    """
    require_share("verdict", keep)
    require_finite("verdict", candidate, baseline, floor)
    n, tail = len(candidate) - 1, 1 - confidence
    d = differences(candidate, baseline, floor, keep)
    low, high = (_bound(d, part) for part in (tail, confidence))
    above = baseline - floor
    kept_of_each = shares(candidate, baseline, floor)
    status: Status
    kept = None
    retention_low = -math.inf
    if n < MIN_DRAWS:
        status = "undecided"
    elif _bound(above, tail) <= 0 or gap(baseline[:1], floor[:1]) <= 0:
        status = "baseline not better than random"
    else:
        status = "kept" if low > 0 else "lost" if high < 0 else "undecided"
        if np.isfinite(kept_of_each).all():
            ends = [_bound(kept_of_each, part) for part in (tail / 2, 1 - tail / 2)]
            kept = Retention(float(kept_of_each[0]), ends[0], ends[1], "bca")
            retention_low = _bound(kept_of_each, tail)
    return kept, Verdict(status, keep, n, float(d[0]), low, high, retention_low, confidence, 0.0, None)


def _bound(values: Values, part: float) -> float:
    """That quantile of the metric, of all items, as the draws lie about their mean."""
    if len(values) < 2:
        return -math.inf if part < 0.5 else math.inf
    return float(values[0] + np.quantile(values[1:] - mean(values[1:]), part))
