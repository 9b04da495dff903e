"""What does not keep to its time is ended, and what was done before it counts."""

import itertools
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.measurement import Measurement
from lilliput.policies.play import OutOfTime
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.shrink.confirm import chain, player
from lilliput.shrink.request import Place, Request
from lilliput.shrink.workers import Workers, workers
from lilliput.statistics import ConfirmationPlan, plan_confirmation
from lilliput.task import Task


def sleeps(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(1000)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_processes_that_are_given_up_are_ended_and_others_work(tmp_path: Path) -> None:
    with workers(1) as found:
        found.submit(sleeps, str(tmp_path / "pid"))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        found.renew()
        assert found.submit(os.getpid).result() != pid
        while is_alive(pid):
            time.sleep(0.05)


class Never(Executor):
    """Takes work and never does it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return Future()


def test_a_block_of_the_confirmation_that_is_late_is_given_up(tmp_path: Path) -> None:
    started: list[Never] = []

    def start() -> Executor:
        started.append(Never())
        return started[-1]

    request = Request(Task("CartPole-v1"), workers=2)
    play = player(Place(tmp_path, "0" * 64, request), ("half()",), Workers(start), until=0.0)
    with pytest.raises(OutOfTime, match="the time of the confirmation was over"):
        play(0, (1, 2, 3))
    assert len(started) == 2


class Now(Executor):
    """In the place of worker processes: what is submitted is done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_baseline_and_random_policy_play_a_seed_once_for_all_finalists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, tuple[int, ...]]] = []

    def record(cell: Cell, _: Path) -> Record:
        asked.append((cell.subject, cell.recipe, tuple(map(int, cell.items))))
        unit = 1.0 if cell.recipe else 100.0 if cell.subject == "0" * 64 else 10_000.0
        values = tuple(unit * float(seed) for seed in cell.items)
        return Record(cell, "done", measurements=(Measurement("episode_return", values, "measured: here"),))

    monkeypatch.setattr(sys.modules["lilliput.shrink.confirm"], "_record", record)
    request, recipes = Request(Task("CartPole-v1"), workers=2), ("half()", "quantize(weight_bits=8)")
    play = player(Place(tmp_path, "0" * 64, request), recipes, Workers(Now), until=time.time() + 1000)
    for index, seeds in ((0, (5, 1, 4)), (1, (5, 1, 4, 7)), (1, (9, 2))):
        np.testing.assert_array_equal(play(index, seeds), np.outer([1, 100, 10_000], seeds))
    for subject, recipe in (("0" * 64, ""), (RANDOM_POLICY, "")):
        played = [seed for who, what, items in asked if (who, what) == (subject, recipe) for seed in items]
        assert sorted(played) == [1, 2, 4, 5, 7, 9]
    assert sorted(seed for _, what, items in asked if what == recipes[1] for seed in items) == [1, 2, 4, 5, 7, 9]


def plan() -> ConfirmationPlan:
    rng = np.random.default_rng(0)
    returns = rng.normal(100, 10, 64)
    return plan_confirmation(returns, returns, np.zeros(64), 0.9, max_episodes=100, alpha=0.05)


def test_what_was_confirmed_before_the_time_was_over_counts() -> None:
    played: list[int] = []

    def play(_: int, seeds: Any) -> np.ndarray:
        if played:
            raise OutOfTime("late")
        played.append(len(seeds))
        return np.stack([np.full(len(seeds), value) for value in (89.0, 100.0, 0.0)])

    (found,) = chain([plan()], itertools.count, play, time.time() + 1000, 200)
    assert (found.outcome, found.returns.shape[1]) == ("undecided", played[0])


def test_nothing_is_begun_that_there_is_no_time_for() -> None:
    def play(_: int, seeds: Any) -> np.ndarray:
        raise AssertionError(f"{len(seeds)} episodes were begun")

    assert list(chain([plan()], itertools.count, play, time.time() + 10, 200, pace=5.0)) == []
