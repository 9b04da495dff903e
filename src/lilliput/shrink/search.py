"""The search: what costs seconds first, then students, each next one where size, chance and cost promise most."""

import itertools
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from lilliput import paired
from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play import OutOfTime
from lilliput.shrink.code_bytes import CodeBytes
from lilliput.shrink.configuration import Student, student_of
from lilliput.shrink.ladder import first_steps, rungs
from lilliput.shrink.move import Effects, Move, chance
from lilliput.shrink.request import Place
from lilliput.shrink.search_space import SearchSpace
from lilliput.shrink.trial import (
    BLOCK,
    FEW_EPISODES,
    MOST_EPISODES,
    RACE,
    Bar,
    Trial,
    attempt,
    known,
    play_random,
    seconds_an_episode,
)
from lilliput.shrink.workers import Workers
from lilliput.sums import deviation

Say = Callable[[str], None]

_WORTH_A_LADDER = 0.03
"""A student that holds and is smaller than this part of the baseline leaves nothing to find without training."""

_SAFE = 0.85
"""The chance from which it holds."""
_HOPEFUL = 0.2
"""The chance from which a trial plays on where nothing smaller has a better one."""
_SLOWER = 1.4
"""How much longer than foretold a trial may take: one that is not made in time was for nothing."""
_LEAST_GAIN = 0.03
"""Less than this part of its size is not worth a trial."""
_BAR_PART = 0.06
_SLOW_BAR_PART = 0.25
"""Of the time, for what trials are held against where episodes take long."""
_GRACE_S = 1.0
"""What is asked to stop looks at the clock at every step of an environment; what has not by then is ended."""
_OVERHEAD_S = 2.0
_CHOOSING = 32
_SHARED = 0.3
"""The part of a course that is not shared by students of one root: a third of its steps, which take a little longer."""


@final
@dataclass(frozen=True, eq=False)
class Searched:
    """All trials by recipe, and what they are held against."""

    trials: Mapping[str, Trial]
    bar: Bar
    students: Mapping[str, Student] = field(default_factory=dict)


End = Callable[[Searched], float]
"""When the search is to end, in `time.time()` seconds, after what it found so far."""


def search(
    teacher: Checkpoint, place: Place, bar: Bar, workers: Workers, end: End, say: Say, others: Sequence[Checkpoint] = ()
) -> Searched:
    """What was tried until the end; trials that the records tell of are not repeated.

    Students are also tried of the other teachers.
    """
    run = _Run(teacher, place, bar, workers, end, say, others)
    run.all()
    return run.searched()


def bar_of(place: Place, workers: Workers, until: float) -> tuple[Bar, float]:
    """What trials are held against, and the seconds that an episode takes: fewer episodes where they are slow.

    Raises:
        OutOfTime: not even two episodes were over by then, in `time.time()` seconds.
    """
    trials, random = known(place)
    if "" in trials and min(len(random), len(trials[""].returns)) >= FEW_EPISODES:
        baseline = trials[""]
        return _bar(place, baseline, random, BLOCK), baseline.seconds / len(baseline.returns)
    try:
        one = _result(workers.submit(seconds_an_episode, place, until))
    except OutOfTime:
        raise _too_slow(place) from None
    budget = _SLOW_BAR_PART * place.request.within_s * (1.0 if place.request.workers > 1 else 0.5)
    affordable = max(2, int(budget / max(one, 1e-9)))
    if affordable < FEW_EPISODES:
        baseline, random = _played(place, workers, affordable, until, 2)
        if min(len(baseline.returns), len(random)) < 2:
            raise _too_slow(place)
        return _bar(place, baseline, random, 2), one
    baseline, random = _played(place, workers, FEW_EPISODES, until, BLOCK)
    if baseline.seconds / FEW_EPISODES * MOST_EPISODES < _BAR_PART * place.request.within_s:
        baseline, random = _played(place, workers, MOST_EPISODES, until, BLOCK)
    if min(len(baseline.returns), len(random)) < 2:
        raise _too_slow(place)
    return _bar(place, baseline, random, BLOCK), baseline.seconds / len(baseline.returns)


def _bar(place: Place, baseline: Trial, random: np.ndarray, block: int) -> Bar:
    n = min(len(baseline.returns), len(random))
    return Bar(baseline.returns[:n], random[:n], place.request.keep, block=block)


def _too_slow(place: Place) -> OutOfTime:
    return OutOfTime(
        f"an episode of {place.request.task.id} takes too long for {place.request.within_s:g} s: not two of them were "
        "over; give more time (--within) or cut them (--max-steps)"
    )


def _played(place: Place, workers: Workers, episodes: int, until: float, block: int) -> tuple[Trial, np.ndarray]:
    playing = workers.submit(attempt, place, "", until, None, episodes, block)
    random = _result(workers.submit(play_random, place, episodes, until))
    return _result(playing), random


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise LilliputError(f"a worker process ended ({error}); run the same command to go on") from error


