"""Inference time. Oracle: a clock that is told how long each call takes, and one outside."""

import time
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.measure import latency, latency_process
from lilliput.measure.latency_process import calls_per_sample, clock_cost, sampler, warm_up
from lilliput.policies.artifact import Artifact

ROWS = list(np.arange(7.0)[:, None])


@final
class Clock:
    """A clock whose readings cost 30 ns; what is timed says itself how long it takes."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 30
        return self.now

    def busy(self, nanoseconds: int) -> Any:
        """A decision that takes so long."""

        def act(_: Any) -> None:
            self.now += nanoseconds

        return act


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    simulated = Clock()
    monkeypatch.setattr("time.perf_counter_ns", simulated)
    return simulated


def test_a_long_decision_is_timed_alone_and_a_short_one_with_others(clock: Clock) -> None:
    assert calls_per_sample(clock.busy(50_000), ROWS, 10e-6) == 1
    assert calls_per_sample(clock.busy(100), ROWS, 10e-6) == 100


@pytest.mark.parametrize("calls", [1, 5])
@pytest.mark.parametrize("nanoseconds", [100, 2_000_000])
def test_samples_are_as_long_as_their_calls(clock: Clock, nanoseconds: int, calls: int) -> None:
    assert sampler(clock.busy(nanoseconds), ROWS, calls)(200) == [calls * nanoseconds + 30] * 200


@pytest.mark.parametrize("calls", [1, 3])
def test_a_sample_makes_its_calls_on_the_next_observations(calls: int) -> None:
    seen: list[float] = []
    take = sampler(lambda row: seen.append(float(row[0])), ROWS, calls)
    assert len(take(4) + take(2)) == 6
    assert seen == [float(i % 7) for i in range(6 * calls)]


def test_warm_up_makes_a_few_calls_even_of_a_slow_policy(clock: Clock) -> None:
    assert warm_up(clock.busy(5_000_000), ROWS, 0.0) == [5_000_030] * 3
    assert len(warm_up(clock.busy(910), ROWS, 1e-3)) == 1000
    assert clock_cost() == pytest.approx(30e-9)


def test_each_of_several_in_turns_has_its_own_times(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = [clock.busy(50_000), clock.busy(1_000), clock.busy(50_000)]
    monkeypatch.setattr(latency_process, "opened", lambda _: (acts, ROWS))
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None, raising=False)
    found = latency_process.main({"rounds": 5, "samples": 20, "sample_s": 10e-6})
    assert [one["calls"] for one in found] == [1, 10, 1]
    assert [one["values"] for one in found] == [[50.03e-6] * 100, [1.003e-6] * 100, [50.03e-6] * 100]
    assert {one["clock_s"] for one in found} == {30e-9}


def test_interleaved_artifacts(small: Artifact, large: Artifact, observations: np.ndarray) -> None:
    folders = [large.folder, small.folder, large.folder]
    start = time.perf_counter()
    found = latency(folders, observations, rounds=5, samples=20)
    outside = time.perf_counter() - start
    assert [m.quantity for m in found] == ["latency_s"] * 3
    assert all(len(m.values) == 100 and min(m.values) > 0 for m in found)
    assert sum(sum(m.values) for m in found) < outside
    assert found[0].method.startswith("measured: batch 1, one thread on one core, 5 rounds of 20, 3 artifacts in turns")
    assert found[0].conditions.n_threads == 1


def test_what_cannot_be_measured_is_refused(tmp_path: Path, small: Artifact, observations: np.ndarray) -> None:
    with pytest.raises(LilliputError, match="is not an artifact"):
        latency([tmp_path], observations)
    with pytest.raises(LilliputError, match="there are no observations"):
        latency([small.folder], observations[:0])
