"""The whole chain with its fallbacks, by simulation: how often it accepts what keeps too little, or what keeps all."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from lilliput.shrink import confirm
from lilliput.shrink.bar import Bar
from lilliput.shrink.confirm import chain, finalists, foreseen, likeliest, plans
from lilliput.shrink.searched import Searched
from lilliput.shrink.trial import Trial

KEEP = 0.95
Draw = Callable[[np.random.Generator, int], np.ndarray]


def baseline(rng: np.random.Generator, n: int) -> np.ndarray:
    return 1000 + 30 * rng.standard_normal(n)


def falling(rng: np.random.Generator, n: int) -> np.ndarray:
    """At the margin by rare falls: 1 episode in 20 returns nothing, the others what the baseline does."""
    return np.where(rng.random(n) < 0.05, 0.0, 1000.0)


def rarely_falling(rng: np.random.Generator, n: int) -> np.ndarray:
    """At the margin: one fall in 50 episodes, the others a little less than the baseline."""
    return np.where(rng.random(n) < 0.02, 0.0, 950 / 0.98)


def evenly_worse(rng: np.random.Generator, n: int) -> np.ndarray:
    return 950 + 150 * rng.standard_normal(n)


def searched(rng: np.random.Generator, candidates: dict[str, tuple[int, Draw]], lucky: int) -> Searched:
    """Trials of which each is the luckiest of several draws, as a search that looks often finds them."""
    base, random = baseline(rng, 128), np.zeros(128)
    trials = {"": Trial("", 10_000.0, 10_000, base, 1.0)}
    for name, (size, draw) in candidates.items():
        tried = [draw(rng, 128) for _ in range(lucky)]
        trials[name] = Trial(name, float(size), size, max(tried, key=lambda returns: float(returns.mean())), 1.0)
    return Searched(trials, Bar(base, random, KEEP, episodes=3_000))


def accepted(rng: np.random.Generator, found: Searched, draws: dict[str, tuple[int, Draw]]) -> str | None:
    order = finalists(found) or likeliest(found)

    # All finalists meet the same episodes of the baseline.
    base = baseline(rng, 1_000)

    def play(place: int, seeds: Sequence[int]) -> np.ndarray:
        n = len(seeds)
        return np.stack([draws[order[place].recipe][1](rng, n), base[list(seeds)], np.zeros(n)])

    for trial, result in zip(
        order, chain(plans(order, found.bar, 400), itertools.count, play, time.time() + 3600, 0), strict=False
    ):
        if result.outcome == "accepted":
            assert result.low >= KEEP
            return trial.recipe
    return None


@pytest.mark.slow
@pytest.mark.parametrize("draw", [falling, rarely_falling, evenly_worse])
def test_the_whole_chain_accepts_falsely_in_at_most_one_case_in_twenty(draw: Draw) -> None:
    candidates = {f"tiny {i}": (100 * 2**i, draw) for i in range(4)}
    rng = np.random.default_rng(5)
    tried = false = 0
    for _ in range(150):
        found = searched(rng, candidates, lucky=8)
        tried += bool(finalists(found))
        false += accepted(rng, found, candidates) is not None
    # Where luck brings no finalist there is nothing to accept: such runs would only flatter the rate.
    assert tried >= 75
    assert false <= 0.05 * tried


@pytest.mark.slow
def test_a_good_candidate_is_accepted_even_behind_two_bad_ones() -> None:
    candidates: dict[str, tuple[int, Draw]] = {
        "tiny": (100, falling),
        "small": (200, rarely_falling),
        "good": (400, baseline),
    }
    rng = np.random.default_rng(6)
    found = [accepted(rng, searched(rng, candidates, lucky=8), candidates) for _ in range(40)]
    assert found.count("good") + found.count(None) >= 36
    assert found.count("good") >= 28


def test_equal_returns_are_accepted_and_the_bound_is_below_the_estimate() -> None:
    rng = np.random.default_rng(0)
    found = searched(rng, {"same": (100, baseline)}, lucky=1)
    order = finalists(found)

    def play(_: int, seeds: Sequence[int]) -> np.ndarray:
        returns = baseline(rng, len(seeds))
        return np.stack([returns, returns, np.zeros(len(seeds))])

    (result,) = chain(plans(order, found.bar), itertools.count, play, time.time() + 3600, 200)
    assert result.outcome == "accepted"
    assert KEEP <= result.low < result.estimate == pytest.approx(1.0)
    assert result.returns.shape[1] >= 200


def test_time_out_is_undecided_with_the_number_needed() -> None:
    rng = np.random.default_rng(0)
    found = searched(rng, {"same": (100, baseline)}, lucky=1)
    order = finalists(found)

    def play(_: int, seeds: Sequence[int]) -> np.ndarray:
        return np.stack([baseline(rng, len(seeds)), baseline(rng, len(seeds)), np.zeros(len(seeds))])

    (result,) = chain(plans(order, found.bar), itertools.count, play, 0.0, 200)
    assert result.outcome == "undecided"
    assert result.episodes_needed is not None
    assert result.episodes_needed > result.returns.shape[1]


def test_what_keeps_more_is_foreseen_to_take_fewer_episodes() -> None:
    rng = np.random.default_rng(4)
    assert foreseen(searched(rng, {"poor": (100, lambda rng, n: 500 + baseline(rng, n) / 50)}, lucky=1)) == 0
    close, equal = (
        foreseen(searched(rng, {"one": (100, lambda rng, n, share=share: share * baseline(rng, n))}, lucky=1))
        for share in (0.97, 1.0)
    )
    assert 200 <= equal < close < 3_000


def test_nothing_that_failed_or_is_larger_than_the_baseline_is_a_finalist() -> None:
    rng = np.random.default_rng(0)
    found = searched(
        rng, {"larger": (20_000, baseline), "poor": (100, lambda rng, n: 500 + 0 * baseline(rng, n))}, lucky=1
    )
    trials = {**found.trials, "failed": Trial("failed", np.inf, 0, np.zeros(0), 1.0, "no")}
    assert finalists(Searched(trials, found.bar)) == ()


def test_behind_a_single_lucky_one_stand_the_next_larger_and_the_safest() -> None:
    rng = np.random.default_rng(5)
    sizes = {"lucky": 400, "alike": 450, "next": 800, "between": 3_000, "large": 9_000}
    found = searched(rng, {name: (size, baseline) for name, size in sizes.items()}, lucky=1)
    shares = {"lucky": 1.04, "alike": 1.04, "next": 1.03, "between": 0.965, "large": 1.06}
    trials = {
        name: Trial(name, trial.value, trial.model_bytes, shares.get(name, 1.0) * found.bar.baseline, 1.0)
        for name, trial in found.trials.items()
    }
    order = finalists(Searched(trials, found.bar))
    assert [trial.recipe for trial in order] == ["lucky", "next", "large"]
    dear = replace(found.bar, episodes=120)
    assert [trial.recipe for trial in finalists(Searched(trials, dear))] == ["lucky", "large"], "each costs alpha"


def test_the_margin_shrinks_with_the_episodes_and_never_shuts_out_what_is_as_good() -> None:
    rng = np.random.default_rng(0)
    base, same = baseline(rng, 128), baseline(rng, 128)
    few, some, many = (Bar(base, np.zeros(128), KEEP, episodes).margin(same) for episodes in (20, 400, 4_000))
    assert few > some > many > 0
    assert KEEP + few < 1


def test_what_is_clearly_above_or_below_is_settled_and_what_is_close_is_not() -> None:
    rng = np.random.default_rng(0)
    base = baseline(rng, 64)
    bar = Bar(base, np.zeros(64), KEEP, 400)
    needed = KEEP + bar.margin(base)
    above, near, close, below = (base * (needed + part) + rng.standard_normal(64) for part in (0.04, 0.02, 0.0, -0.02))
    assert bar.settled(above)
    assert not bar.settled(near), "a fall that was not seen would take as much"
    assert bar.settled(below)
    assert not bar.settled(close)
    assert not bar.settled(above[:16]), "so few episodes settle nothing"


def test_few_episodes_without_a_fall_do_not_prove_that_there_are_none() -> None:
    base = baseline(np.random.default_rng(0), 128)
    bar = Bar(base, np.zeros(128), KEEP, 400)
    few, many = (bar.sure(0.985 * base[:n]) for n in (32, 128))
    assert few < 0.9 < many
    assert not bar.settled(0.985 * base[:32])


class Clock:
    """Time that passes only where episodes are played: a tenth of a second each."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


