"""The search: what costs seconds first, then students, each next one where size, chance and cost promise most."""

import itertools
import math
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import final

from lilliput.policies import last_action
from lilliput.policies.learner import Checkpoint
from lilliput.shrink.bar import RACE, Bar
from lilliput.shrink.code_bytes import CodeBytes
from lilliput.shrink.configuration import DELICATE, Student, student_of
from lilliput.shrink.ladder import first_steps, rungs
from lilliput.shrink.move import Effects, Move, chance, gain
from lilliput.shrink.pace import Pace
from lilliput.shrink.request import Place
from lilliput.shrink.searched import End, Ended, Searched
from lilliput.shrink.student_space import StudentSpace
from lilliput.shrink.trial import Trial, attempt, known
from lilliput.shrink.workers import Workers, result

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
_LEAST_EXPECTED = 0.02
"""Nor is less than this by the chance that it comes true: where nothing promises more the search ends."""
_FAR_BELOW = 0.08
"""What real weights keep less than is asked for, or than the best of all keeps, quantized ones do not make up for."""
_GRACE_S = 1.0
"""What is asked to stop looks at the clock at every step of an environment; what has not by then is ended."""
_CHOOSING = 94
"""Episodes that choose among restarts: four of each of four, four of each of the better two after each of the last six
rounds, and up to 60 more where these differ.
"""


