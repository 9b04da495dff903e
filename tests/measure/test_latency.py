"""Inference time. Oracle: functions that take a known time, and a clock outside."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.measure import latency
from lilliput.measure.latency_process import calls_per_sample, clock_cost, sampler, warm_up
from lilliput.policies.artifact import Artifact
from lilliput.policies.runtime import open_artifact

ROWS = list(np.arange(7.0)[:, None])


def busy(seconds: float) -> Any:
    def act(_: Any) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return act


def test_a_long_decision_is_timed_alone_and_a_short_one_with_others() -> None:
    assert calls_per_sample(busy(50e-6), ROWS, 10e-6) == 1
    assert calls_per_sample(len, ROWS, 10e-6) > 20


@pytest.mark.parametrize("seconds", [50e-6, 2e-3])
def test_samples_are_as_long_as_the_call(seconds: float) -> None:
    found = sampler(busy(seconds), ROWS, 1)(200)
    assert len(found) == 200
    # The shortest of many: a busy machine only ever adds.
    assert seconds <= min(found) / 1e9 < seconds * 1.2


@pytest.mark.parametrize("calls", [1, 3])
def test_a_sample_makes_its_calls_on_the_next_observations(calls: int) -> None:
    seen: list[float] = []
    take = sampler(lambda row: seen.append(float(row[0])), ROWS, calls)
    assert len(take(4) + take(2)) == 6
    assert seen == [float(i % 7) for i in range(6 * calls)]


def test_the_loop_costs_less_than_the_fastest_policies() -> None:
    """A call of nothing takes some 30 ns, most of it the call itself."""
    assert min(sampler(lambda _: None, ROWS, 1000)(100)) / 1000 < 200


def test_warm_up_makes_a_few_calls_even_of_a_slow_policy() -> None:
    assert len(warm_up(busy(5e-3), ROWS, 0.0)) == 3
    assert 0 <= clock_cost() < 5e-6


def test_interleaved_artifacts(small: Artifact, large: Artifact, observations: np.ndarray) -> None:
    folders = [large.folder, small.folder, large.folder]
    found = latency(folders, observations, rounds=5, samples=20)
    assert [m.quantity for m in found] == ["latency_s"] * 3
    assert all(len(m.values) == 100 and min(m.values) > 0 for m in found)
    one, fast, other = (float(np.median(m.values)) for m in found)
    assert fast < one / 3
    assert 0.5 < one / other < 2
    assert found[0].method.startswith("measured: batch 1, one thread on one core, 5 rounds of 20, 3 artifacts in turns")
    assert found[0].conditions.n_threads == 1
    actor = open_artifact(large.folder)
    outside = []
    for observation in observations:
        start = time.perf_counter()
        actor(observation)
        outside.append(time.perf_counter() - start)
    assert 0.3 < one / float(np.median(outside)) < 3


def test_what_cannot_be_measured_is_refused(tmp_path: Path, small: Artifact, observations: np.ndarray) -> None:
    with pytest.raises(LilliputError, match="is not an artifact"):
        latency([tmp_path], observations)
    with pytest.raises(LilliputError, match="there are no observations"):
        latency([small.folder], observations[:0])
