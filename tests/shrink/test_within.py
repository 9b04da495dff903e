"""The time is kept however slow the environment is. The clock is the environment's: it moves at its steps alone."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.classic_control import PendulumEnv

from lilliput.errors import LilliputError
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy
from lilliput.shrink import run
from lilliput.shrink.request import Request
from lilliput.shrink.run import shrink
from lilliput.shrink.workers import Workers
from lilliput.task import Task

STEP_S = 0.01


class Clock:
    """Tells the same time to everybody; one step of the environment is 10 ms, whoever plays."""

    now = 0.0
    moves = 0


class Slow(PendulumEnv):
    """Pendulum at the speed of a heavy simulator."""

    def step(self, u: Any) -> Any:
        Clock.now += STEP_S
        Clock.moves += 1
        return super().step(u)


class Here(Executor):
    """In the place of worker processes: what is submitted is done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gymnasium.register("LilliputSlow-v0", Slow, max_episode_steps=200)  # type: ignore[arg-type]
    Clock.now, Clock.moves = 1000.0, 0
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: Clock.now)
    monkeypatch.setattr(run, "workers", lambda _: contextlib.nullcontext(Workers(Here)))
    yield
    del gymnasium.registry["LilliputSlow-v0"]


@pytest.fixture
def swings(example_policies: Path) -> Policy:
    """A trained policy that holds the pendulum up."""
    return load_policy(example_policies / "sac-Pendulum-v1")


@pytest.mark.parametrize(
    "within", [30.0, pytest.param(100.0, marks=pytest.mark.slow), pytest.param(600.0, marks=pytest.mark.slow)]
)
def test_the_time_is_kept_on_a_slow_environment(swings: Policy, tmp_path: Path, within: float) -> None:
    request = Request(Task("LilliputSlow-v0"), keep=0.5, within_s=within, format="onnx", workers=1, train=False)
    said: list[str] = []
    result = shrink(swings, request, tmp_path, said.append)
    spent = Clock.now - 1000.0
    assert spent == pytest.approx(Clock.moves * STEP_S)
    assert spent <= within + max(5.0, 0.1 * within)
    assert result.seconds == pytest.approx(spent, abs=1.0)
    if not result.recipe:
        assert len([note for note in result.notes if "give more" in note]) == 1, result.notes


def test_an_episode_longer_than_the_time_is_said(swings: Policy, tmp_path: Path) -> None:
    request = Request(Task("LilliputSlow-v0"), within_s=5.0, format="onnx", workers=1, train=False)
    with pytest.raises(LilliputError, match=r"takes too long for 5 s: not two of them were over; give more time"):
        shrink(swings, request, tmp_path, lambda _: None)
    assert Clock.now - 1000.0 <= 5.0


def test_what_came_before_the_call_counts(swings: Policy, tmp_path: Path) -> None:
    """What a command took to start: reading the policy, importing what plays."""
    request = Request(Task("LilliputSlow-v0"), within_s=30.0, format="onnx", workers=1, train=False)
    with pytest.raises(LilliputError, match="takes too long for 30 s"):
        shrink(swings, request, tmp_path, lambda _: None, started=Clock.now - 25.0)
    assert Clock.now - 1000.0 <= 5.0
    assert list(tmp_path.rglob("model.onnx")), "nothing that takes a compiler's time is left for the end"
