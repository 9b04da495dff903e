"""A sequential confirmation whose false acceptance is bounded at every stopping time, heavy tails included.

Testing by betting (Waudby-Smith and Ramdas, JRSS B 2024, arXiv:2010.09686; Ville 1939). Under the hypothesis that the
candidate keeps no more than `keep`, the difference d = c - keep * b - (1 - keep) * r has mean <= 0. If d is never below
-L, then prod(1 + f * d_i / L) has expectation <= 1 for every fraction f in [0, 1], and so has a mixture over several f
with weights fixed beforehand. Such a wealth ever reaches 1 / alpha with probability at most alpha: so one may look
after every episode and stop when one likes. All shares for which the wealth has reached 1 / alpha are excluded, and the
first that is not is the stopping-adjusted lower bound of the retention.

What is assumed: episodes on fresh seeds are independent, and L, fixed in the plan from other episodes, is right: no
episode returns less than the lowest return seen from candidate, baseline or random policy while planning (or than a
`worst` that the caller knows), and otherwise baseline and random policy stay within what they showed. Fractions end at
0.9, so that the bound stays exact where L is 11 % too small.

Several candidates are tried in an order fixed beforehand, each at its part of alpha (`alpha_split`) and on seeds of its
own; then the whole chain accepts falsely with probability at most the sum.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float64

from lilliput import paired
from lilliput.errors import LilliputError
from lilliput.statistics.quantile import normal_quantile, require_finite
from lilliput.statistics.verdict import require_share
from lilliput.statistics.worst_case import PlausibleRange, plausible_range
from lilliput.sums import mean, means, total

Decision = Literal["accepted", "rejected", "undecided", "continue"]

FRACTIONS = np.array([0.03, 0.06, 0.1, 0.15, 0.22, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
_EVEN = np.full(len(FRACTIONS), 1 / len(FRACTIONS))
# A quarter of the wealth is spread evenly, against a pilot that misled: it costs at most log(4 * 12) in growth.
_EVEN_PART = 0.25
_EPISODES_FORESEEN = 200
# A factor that an episode worse than the plan allows is cut to: that part of the wealth is lost for good.
_RUIN = 1e-30
_PARTS = 16
# What rounding may add to the logarithm of a wealth, and more.
_ROUNDING = 1e-6
_SHARES = np.round(np.arange(0, 1301) / 1000, 3)


@dataclass(frozen=True)
class ConfirmationPlan:
    """All that is fixed before the first confirmation episode.

    `weights` are the parts of the wealth on each of FRACTIONS. `episodes_needed` is the number that accepts with the
    planned power a candidate as good as the baseline; None where no number does.
    """

    keep: float
    alpha: float
    futility: float
    max_episodes: int
    range: PlausibleRange
    weights: tuple[float, ...]
    episodes_needed: int | None


@dataclass(frozen=True)
class Confirmation:
    """Where a confirmation stands after n episodes.

    `low` is the one-sided lower bound of the retention at confidence 1 - alpha, valid whenever one stops (-inf where
    nothing is excluded); accepted means low >= keep. `episodes_needed` is the total that would decide if episodes go
    on as they did; None where none would.
    """

    decision: Decision
    n: int
    estimate: float
    low: float
    episodes_needed: int | None


def alpha_split(candidates: int, alpha: float = 0.05) -> tuple[float, ...]:
    """Equal parts of alpha, one a candidate, in the order fixed beforehand; they sum to alpha at most.

    >>> alpha_split(2)
    (0.025, 0.025)
    """
    if candidates < 1 or not 0 < alpha < 1:
        raise LilliputError(
            f"alpha_split: {candidates} candidates, alpha {alpha}; at least one, and alpha in (0, 1), is needed"
        )
    return (alpha / candidates,) * candidates


def plan_confirmation(
    candidate: Float64[np.ndarray, " n"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    keep: float,
    *,
    max_episodes: int,
    alpha: float = 0.05,
    futility: float = 0.05,
    power: float = 0.8,
    worst: float | None = None,
) -> ConfirmationPlan:
    """The plan, from a pilot: the episodes by which the search picked the candidate, never those that confirm it.

    The pilot sets the plausible range, and the weights as they are best for a candidate as good as the baseline with
    the pilot's spread; how well it was chosen affects the number of episodes, not the error.
    """
    require_finite("plan_confirmation", candidate, baseline, random)
    require_share("plan_confirmation", keep)
    if not (0 < alpha < 1 and 0 < futility < 1 and 0 < power < 1 and max_episodes >= 1):
        raise LilliputError(
            f"plan_confirmation: alpha {alpha}, futility {futility}, power {power}, max_episodes {max_episodes}; "
            "the first three must be in (0, 1) and max_episodes at least 1"
        )
    candidate, baseline, random = _in_order(candidate, baseline, random)
    gap = paired.gap(baseline, random)
    if gap <= 0:
        raise LilliputError(
            f"plan_confirmation: the baseline returns {mean(baseline):.6g} and the random policy {mean(random):.6g}; "
            "a baseline that is not above random has no return to keep"
        )
    seen = plausible_range(candidate, baseline, random, worst=worst)
    d = paired.differences(candidate, baseline, random, keep)
    at_equal_return = d - mean(d) + (1 - keep) * gap
    growths = np.log(_factors(at_equal_return, -seen.difference(keep)[0]))
    foreseen = means(growths.T) * _EPISODES_FORESEEN
    best = np.exp(foreseen - foreseen.max())
    weights = _EVEN_PART * _EVEN + (1 - _EVEN_PART) * best / total(best)
    return ConfirmationPlan(
        keep=keep,
        alpha=alpha,
        futility=futility,
        max_episodes=max_episodes,
        range=seen,
        weights=tuple(float(weight) for weight in weights),
        episodes_needed=_episodes_to_grow(growths, math.log(1 / alpha) - np.log(weights), power),
    )


def confirm(
    candidate: Float64[np.ndarray, " n"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    plan: ConfirmationPlan,
) -> Confirmation:
    """The decision after these episodes: all that were played so far, in any order, on seeds the search never saw.

    Call it as often as wanted with the growing arrays until the decision is not "continue". "rejected" is a matter of
    economy (evidence at `futility` that the candidate keeps less) and "undecided" of `max_episodes`; stopping for any
    other reason does no harm either.
    """
    require_finite("confirm", candidate, baseline, random)
    n = len(candidate)
    candidate, baseline, random = _in_order(candidate, baseline, random)
    d = paired.differences(candidate, baseline, random, plan.keep)
    lowest, highest = plan.range.difference(plan.keep)
    weights = np.array(plan.weights)
    for_keeping = float(log_wealth(d, lowest, weights)[-1])
    for_losing = float(log_wealth(-d, -highest, _EVEN)[-1])
    low = _lower_bound(candidate, baseline, random, plan)
    decision: Decision
    if low >= plan.keep:
        decision = "accepted"
    elif for_losing >= math.log(1 / plan.futility):
        decision = "rejected"
    else:
        decision = "undecided" if n >= plan.max_episodes else "continue"
    if decision in ("accepted", "rejected"):
        needed = n
    elif mean(d) > 0:
        needed = _extrapolated(d, lowest, math.log(1 / plan.alpha) - for_keeping)
    else:
        needed = _extrapolated(-d, -highest, math.log(1 / plan.futility) - for_losing)
    estimate = paired.share(mean(candidate), mean(baseline), mean(random))
    return Confirmation(decision, n, estimate, low, needed)


def log_wealth(
    differences: Float64[np.ndarray, " n"], lowest: float, weights: Float64[np.ndarray, " fractions"]
) -> Float64[np.ndarray, " n"]:
    """Logarithm of the wealth after each episode of a bettor against a mean of 0 or less.

    >>> float(log_wealth(np.full(60, 5.0), -95.0, np.full(12, 1 / 12))[-1].round(2))
    1.63
    """
    logs = np.cumsum(np.log(_factors(differences, -lowest)), axis=0)
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(logs + np.log(weights), axis=1)


def _in_order(
    *returns: Float64[np.ndarray, " n"],
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The same episodes in an order that does not tell in which they were played, or by how many processes."""
    order = np.lexsort(returns)
    candidate, baseline, random = (side[order] for side in returns)
    return candidate, baseline, random