def search(
    teacher: Checkpoint, place: Place, bar: Bar, workers: Workers, end: End, say: Say, others: Sequence[Checkpoint] = ()
) -> Searched:
    """What was tried until the end; trials that the records tell of are not repeated.

    Students are also tried of the other teachers.
    """
    run = _Run(teacher, place, bar, workers, end, say, others)
    run.all()
    return run.searched()


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
        self._ended: Ended = "time"
        self._slow_starts: list[Student] = []
        self._slow_neighbour = False
        self._end, self.until = end, end(self.searched())
        self._policy, self._n_macs = teacher.policy, teacher.policy.n_macs
        self._space = StudentSpace.of(teacher, others, train=place.request.train)
        self._effects = Effects()
        self._code = CodeBytes(place.request.objective, self._space)
        self._came_from: dict[str, tuple[Move, str]] = {}
        self._running: dict[Future[Trial], str] = {}
        self._played_on: set[str] = set()
        # What every student costs: the choice among restarts, of which images have none, and the race.
        episodes = min(RACE[-1], len(bar.baseline)) if self._space.images else _CHOOSING + RACE[-1]
        episode_s = max(0.001, self.trials[""].seconds / len(self.trials[""].returns))
        self._pace = Pace(self._space, episode_s, episodes)
        for recipe in self.students:
            self._learn_code(recipe)
        self._every_start, self._turn = self._space.starts(), 0
        self._starts = self._untried(self._every_start)
        self._begin_as_it_is()
        self._first_steps = first_steps(self._policy, self._failed_steps())
        # Of images, what is safe and small at once is a student: all else takes minutes, or becomes a quarter at best.
        self._students_first = self._space.trainable and self._space.images
        self._rungs = 1 if self._students_first else None
        self._ladder = self._left(self.trials)
        self._n_ladder = len(self._left(()))

    def all(self) -> None:
        """Try until the time is over or nothing is left that promises anything."""
        while True:
            while len(self._running) < self.place.request.workers and time.time() < self.until - 2:
                recipe = self._next()
                if recipe is None:
                    break
                before, episodes = (), len(self.bar.baseline)
                if recipe in self.trials:
                    before = tuple(self.trials[recipe].returns)
                else:
                    # Beside students, what is safe and large is only there for where none of them holds.
                    beside = self._space.trainable and recipe not in self.students
                    episodes = min(RACE[1] if beside else RACE[-1], episodes)
                future = self.workers.submit(
                    attempt, self.place, recipe, self.until, self.bar, episodes, self.bar.block, self._least(recipe),
                    before,
                )  # fmt: skip
                self._running[future] = recipe
            if not self._running:
                if time.time() < self.until - 2:
                    self._ended = "too_slow" if self._slow_is_left() else "nothing_left"
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
                self._take(self._running.pop(future), result(future))
            self.until = self._end(self.searched())

    def _untried(self, students: Sequence[Student]) -> list[Student]:
        return [student for student in students if student.recipe not in self.trials]

    def _begin_as_it_is(self) -> None:
        """Where the first student keeps little the search begins otherwise."""
        first = self.trials.get(self._every_start[0].recipe) if self._every_start else None
        if first is None or first.reason:
            return
        kept = self.bar.retention(first.returns)[0]
        if others := self._space.after(self._every_start[0], kept):
            self._starts, self._slow_starts = self._untried(others), []
        if others and kept < DELICATE:
            self.say(
                f"the first student keeps {100 * kept:.0f} %: the policy is delicate, and what may hold is wide and "
                "trained for long"
            )

    def _left(self, tried: Collection[str]) -> list[str]:
        """What needs no training and was not tried."""
        return rungs(
            self._first_steps, tried, remembers=last_action.apart(self._policy)[1].has_memory, most=self._rungs
        )

    def _failed_steps(self) -> set[str]:
        return {trial.step for trial in self.trials.values() if trial.step}

    def searched(self) -> Searched:
        """What was found so far."""
        return Searched(dict(self.trials), self.bar, dict(self.students), self._ended)

    def _take(self, recipe: str, trial: Trial) -> None:
        played_on = recipe in self.trials
        if trial.reason:
            self.trials.setdefault(recipe, trial)
            self.say(f"{recipe}: {trial.reason}")
            if len(trial.returns) and not played_on:
                self._learn(recipe, trial, self.bar.retention(trial.returns)[0])
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
        if self._every_start and recipe == self._every_start[0].recipe and not played_on:
            self._begin_as_it_is()
        self.say(
            f"{trial.model_bytes:,} bytes keep {100 * estimate:.1f} % (±{200 * error:.1f}) of the return "
            f"on {len(trial.returns)} episodes{f', but {trial.broken}' if trial.broken else ''}: {recipe}"
        )

    def _learn(self, recipe: str, trial: Trial, estimate: float) -> None:
        """Take up how long it took and what its move did."""
        move, parent = self._came_from.get(recipe, (None, ""))
        if (student := self.students.get(recipe)) is not None:
            self._pace.learn(student, self.students.get(parent), trial)
        if move is not None:
            before = self.bar.retention(self.trials[parent].returns)[0]
            self._effects.learn(move, min(before, 1.1), min(estimate, 1.1))

    def _next(self) -> str | None:
        """The recipe to try now; None where nothing is worth it."""
        # First of all something small and something safe, at the same time.
        if self._starts and self._starts[0] is self._every_start[0]:
            return self._register(self._starts.pop(0), None)
        leader = self._leader()
        if leader is not None:
            return leader
        reached = self._reached()
        climbing = self._climbing(reached)
        self._turn += 1
        if self._students_first:
            climbs = climbing and not self._starts and self._in_time(self._pace.played)
        else:
            fresh = len(self._ladder) == self._n_ladder
            climbs = fresh or (climbing and (self._turn % 2 == 1 or not self._starts))
        if self._ladder and climbs:
            return self._ladder.pop(0)
        if not self._space.trainable:
            return None
        return self._start(self._starts, reached) or self._best_neighbour(reached) or self._slow_start(reached)

    def _climbing(self, reached: list[tuple[float, float]]) -> bool:
        """Whether what needs no training may still be the best that is found."""
        small = math.log(_WORTH_A_LADDER * self.trials[""].value)
        return not self._space.trainable or max((sure for at, sure in reached if at <= small), default=0.0) < _SAFE

    def _start(self, starts: list[Student], reached: list[tuple[float, float]]) -> str | None:
        """The first of the starts that promises a gain in time; what comes before it is taken off them."""
        while starts:
            start = starts.pop(0)
            if start.recipe in self.students or gain(self._value(start), reached) < _LEAST_GAIN:
                continue
            if self._in_time(self._pace.seconds(start, None)):
                return self._register(start, None)
            self._slow_starts.append(start)
        return None

    def _slow_start(self, reached: list[tuple[float, float]]) -> str | None:
        """One that was too slow for the time that was left, where trials are quicker by now."""
        slow, self._slow_starts = self._slow_starts, []
        found = self._start(slow, reached)
        self._slow_starts += slow
        return found

    def _slow_is_left(self) -> bool:
        """Whether something that promises a gain was not tried for its time alone, when nothing else is left."""
        return bool(self._slow_neighbour or self._slow_starts or (self._ladder and self._climbing(self._reached())))

    def _in_time(self, seconds: float) -> bool:
        """Whether a trial that is foretold to take so long is likely to end in time."""
        return _SLOWER * seconds <= self.until - time.time()

    def _best_neighbour(self, reached: list[tuple[float, float]]) -> str | None:
        """The untried student, one move from one that was tried, that promises the most for its time; None: none."""
        hopeful = any(
            one.may_win and self.bar.sure(one.returns) >= _HOPEFUL
            for one in map(self.trials.get, self.students)
            if one is not None
        )
        best = max(self._kept(), default=0.0)
        busy = {self.students[r].root for r in self._running.values() if r in self.students}
        promising: tuple[float, Student, tuple[Move, str]] | None = None
        evolutions = self._pace.evolutions(self.place.request.within_s, self.bar)
        self._slow_neighbour = False
        for recipe, parent in list(self.students.items()):
            trial = self.trials.get(recipe)
            if trial is None or trial.reason or not len(trial.returns):
                continue
            estimate, error = self.bar.retention(trial.returns)
            bar = self.bar.keep + self.bar.margin(trial.returns)
            # Where none may hold, what comes closer is worth a trial: what holds is more than one step away.
            bar = bar if hopeful else min(bar, (best + bar) / 2)
            for move, child in self._space.neighbours(parent, evolutions):
                if child.recipe in self.trials or child.recipe in self.students:
                    continue
                value = self._value(child)
                seconds = self._pace.seconds(child, parent)
                won = gain(value, reached)
                if won < _LEAST_GAIN:
                    continue
                if child.root in busy and child.root != parent.root:
                    continue
                mean, spread = self._effects.predict(move, estimate)
                sure = chance(min(estimate, 1.15) + mean, math.hypot(spread, error), bar)
                if hopeful and sure * won < _LEAST_EXPECTED:
                    continue
                if not self._in_time(seconds):
                    self._slow_neighbour = True
                    continue
                worth = sure * won / seconds
                if promising is None or worth > promising[0]:
                    promising = (worth, child, (move, recipe))
        if promising is None:
            return None
        return self._register(promising[1], promising[2])

    def _least(self, recipe: str) -> float:
        """What real weights have to keep so that the student is quantized: those that it begins with all are."""
        if recipe not in self._came_from:
            return -math.inf
        best = max(self._kept(), default=-math.inf)
        return min(self.bar.keep, best) - _FAR_BELOW

    def _kept(self) -> list[float]:
        """What the students keep that were tried."""
        every = (self.trials.get(recipe) for recipe in self.students)
        return [self.bar.retention(one.returns)[0] for one in every if one and not one.reason and len(one.returns)]

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
            more = more and (trial.recipe in self.students or not self._space.trainable)
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
