"""How long students take to be made and to be played: foretold, and learned from those that were tried."""

import math
from typing import final

from lilliput import paired
from lilliput.shrink.bar import Bar
from lilliput.shrink.configuration import Student
from lilliput.shrink.student_space import StudentSpace
from lilliput.shrink.trial import Trial
from lilliput.sums import deviation

_OVERHEAD_S = 2.0
_SHARED = 0.3
"""The part of a course that is not shared by students of one root: a third of its steps, which take a little longer."""


@final
class Pace:
    """The seconds that the students of a space take.

    Attributes:
        played: by each, to play.
    """

    def __init__(self, space: StudentSpace, seconds_per_episode: float, episodes: int) -> None:
        """Of students that play so many episodes of so many seconds each."""
        self._seconds_per_episode = seconds_per_episode
        self._space = space
        self._seconds_per_step = 0.04 if space.images else 0.001
        self.played = _OVERHEAD_S + episodes * seconds_per_episode

    def learn(self, student: Student, parent: Student | None, trial: Trial) -> None:
        """Take up how long a student took that was one move from its parent; one that evolves tells nothing."""
        if student.evolve:
            return
        shared = parent is not None and parent.root == student.root
        share = _SHARED if shared else 1 - _SHARED if trial.reason else 1.0
        part = max(0.0, trial.seconds - self.played) / (share * self._space.work(student))
        self._seconds_per_step += 0.4 * (part - self._seconds_per_step)

    def seconds(self, student: Student, parent: Student | None) -> float:
        """How long its trial takes, of which some is done where it is one move from its parent."""
        if parent is not None and student.evolve and not parent.evolve:
            return student.evolve * self._seconds_per_episode + self.played
        shared = parent is not None and student.root == parent.root
        training = self._space.work(student) * self._seconds_per_step * (_SHARED if shared else 1.0)
        return training + student.evolve * self._seconds_per_episode + self.played

    def evolutions(self, within_s: float, bar: Bar) -> tuple[int, int]:
        """Episodes of a spell of evolution, about a sixth of all the time, and how many each member plays."""
        budget = within_s / 6 / self._seconds_per_episode
        spread = deviation(bar.baseline) / max(1e-9, paired.gap(bar.baseline, bar.random))
        each = 1 if spread < 0.05 else 2 if spread < 0.12 else 4
        return max(200, 1 << round(math.log2(max(budget, 200)))), each
