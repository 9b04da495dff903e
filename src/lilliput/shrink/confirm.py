"""Confirmation: the exported artifacts of a few finalists, in an order fixed beforehand, each on its own episodes."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from lilliput import paired
from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.policies.play import OutOfTime, SeedPlan
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.shrink.bar import Bar
from lilliput.shrink.request import ALPHA, Place
from lilliput.shrink.searched import Searched
from lilliput.shrink.trial import Trial
from lilliput.shrink.workers import Workers
from lilliput.statistics import ConfirmationPlan, alpha_split, confirm, plan_confirmation
from lilliput.study.policies import POLICIES, episode_settings
from lilliput.study.version import versions

Play = Callable[[int, Sequence[int]], Float64[np.ndarray, "3 n"]]
"""The returns of candidate, baseline and random policy on these seeds; the candidate by its place in the order."""

FORMAT = Format("confirmation", 1, {0: dict})
"""Of the file that fixes the order. 1: order, alpha, keep, request; 0: the same without a version."""

BLOCK = 24
MOST_EPISODES = 3_000
SHOWN_EPISODES = 200
"""Where time is left, an accepted candidate plays so many: the bound gets closer, and it stays valid."""

_LEAST_BLOCK = 4
_GRACE_S = 1.0
"""A block that takes longer than foretold is given up so long after the time."""

_SLOWER = 1.3
"""How much longer than foretold a confirmation may take."""
_CHANCES = (0.5, 0.75, 0.92, 0.98)
_LEAST_CHANCE = 0.1
_LEAST_FAILING = 0.25
"""The least chance that the first finalist fails."""
_SPARE = 3
"""Where the chances give fewer finalists than this, one more is put behind them."""

Outcome = Literal["accepted", "rejected", "undecided"]


@final
@dataclass(frozen=True, eq=False)
class Confirmed:
    """How one finalist did.

    Attributes:
        low: the lower bound of the retention, valid for the whole chain at 95 % and whenever one stops.
        returns: of candidate, baseline and random policy.
        episodes_needed: that would decide, where it is undecided; None: none would, or it is decided.
    """

    outcome: Outcome
    estimate: float
    low: float
    returns: Float64[np.ndarray, "3 n"]
    episodes_needed: int | None


def finalists(searched: Searched) -> tuple[Trial, ...]:
    """The few trials to confirm, the smallest first, later ones safer; only selection episodes decide on the order."""
    bar = searched.bar
    judged = [(trial.value, bar.sure(trial.returns), trial) for trial in searched.trials.values() if trial.may_win]
    judged.sort(key=lambda item: item[0])
    baseline = searched.trials[""].value
    chosen: list[Trial] = []
    for wanted in _CHANCES:
        found = next((trial for value, sure, trial in judged if sure >= wanted and value < baseline), None)
        if found is not None and found not in chosen:
            chosen.append(found)
    # The smallest of many is often one that was lucky: the next larger one stands between it and the safest of all.
    if 0 < len(chosen) < _SPARE and (larger := _larger(judged, chosen[-1].value, baseline)):
        chosen.append(larger[0][2])
    if chosen and (larger := _larger(judged, chosen[-1].value, baseline)):
        chosen.append(max(larger, key=lambda item: item[1])[2])
    # Where episodes are dear there is no time for more than two, and each takes its part of alpha.
    return (chosen[0], chosen[-1]) if len(chosen) > 2 and bar.episodes <= SHOWN_EPISODES else tuple(chosen)


def likeliest(searched: Searched) -> tuple[Trial, ...]:
    """For where there is no finalist: the one that has the best chance, if it has any; the time is there."""
    bar, baseline = searched.bar, searched.trials[""].value
    judged = [(bar.sure(t.returns), t) for t in searched.trials.values() if t.may_win and t.value < baseline]
    sure, trial = max(judged, key=lambda item: item[0], default=(0.0, None))
    return (trial,) if trial is not None and sure >= _LEAST_CHANCE else ()


_Judged = tuple[float, float, Trial]
"""Value, chance of holding, and the trial."""


def _larger(judged: Sequence[_Judged], value: float, baseline: float) -> list[_Judged]:
    """Those that are likely to hold and larger than this value by enough to be worth a try."""
    return [item for item in judged if 1.2 * value <= item[0] < baseline and item[1] >= _CHANCES[1]]


def plans(order: Sequence[Trial], bar: Bar, most: int = MOST_EPISODES) -> tuple[ConfirmationPlan, ...]:
    """What is fixed before the first episode: alpha is split over the finalists in their order."""
    if not order:
        return ()
    return tuple(
        plan_confirmation(
            trial.returns, bar.baseline[: len(trial.returns)], bar.random[: len(trial.returns)], bar.keep,
            max_episodes=most, alpha=alpha,
        )
        for trial, alpha in zip(order, alpha_split(len(order), ALPHA), strict=True)
    )  # fmt: skip


def foreseen(searched: Searched) -> int:
    """Episodes that confirm the first finalist, and by the chance that it fails half of those of the second and those
    of the last, without which nothing may be confirmed; 0 where there are none.
    """
    chosen, bar = finalists(searched), searched.bar
    if not chosen:
        return 0
    fails = max(_LEAST_FAILING, 1 - bar.sure(chosen[0].returns))
    parts = {1: 0.5 * fails, len(chosen) - 1: fails, 0: 1.0}
    total = 0.0
    for place, (trial, plan) in enumerate(zip(chosen, plans(chosen, bar), strict=True)):
        if place not in parts:
            continue
        n = len(trial.returns)
        # It was chosen for its luck: what it needs is foreseen for one that keeps a standard error less.
        luck = bar.retention(trial.returns)[1] * paired.gap(bar.baseline, bar.random)
        state = confirm(trial.returns - luck, bar.baseline[:n], bar.random[:n], plan)
        total += parts[place] * max(SHOWN_EPISODES, state.episodes_needed or MOST_EPISODES)
    return round(total)


def chain(
    order: Sequence[ConfirmationPlan],
    seeds: Callable[[], Iterator[int]],
    play: Play,
    until: float,
    shown: int = SHOWN_EPISODES,
    pace: float = 0.0,
) -> Iterator[Confirmed]:
    """Each finalist's confirmation in turn, up to the first that is accepted; what fails leaves the rest as it was.

    It ends before one that there is no time for.

    Args:
        order: of the plans.
        seeds: of the episodes, which are the same for all. Each test's error is bounded whatever the others saw, and
            so is their sum.
        play: plays.
        until: in `time.time()` seconds; each finalist but the last gets half of the time that is left, less where the
            last one needs more than that, or all of it where that will decide it.
        shown: episodes that an accepted one plays on to.
        pace: seconds that an episode of all three takes, as far as is known before any was played.
    """
    safest = 2 * (order[-1].episodes_needed or MOST_EPISODES) if order else 0
    for place, plan in enumerate(order):
        others = safest if place < len(order) - 1 else 0
        result = one(plan, seeds(), lambda block, place=place: play(place, block), until, others, shown, pace)
        if result is None:
            return
        yield result
        if result.outcome == "accepted":
            return


def one(
    plan: ConfirmationPlan,
    seeds: Iterator[int],
    play: Callable[[Sequence[int]], Float64[np.ndarray, "3 n"]],
    until: float,
    others: int,
    shown: int,
    pace: float = 0.0,
) -> Confirmed | None:
    """The confirmation of one candidate, block by block, each no longer than time is left; None: there was no time.

    Where others have to play so many episodes after it, half of the time is left to them, or as much as they take if
    that is more, but a quarter is its own. In what is theirs it goes on only if it will be decided, at this pace,
    before the end: where one may look after every episode one may also stop for any reason.
    """
    returns = np.zeros((3, 0))
    started = time.time()
    low, accepted = -np.inf, False
    state = None
    while True:
        # The first look comes when about half of the episodes foreseen are played; to look costs time as well.
        first = 0 if returns.shape[1] else min(plan.episodes_needed or 0, 2 * SHOWN_EPISODES) // 2
        size = max(BLOCK, first, returns.shape[1] // 5)
        if pace:
            size = min(size, max(0, int((until - time.time()) / pace)))
        played = None
        with contextlib.suppress(OutOfTime):
            played = play(tuple(itertools.islice(seeds, size))) if size >= _LEAST_BLOCK else None
        if played is None:
            if state is None:
                return None
            needed = None if accepted else state.episodes_needed
            return Confirmed("accepted" if accepted else "undecided", state.estimate, low, returns, needed)
        returns = np.concatenate([returns, played], axis=1)
        state = confirm(returns[0], returns[1], returns[2], plan)
        # The wealth may be looked at whenever one likes, so the best bound of all looks is a bound.
        low = max(low, state.low)
        accepted = accepted or state.decision == "accepted"
        n, now = returns.shape[1], time.time()
        missing = max(0, state.episodes_needed - n) if state.episodes_needed is not None else math.inf
        pace, whole = (now - started) / n, until - started
        decides = now + _SLOWER * missing * pace < until
        left = min(max(whole / 2, others * pace), 0.75 * whole) if others else 0.0
        late = now >= until or (now >= until - left and not accepted and not decides)
        if accepted and (n >= shown or late):
            return Confirmed("accepted", state.estimate, low, returns, None)
        if state.decision == "rejected" and not accepted:
            return Confirmed("rejected", state.estimate, low, returns, None)
        if not accepted and (state.decision != "continue" or late):
            return Confirmed("undecided", state.estimate, low, returns, state.episodes_needed)


def seeds_of(seed: int) -> Iterator[int]:
    """The confirmation seeds from the first."""
    return SeedPlan(seed).stream("confirmation")


def cells(place: Place, recipe: str, seeds: Sequence[int]) -> tuple[Cell, Cell, Cell]:
    """The cells of candidate, baseline and random policy on these seeds."""
    request = place.request
    quantities = ("episode_return", "model_bytes", "n_macs")

    def cell(subject: str, text: str, format_: str, names: tuple[str, ...]) -> Cell:
        return Cell(
            subject, text, request.task, tuple(seeds), RANDOM_POLICY, format_, "host", request.seed,
            names, (*episode_settings(request.max_steps), ("role", "confirmation")),
            versions(POLICIES, text, names, request.task, format_),
        )  # fmt: skip

    return (
        cell(place.policy_digest, recipe, request.format, quantities),
        cell(place.policy_digest, "", request.format, quantities),
        cell(RANDOM_POLICY, "", "none", ("episode_return",)),
    )


def player(place: Place, recipes: Sequence[str], workers: Workers, until: float) -> Play:
    """Plays the exported artifacts in the worker processes, every block as study cells with records; the baseline and
    the random policy each seed once, for all finalists.

    It raises `OutOfTime` where a block is not over in time, in `time.time()` seconds; its processes are ended.
    """
    returned: tuple[dict[int, float], dict[int, float]] = ({}, {})

    def play(index: int, seeds: Sequence[int]) -> np.ndarray:
        own: dict[int, float] = {}
        known = (own, *returned)
        futures: list[tuple[dict[int, float], Sequence[int], Future[Record]]] = []
        for part in range(place.request.workers):
            for subject, found in enumerate(known):
                if new := [seed for seed in seeds if seed not in found][part :: place.request.workers]:
                    cell = cells(place, recipes[index], new)[subject]
                    futures.append((found, new, workers.submit(_record, cell, place.folder)))
        for found, new, future in futures:
            try:
                record = future.result(max(0.0, until + _GRACE_S - time.time()))
            except TimeoutError:
                workers.renew()
                raise OutOfTime("the time of the confirmation was over") from None
            if record.status != "done":
                raise LilliputError(f"confirmation of {recipes[index]!r}: {record.reason}")
            found.update(zip(new, record.values("episode_return"), strict=True))
        return np.array([[found[seed] for seed in seeds] for found in known], np.float64)

    return play


def _record(cell: Cell, folder: Path) -> Record:
    """The record of a cell, taken up or measured now."""
    from lilliput.study.run import record_of, run

    found = record_of(folder, cell)
    return found if found is not None and found.status == "done" else run(cell, folder, lambda *_: None)


def fixed(place: Place, order: Sequence[Trial]) -> tuple[str, ...]:
    """The order of the recipes; once written down it stays, whatever is found later."""
    path = place.here.confirmation
    if path.exists():
        return _order(path)
    recipes = [trial.recipe for trial in order]
    FORMAT.write(path, {"order": recipes, "alpha": ALPHA, "keep": place.request.keep, "request": _plain(place)})
    return tuple(recipes)


def _order(path: Path) -> tuple[str, ...]:
    try:
        order = FORMAT.read(path).get("order")
    except LilliputError as error:
        raise LilliputError(f"{error}; give --force to begin anew") from error
    if not isinstance(order, list) or not all(isinstance(recipe, str) for recipe in order):
        raise LilliputError(f"{path} names no order of recipes: it is damaged; give --force to begin anew")
    return tuple(order)


def _plain(place: Place) -> dict[str, object]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in asdict(place.request).items()}
