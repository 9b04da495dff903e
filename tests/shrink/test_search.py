"""What the search expects of a student that it did not try yet."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.policies import layers, spaces
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy
from lilliput.shrink.bar import Bar
from lilliput.shrink.configuration import Sight, Student, image_starts, student_of
from lilliput.shrink.move import gain
from lilliput.shrink.request import Place, Request
from lilliput.shrink.search import search
from lilliput.shrink.searched import Searched
from lilliput.shrink.trial import Trial
from lilliput.shrink.workers import Workers
from lilliput.task import Task


class Here(Executor):
    """In the place of worker processes: what is submitted is done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_the_gain_is_what_the_smallest_that_holds_is_expected_to_shrink_by() -> None:
    base = (math.log(10_000), 1.0)
    assert gain(100.0, [base]) == pytest.approx(math.log(100))
    assert gain(10_000.0, [base]) == 0
    assert gain(20_000.0, [base]) == 0
    # At 1,000 stands one that holds in two cases of three: below it all counts, above it what is left.
    perhaps = [(math.log(1_000), 2 / 3), base]
    assert gain(100.0, perhaps) == pytest.approx(math.log(10) + math.log(10) / 3)
    assert gain(1_000.0, perhaps) == pytest.approx(math.log(10) / 3)
    assert gain(5_000.0, perhaps) == pytest.approx(math.log(2) / 3)


def test_what_is_larger_than_a_sure_one_gains_nothing_and_beside_a_lucky_one_most() -> None:
    sure, lucky = ([(math.log(400), chance), (math.log(40_000), 1.0)] for chance in (1.0, 0.4))
    assert gain(600.0, sure) == 0
    assert gain(300.0, sure) == pytest.approx(math.log(4 / 3))
    assert gain(600.0, lucky) > gain(300.0, sure) > gain(600.0, sure)


class Made:
    """Trials as some task might give them, each in so many seconds: what a student keeps is a matter of its size.

    Attributes:
        kept: of the return by a student of so many bytes.
        seconds: of each trial, by how many there were before.
    """

    def __init__(self, kept: Callable[[int], float], seconds: Callable[[int], float]) -> None:
        self.kept, self.now, self.asked = kept, 1000.0, list[tuple[str, float, int]]()
        self.seconds = seconds

    def time(self) -> float:
        return self.now

    def attempt(
        self, place: Place, recipe: str, until: float, bar: Bar, episodes: int, block: int, least: float,
        before: Sequence[float],
    ) -> Trial:  # fmt: skip
        seconds = self.seconds(len(self.asked))
        self.now += seconds
        self.asked.append((recipe, least, len(before)))
        student = student_of(recipe)
        if student is None:
            return Trial(recipe, 70_000.0, 70_000, np.full(episodes, 1000.0), seconds)
        size = student.model_bytes(Sight(17), 6, 0)
        kept = 1000.0 * self.kept(size)
        if kept / 1000 < least:
            return Trial(recipe, np.inf, 0, np.full(4, kept), seconds, "left", step="distill")
        n = 8 if kept < 900 else episodes
        return Trial(recipe, float(size), size, np.full(n, kept), seconds)


def in_proportion(least_bytes: float) -> Callable[[int], float]:
    """All of the return from a size on, and less of it below."""
    return lambda size: min(1.0, size / least_bytes)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Searched, Made]]:
    def run(
        kept: Callable[[int], float], said: list[str], seconds: Callable[[int], float] = lambda _: 1.0
    ) -> tuple[Searched, Made]:
        made, module = Made(kept, seconds), sys.modules["lilliput.shrink.search"]
        low, high = np.full(17, -np.inf), np.full(17, np.inf)
        network = (layers.Dense(np.ones((6, 17), np.float32), None),)
        policy = Policy(spaces.Box((17,), low, high), spaces.Box((6,), np.full(6, -1.0), np.full(6, 1.0)), network)
        base = Trial("", 280_000.0, 280_000, 1000.0 + np.tile([-10.0, 10.0], 64), 75.0)
        monkeypatch.setattr(module, "attempt", made.attempt)
        monkeypatch.setattr(module, "known", lambda _: ({"": base}, np.zeros(128)))
        monkeypatch.setattr(time, "time", made.time)
        place = Place(tmp_path, policy.digest, Request(Task("HalfCheetah-v4"), workers=1))
        bar, end = Bar(base.returns, np.zeros(128), 0.95, 400), made.now + 600
        return search(Checkpoint(policy), place, bar, Workers(Here), lambda _: end, said.append), made

    return run


def test_a_search_that_has_nothing_to_gain_ends_before_its_time(searched: Any) -> None:
    found, made = searched(in_proportion(1.0), [])
    assert found.ended == "nothing_left"
    assert made.now < 1000 + 300
    smallest = min(trial.value for trial in found.trials.values() if trial.may_win)
    # A linear student of two bits without ranges is the smallest that there is.
    assert smallest == Student((), 2, "l2", "none").model_bytes(Sight(17), 6, 0)