def _factors(differences: Float64[np.ndarray, " n"], loss: float) -> Float64[np.ndarray, "n fractions"]:
    """1 + f * d / L for every fraction."""
    return np.maximum(1 + differences[:, None] / loss * FRACTIONS, _RUIN)


def _lower_bound(
    candidate: Float64[np.ndarray, " n"],
    baseline: Float64[np.ndarray, " n"],
    random: Float64[np.ndarray, " n"],
    plan: ConfirmationPlan,
) -> float:
    """The largest share such that it and every share below it, on a grid fixed beforehand, are excluded.

    To be wrong the bound must have excluded the first grid point at or above the true retention: one hypothesis, so its
    error is alpha even if the wealth were not monotone in the share. Whole spans of shares are excluded at once, by a
    wealth that is at most any of theirs; the first that is not is looked at in parts.
    """
    shares, losses = _grid(plan.range, plan.keep)
    log_weights, threshold = np.log(plan.weights), math.log(1 / plan.alpha)
    spans = [(0, len(shares) - 1)]
    while spans:
        first, last = spans.pop()
        ends = np.linspace(first, last + 1, min(_PARTS, last - first + 1) + 1).astype(np.int64)
        lows, highs = ends[:-1], ends[1:] - 1
        d = np.minimum(*(paired.differences(candidate, baseline, random, shares[end, None]) for end in (lows, highs)))
        most, least = (side.reduceat(losses[: last + 1], lows)[:, None] for side in (np.maximum, np.minimum))
        # No share of a part has a lower factor: d is linear in the share, and the loss as large or small at most.
        factors = (d / np.where(d > 0, most, least))[:, :, None] * FRACTIONS
        factors += 1  # in place: memory is what takes the time
        np.maximum(factors, _RUIN, out=factors)
        # One logarithm a few episodes instead of one an episode: the products stay far inside the range of a double.
        products = np.multiply.reduceat(factors, np.arange(0, len(candidate), 8), axis=1)
        wealth = np.logaddexp.reduce(_added(np.log(products)) + log_weights, axis=1)
        excluded = wealth >= threshold + np.where(lows < highs, _ROUNDING, 0.0)
        if excluded.all():
            continue
        part = int(np.argmin(excluded))
        low, high = int(lows[part]), int(highs[part])
        if low == high:
            return float(shares[low - 1]) if low > 0 else -math.inf
        spans += [(high + 1, last), (low, high)] if high < last else [(low, high)]
    return float(shares[-1])