@final
class _Run:
    """The search while it goes on."""

    def __init__(
        self,
        teacher: Checkpoint,
        place: Place,
        bar: Bar,
        workers: Workers,
        end: End,
        say: Say,
        others: Sequence[Checkpoint],
    ) -> None:
        self.place, self.bar, self.workers, self.say = place, bar, workers, say
        self.trials: dict[str, Trial] = dict(known(place)[0])
        found = {recipe: student_of(recipe) for recipe in self.trials}
        self.students: dict[str, Student] = {
            recipe: student for recipe, student in found.items() if student is not None
        }
        self._end, self.until = end, end(self.searched())
        self._policy, self._n_macs = teacher.policy, teacher.policy.n_macs
        self._space = SearchSpace.of(teacher, others, train=place.request.train)
        self._effects = Effects()
        self._code = CodeBytes(place.request.objective, self._space)
        self._came_from: dict[str, tuple[Move, str]] = {}
        self._running: dict[Future[Trial], str] = {}
        self._played_on: set[str] = set()
        self._seconds_per_step = 0.04 if self._space.images else 0.001
        self._seconds_per_episode = max(0.001, self.trials[""].seconds / len(self.trials[""].returns))
        # What every student costs, however it is trained: the choice among restarts, and the race.
        self._played = _OVERHEAD_S + (_CHOOSING + RACE[-1]) * self._seconds_per_episode
        first = self._space.starts()
        self._starts = [student for student in first if student.recipe not in self.trials]
        self._n_starts, self._turn = len(first), 0
        for recipe in self.students:
            self._learn_code(recipe)
        self._first_steps = first_steps(self._policy, self._failed_steps())
        # Of images, what is safe and small at once is a student: pruning by curvature takes minutes there.
        self._rungs = 1 if self._space.trainable and self._space.images else None
        self._ladder = self._left(self.trials)
        self._n_ladder = len(self._left(()))

    def all(self) -> None:
        """Try until the time is over or nothing is left that promises anything."""
        while True:
            while len(self._running) < self.place.request.workers and time.time() < self.until - 2:
                recipe = self._next()
                if recipe is None:
                    break
                episodes = len(self.bar.baseline)
                if recipe not in self.trials:
                    episodes = min(RACE[-1], episodes)
                future = self.workers.submit(
                    attempt, self.place, recipe, self.until, self.bar, episodes, self.bar.block
                )
                self._running[future] = recipe
            if not self._running:
                return
            left = max(0.0, self.until + _GRACE_S - time.time())
            done, _ = wait(self._running, left, FIRST_COMPLETED)
            if not done and time.time() >= self.until + _GRACE_S:
                for recipe in self._running.values():
                    self.say(f"{recipe}: given up, the time of the search was over")
                self._running.clear()
                self.workers.renew()
                return
            for future in done:
                self._take(self._running.pop(future), _result(future))
            self.until = self._end(self.searched())

    def _left(self, tried: Collection[str]) -> list[str]:
        """What needs no training and was not tried."""
        return rungs(self._first_steps, tried, remembers=self._policy.has_memory, most=self._rungs)

    def _failed_steps(self) -> set[str]:
        return {trial.step for trial in self.trials.values() if trial.step}

    def searched(self) -> Searched:
        """What was found so far."""
        return Searched(dict(self.trials), self.bar, dict(self.students))

    def _take(self, recipe: str, trial: Trial) -> None:
        played_on = recipe in self.trials
        if trial.reason:
            self.trials.setdefault(recipe, trial)
            self.say(f"{recipe}: {trial.reason}")
            first = first_steps(self._policy, self._failed_steps())
            if first != self._first_steps:
                self._first_steps = first
                self._ladder = self._left(self.trials)
            return
        self.trials[recipe] = trial
        self._learn_code(recipe)
        estimate, error = self.bar.retention(trial.returns)
        if not played_on:
            self._learn(recipe, trial, estimate)
        self.say(
            f"{trial.model_bytes:,} bytes keep {100 * estimate:.1f} % (±{200 * error:.1f}) of the return "
            f"on {len(trial.returns)} episodes{f', but {trial.broken}' if trial.broken else ''}: {recipe}"
        )

    def _learn(self, recipe: str, trial: Trial, estimate: float) -> None:
        """Take up how long it took and what its move did."""
        student = self.students.get(recipe)
        if student is not None and not student.evolve:
            shared = recipe in self._came_from and self.students[self._came_from[recipe][1]].root == student.root
            steps = student.work * _SHARED if shared else student.work
            part = max(0.0, trial.seconds - self._played) / steps
            self._seconds_per_step += 0.4 * (part - self._seconds_per_step)
        if recipe in self._came_from:
            move, parent = self._came_from[recipe]
            before = self.bar.retention(self.trials[parent].returns)[0]
            self._effects.learn(move, min(before, 1.1), min(estimate, 1.1))

    def _next(self) -> str | None:
        """The recipe to try now; None where nothing is worth it."""
        # First of all something small and something safe, at the same time.
        if len(self._starts) == self._n_starts and self._starts:
            return self._register(self._starts.pop(0), None)
        leader = self._leader()
        if leader is not None:
            return leader
        reached = self._reached()
        small = math.log(_WORTH_A_LADDER * self.trials[""].value)
        climbing = not self._space.trainable or max((sure for at, sure in reached if at <= small), default=0.0) < _SAFE
        self._turn += 1
        if self._ladder and (
            len(self._ladder) == self._n_ladder or (climbing and (self._turn % 2 or not self._starts))
        ):
            return self._ladder.pop(0)
        if self._starts:
            return self._register(self._starts.pop(0), None)
        if not self._space.trainable:
            return None
        busy = {self.students[r].root for r in self._running.values() if r in self.students}
        promising: tuple[float, Student, tuple[Move, str]] | None = None
        evolutions = self._evolutions()
        left = self.until - time.time()
        for recipe, parent in list(self.students.items()):
            trial = self.trials.get(recipe)
            if trial is None or trial.reason or not len(trial.returns):
                continue
            estimate, error = self.bar.retention(trial.returns)
            bar = self.bar.keep + self.bar.margin(trial.returns)
            for move, child in self._space.neighbours(parent, evolutions):
                if child.recipe in self.trials or child.recipe in self.students:
                    continue
                value = self._value(child)
                cost = self._played + self._cost(parent, child)
                won = gain(value, reached)
                if won < _LEAST_GAIN or _SLOWER * cost > left:
                    continue
                if child.root in busy and child.root != parent.root:
                    continue
                mean, spread = self._effects.predict(move, estimate)
                sure = chance(min(estimate, 1.15) + mean, math.hypot(spread, error), bar)
                worth = sure * won / cost
                if promising is None or worth > promising[0]:
                    promising = (worth, child, (move, recipe))
        if promising is None:
            return None
        return self._register(promising[1], promising[2])

    def _leader(self) -> str | None:
        """The smallest that is likelier to be confirmed than all that is smaller, and has played few episodes; one that
        looks good for its luck alone would keep the search from all that is larger.
        """
        best = _HOPEFUL
        for trial in sorted(self.trials.values(), key=lambda trial: trial.value):
            if not trial.may_win or (sure := self.bar.sure(trial.returns)) <= best:
                continue
            best = sure
            more = len(trial.returns) < len(self.bar.baseline) and not self.bar.settled(trial.returns)
            if more and trial.recipe not in self._played_on:
                self._played_on.add(trial.recipe)
                return trial.recipe
        return None

    def _reached(self) -> list[tuple[float, float]]:
        """Logarithms of values, each with the chance that something no larger is confirmed, up to what it began from.

        Students of one task hold or fail together: the chance of several is that of the best of them.
        """
        base = self.trials[""].value
        found = sorted(
            (trial.value, self.bar.sure(trial.returns))
            for trial in self.trials.values()
            if trial.may_win and trial.value < base
        )
        best = itertools.accumulate((sure for _, sure in found), max)
        return [*((math.log(value), sure) for (value, _), sure in zip(found, best, strict=True)), (math.log(base), 1.0)]

    def _register(self, student: Student, origin: tuple[Move, str] | None) -> str:
        recipe = student.recipe
        self.students[recipe] = student
        if origin is not None:
            self._came_from[recipe] = origin
        return recipe

    def _learn_code(self, recipe: str) -> None:
        """Take up what the code of a student takes, where that counts and it was compiled."""
        student, trial = self.students.get(recipe), self.trials[recipe]
        if self._on_target and student is not None and self._space.trainable and math.isfinite(trial.value):
            self._code.learn(student, trial.value)

    @property
    def _on_target(self) -> bool:
        return self.place.request.objective in ("flash_bytes", "ram_bytes")

    def _value(self, student: Student) -> float:
        if self.place.request.objective == "model_bytes":
            return float(self._space.model_bytes(student))
        if self._on_target:
            return self._code.predict(student)
        macs = float(self._space.n_macs(student))
        if self.place.request.objective == "n_macs":
            return macs
        return self.trials[""].value * min(1.0, macs / max(1, self._n_macs))

    def _cost(self, parent: Student, child: Student) -> float:
        shared = child.root == parent.root and child.root[0] == parent.root[0]
        if child.evolve and not parent.evolve:
            return child.evolve * self._seconds_per_episode
        training = child.work * self._seconds_per_step * (_SHARED if shared else 1.0)
        return training + child.evolve * self._seconds_per_episode

    def _evolutions(self) -> tuple[int, int]:
        """Episodes of a spell of evolution, about a sixth of the time, and how many each member plays."""
        budget = self.place.request.within_s / 6 / self._seconds_per_episode
        spread = deviation(self.bar.baseline) / max(1e-9, paired.gap(self.bar.baseline, self.bar.random))
        each = 1 if spread < 0.05 else 2 if spread < 0.12 else 4
        return max(200, 1 << round(math.log2(max(budget, 200)))), each


def gain(value: float, reached: Sequence[tuple[float, float]]) -> float:
    """By how much, in its logarithm, the smallest that is confirmed is expected to shrink if one of this value is.

    Args:
        value: of what may be tried.
        reached: logarithms of values, ascending, each with the chance that something no larger is confirmed.
    """
    at, missing, total = math.log(value), 1.0, 0.0
    for end, sure in reached:
        if end > at:
            total += missing * (end - at)
            at = end
        missing = 1 - sure
    return total