def test_a_search_whose_students_take_too_long_says_so_and_not_that_nothing_is_left(searched: Any) -> None:
    found, made = searched(in_proportion(20_000.0), [], lambda _: 230.0)
    assert found.ended == "too_slow"
    assert made.now < 1000 + 600
    assert searched(in_proportion(20_000.0), [])[0].ended == "nothing_left", "with time enough"


def test_a_start_that_was_too_slow_is_tried_once_trials_are_quicker_and_else_left_for_its_time(searched: Any) -> None:
    """The first trial takes most of the time, as where a cache is cold; then neighbours are tried, and all are lost."""
    first, linear = (Student(hidden, 6, "l2") for hidden in ((16,), ()))
    size = first.model_bytes(Sight(17), 6, 0)

    def cliff(of: int) -> float:
        return 1.0 if of >= size else 0.2

    found, made = searched(cliff, [], lambda n: 1.0 if n else 400.0)
    asked = [recipe for recipe, _, _ in made.asked]
    at = asked.index(linear.recipe)
    tried = [student_of(recipe) for recipe in asked[1:at]]
    assert any(one is not None and one.hidden == first.hidden for one in tried), "neighbours come first"
    assert found.ended == "nothing_left"
    # The trial before takes what was left: too little is left for the start, and nothing else promises anything.
    found, made = searched(cliff, [], lambda n: 1.0 if n and n != at - 1 else 400.0 if not n else 120.0)
    assert [recipe for recipe, _, _ in made.asked] == asked[:at]
    assert made.now < 1000 + 600 - 2
    assert found.ended == "too_slow"


def test_what_is_plainly_lost_is_not_quantized_and_no_episode_is_played_twice(searched: Any) -> None:
    found, made = searched(in_proportion(700.0), [])
    assert any(trial.reason == "left" and len(trial.returns) for trial in found.trials.values())
    first = made.asked[0]
    assert first[1] == -math.inf, "what the search begins with is always quantized"
    again = [recipe for recipe, _, before in made.asked if before]
    assert all(before in (0, 64) for _, _, before in made.asked)
    assert len(again) == len(set(again))
    holds = [trial.value for trial in found.trials.values() if trial.may_win and found.bar.sure(trial.returns) > 0.9]
    assert 680 <= min(holds) <= 770


def test_a_delicate_policy_is_said_to_be_one_and_wide_students_come_next(searched: Any) -> None:
    said: list[str] = []
    _, made = searched(in_proportion(3_000.0), said)
    assert any("the policy is delicate" in sentence for sentence in said)
    students = [student_of(recipe) for recipe, _, _ in made.asked]
    tried = [one for one in students if one is not None]
    assert tried[0].hidden == (16,)
    assert tried[1].hidden == (96, 96)


@pytest.mark.parametrize(("kept", "holds"), [(1000.0, True), (850.0, False)])
def test_of_images_students_come_first_and_a_long_game_leaves_time_for_another(
    kept: float, holds: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from tests.policies.bright import bright

    module, now, asked = sys.modules["lilliput.shrink.search"], [1000.0], list[str]()

    def attempt(_: Place, recipe: str, until: float, bar: Bar, episodes: int, *rest: object) -> Trial:
        assert episodes <= 32
        now[0] += 240.0
        asked.append(recipe)
        if now[0] > until:
            return Trial(recipe, np.inf, 0, np.zeros(0), 240.0, "the time was over before it was made")
        if (student := student_of(recipe)) is None:
            return Trial(recipe, 70_000.0, 70_000, np.full(32, 1000.0), 240.0)
        size = student.model_bytes(Sight.of(policy), 2, 0)
        return Trial(recipe, float(size), size, np.full(32, kept), 240.0)

    policy, returns = bright(64, 128), 1000.0 + np.tile([-1.0, 1.0], 16)
    base = Trial("", float(policy.model_bytes), policy.model_bytes, returns, 32 * 3.0)
    monkeypatch.setattr(module, "attempt", attempt)
    monkeypatch.setattr(module, "known", lambda _: ({"": base}, np.zeros(32)))
    monkeypatch.setattr(time, "time", lambda: now[0])
    place = Place(tmp_path, policy.digest, Request(Task("Bright-v0"), workers=1))
    bar, end = Bar(returns, np.zeros(32), 0.9, 120), now[0] + 1_000
    search(Checkpoint(policy), place, bar, Workers(Here), lambda _: end, lambda _: None)
    assert len(asked) == 4, "32 episodes of three seconds and training fit four times, and nothing is begun in vain"
    students = [student_of(recipe) for recipe in asked]
    sizes = [(0, 0) if one is None else (one.model_bytes(Sight.of(policy), 2, 0), one.steps) for one in students]
    first, larger = image_starts(Sight.of(policy))
    assert students[0] == first
    if holds:  # only smaller ones are worth a trial
        assert all(students)
        assert max(sizes[1:]) < sizes[0]
    else:
        assert students[1] == larger
        assert students[2] is None, "what is safe without training, where no student is"
        assert sizes[3] > sizes[0]