@lru_cache
def _grid(seen: PlausibleRange, keep: float) -> tuple[Float64[np.ndarray, " shares"], Float64[np.ndarray, " shares"]]:
    """The shares that a bound may be, and what one episode can lose at each."""
    shares = np.union1d(_SHARES, [keep])
    losses = -seen.differences(shares)[0]
    shares.setflags(write=False)
    losses.setflags(write=False)
    return shares, losses


def _added(logs: Float64[np.ndarray, "shares n fractions"]) -> Float64[np.ndarray, "shares fractions"]:
    """The sums over the episodes."""
    return logs.shape[1] * means(np.moveaxis(logs, 1, 2))


def _episodes_to_grow(
    growths: Float64[np.ndarray, "n fractions"], thresholds: Float64[np.ndarray, " fractions"], power: float
) -> int | None:
    """The fewest episodes after which one fraction's wealth has passed its threshold with the given power."""
    rate = means(growths.T)
    spread = np.sqrt(means(np.square(growths.T - rate[:, None])))
    z = normal_quantile(power)
    grows = rate > 0
    if not grows.any():
        return None
    rate, spread, thresholds = rate[grows], spread[grows], thresholds[grows]
    # n * rate - z * spread * sqrt(n) = threshold, solved for sqrt(n).
    roots = (z * spread + np.sqrt((z * spread) ** 2 + 4 * rate * thresholds)) / (2 * rate)
    return math.ceil(float((np.maximum(roots, 0) ** 2).min()))


def _extrapolated(differences: Float64[np.ndarray, " n"], lowest: float, missing: float) -> int | None:
    """The total number of episodes that makes up the missing log wealth at the rate of the best fraction so far."""
    rate = float(means(np.log(_factors(differences, -lowest)).T).max())
    return len(differences) + math.ceil(missing / rate) if rate > 0 else None
