"""How long one decision takes: batch 1, one thread, no environment, all artifacts interleaved in one fresh process."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measure.process import run_script
from lilliput.measurement import Absent, Measurement

ROUNDS = 40
SAMPLES = 50
"""Timed samples of each artifact in a round."""

SAMPLE_S = 10e-6
"""A shorter decision is timed together with the next ones until a sample is this long: the clock costs 0.05 us."""


def latency(
    folders: Sequence[Path],
    observations: np.ndarray,
    *,
    rounds: int = ROUNDS,
    samples: int = SAMPLES,
    sample_s: float = SAMPLE_S,
    quantity: str = "latency_s",
) -> tuple[Measurement, ...]:
    """Seconds a decision of each artifact, `rounds` x `samples` values, in the order in which they were taken.

    Every round gives every artifact one turn, in an order drawn anew: warm-up calls, then samples on real observations
    one after the other. Ratios between artifacts hold within a round.

    Raises:
        LilliputError: an artifact cannot be opened or fails.
    """
    here = conditions()
    settings = {"rounds": rounds, "samples": samples, "sample_s": sample_s}
    answers = run_script("latency_process.py", folders, observations, settings)
    return tuple(
        Measurement(
            quantity,
            tuple(answer["values"]),
            f"measured: batch 1, one thread on one core, {rounds} rounds of {samples}, {len(folders)} artifacts "
            f"in turns, {_sample(answer['calls'])}, clock {answer['clock_s'] * 1e9:.0f} ns included",
            here,
        )
        for answer in answers
    )


def _sample(calls: int) -> str:
    if calls == 1:
        return "a sample is one call"
    return f"a sample is the mean of {calls} calls in a row (percentiles are of such means)"


@final
@dataclass(frozen=True)
class Latency(Meter):
    """The time of one decision, all artifacts in turns with their baseline."""

    NAME: ClassVar[str] = "latency"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("latency_s", "baseline_latency_s")
    IN_TURNS: ClassVar[bool] = True
    SECONDS: ClassVar[float] = 2.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """Each artifact's own values, and the baseline's."""
        folders = [bench.folder for bench in room.benches]
        if room.baseline is None:
            reason = Absent("baseline_latency_s", "there is no baseline to take turns with")
            return [(own, reason) for own in latency(folders, room.observations())]
        first, *rest = latency([room.baseline, *folders], room.observations())
        return [(own, dataclasses.replace(first, quantity="baseline_latency_s")) for own in rest]