@pytest.mark.parametrize(("part", "recipes"), [(0.7, ["first"]), (1.4, ["first", "safe"])])
def test_half_of_the_time_is_left_to_the_others_unless_more_decides(
    part: float, recipes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(confirm, "time", clock)
    rng = np.random.default_rng(3)
    base, random = baseline(rng, 128), np.zeros(128)
    shares = {"first": 0.97, "safe": 1.03}
    trials = tuple(Trial(name, 10.0, 10, share * base, 1.0) for name, share in shares.items())
    order = plans(trials, Bar(base, random, KEEP, episodes=3_000))

    def play(place: int, seeds: Sequence[int]) -> np.ndarray:
        clock.now += 0.1 * len(seeds)
        b = baseline(rng, len(seeds))
        return np.stack([shares[trials[place].recipe] * b, b, np.zeros(len(seeds))])

    (alone,) = chain(order[:1], itertools.count, play, 1e9, 0)
    assert alone.outcome == "accepted"
    takes = 0.1 * alone.returns.shape[1]
    clock.now = 0.0
    found = list(chain(order, itertools.count, play, takes / part, 0))
    assert [trials[place].recipe for place in range(len(found))] == recipes
    assert found[-1].outcome == "accepted"
    assert clock.now <= 1.2 * takes / part


def test_the_last_has_the_time_that_it_needs_whatever_those_before_it_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(confirm, "time", clock)
    rng = np.random.default_rng(3)
    base, random = baseline(rng, 128), np.zeros(128)
    shares = {"first": 0.953, "second": 0.953, "safe": 1.0}

    def noisy(share: float, b: np.ndarray) -> np.ndarray:
        return share * b + 100 * rng.standard_normal(len(b))

    trials = tuple(Trial(name, 10.0, 10, noisy(share, base), 1.0) for name, share in shares.items())
    order = plans(trials, Bar(base, random, KEEP, episodes=3_000))

    def play(place: int, seeds: Sequence[int]) -> np.ndarray:
        clock.now += 0.1 * len(seeds)
        b = baseline(rng, len(seeds))
        return np.stack([noisy(shares[trials[place].recipe], b), b, np.zeros(len(seeds))])

    (alone,) = chain(order[2:], itertools.count, lambda _, block: play(2, block), 1e9, 0)
    takes, clock.now = 0.1 * alone.returns.shape[1], 0.0
    found = list(chain(order, itertools.count, play, 3 * takes, 0))
    assert [result.outcome for result in found] == ["undecided", "undecided", "accepted"]


def test_where_nothing_is_likely_to_hold_the_likeliest_is_confirmed_all_the_same() -> None:
    rng = np.random.default_rng(2)
    base, random = baseline(rng, 32), np.zeros(32)
    noise = rng.standard_normal(32)
    noise -= noise.mean()
    trials = {
        name: Trial(name, float(size), size, mean + 450 * noise, 1.0)
        for name, size, mean in (("", 10_000, 1000), ("poor", 100, 500), ("noisy", 200, 960), ("noisier", 300, 900))
    }
    found = Searched(trials, Bar(base, random, KEEP, episodes=3_000))
    assert finalists(found) == ()
    assert [trial.recipe for trial in likeliest(found)] == ["noisy"]
    assert likeliest(Searched({name: trials[name] for name in ("", "poor")}, found.bar)) == ()
