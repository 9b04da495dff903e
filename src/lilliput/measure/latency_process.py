"""Times artifacts in turns; run as a script by `latency`."""

import collections
import gc
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.policies.export import open_artifact

WARM_UP_S = 0.2
TURN_WARM_UP_S = 1e-3

Sampler = Callable[[int], list[int]]
"""So many samples, in nanoseconds each."""


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of each artifact."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    actors, rows = opened(request)
    calls = [calls_per_sample(actor, rows, request["sample_s"]) for actor in actors]
    samplers = [sampler(actor, rows, n) for actor, n in zip(actors, calls, strict=True)]
    taken: list[list[float]] = [[] for _ in actors]
    rng = np.random.default_rng(0)
    gc.collect()
    gc.disable()
    for _ in range(request["rounds"]):
        for index in rng.permutation(len(actors)):
            warm_up(actors[index], rows, TURN_WARM_UP_S)
            # Picoseconds are enough, and keep the record short.
            taken[index] += [round(ns / calls[index] / 1e9, 12) for ns in samplers[index](request["samples"])]
    clock_s = clock_cost()
    return [{"values": values, "calls": n, "clock_s": clock_s} for values, n in zip(taken, calls, strict=True)]


def opened(request: dict[str, Any]) -> tuple[list[Callable[[Any], Any]], list[Any]]:
    """What answers in each folder, and what it is asked in turns."""
    if request.get("models"):
        from lilliput.measure.model_process import one_answer

        return [one_answer(folder) for folder in request["folders"]], [None]
    return [open_artifact(folder).begin() for folder in request["folders"]], list(np.load(request["observations"]))


def warm_up(act: Callable[[Any], Any], rows: list[np.ndarray], seconds: float) -> list[int]:
    """Nanoseconds of each of the calls made, at least a few, for so long."""
    clock, found = time.perf_counter_ns, list[int]()
    end = clock() + int(seconds * 1e9)
    while clock() < end or len(found) < 3:
        before = clock()
        act(rows[len(found) % len(rows)])
        found.append(clock() - before)
    return found


def calls_per_sample(act: Callable[[Any], Any], rows: list[np.ndarray], sample_s: float) -> int:
    """How many calls in a row make a sample of that length; 1 for a policy that takes longer."""
    typical = statistics.median(warm_up(act, rows, WARM_UP_S)[-1000:]) - clock_cost() * 1e9
    return max(1, math.ceil(sample_s * 1e9 / max(typical, 1.0)))


def sampler(act: Callable[[Any], Any], rows: list[np.ndarray], calls: int) -> Sampler:
    """Takes samples, each on the next observations."""
    clock = time.perf_counter_ns
    position = 0

    def one_call(n: int) -> list[int]:
        nonlocal position
        found = []
        for _ in range(n):
            row = rows[position % len(rows)]
            position += 1
            before = clock()
            act(row)
            found.append(clock() - before)
        return found

    def several_calls(n: int) -> list[int]:
        nonlocal position
        found = []
        for _ in range(n):
            chunk = [rows[(position + i) % len(rows)] for i in range(calls)]
            position += calls
            before = clock()
            # Drains the map in C: a Python loop would cost as much as the fastest policies.
            collections.deque(map(act, chunk), 0)
            found.append(clock() - before)
        return found

    return one_call if calls == 1 else several_calls


def clock_cost() -> float:
    """Seconds between two readings of the clock, in the middle of many."""
    clock = time.perf_counter_ns
    return statistics.median(-(clock() - clock()) for _ in range(1000)) / 1e9


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Path(asked["answer"]).write_text(json.dumps(main(asked)))
