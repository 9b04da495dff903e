"""Runs an artifact and nothing in turns under the energy counter; run as a script by `energy`."""

import collections
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from lilliput.errors import MissingDependency
from lilliput.measure.latency_process import opened
from lilliput.measure.rapl import UPDATES_PER_WINDOW, Counter, open_counter, update_interval_s, watch

BURST_S = 2e-4
"""Decisions between two looks at the counter: a small part of its usual update interval of 1 ms."""

REST_S = 5e-3
"""Sleep between two looks at it: looking more often would not be idle."""

WARM_UP_S = 0.5


def main(request: dict[str, Any]) -> dict[str, Any]:
    """The energies of each window, or why there are none."""
    (act,), rows = opened(request)
    try:
        counter = open_counter(Path(request["root"]))
        interval_s = update_interval_s(counter)
    except MissingDependency as error:
        return {"absent": str(error)}
    window_s = max(request["window_s"], UPDATES_PER_WINDOW * interval_s)
    return {"window_s": window_s, **measure(act, rows, counter, window_s, request["windows"])}


def measure(act: Any, rows: list[Any], counter: Counter, window_s: float, windows: int) -> dict[str, Any]:
    """Joules a decision: gross, and net of the idle windows before and after."""
    source = itertools.cycle(rows)
    n_calls = burst_calls(act, source)

    def decide() -> int:
        collections.deque(map(act, itertools.islice(source, n_calls)), 0)
        return n_calls

    def rest() -> int:
        time.sleep(REST_S)
        return 0

    idle, busy = [watch(counter, rest, window_s)], []
    for _ in range(windows):
        busy.append(watch(counter, decide, window_s))
        idle.append(watch(counter, rest, window_s))
    idle_watts = [window.joules / window.seconds for window in idle]
    gross = [window.joules / window.count for window in busy]
    net = [
        (window.joules - (before + after) / 2 * window.seconds) / window.count
        for window, before, after in zip(busy, idle_watts, idle_watts[1:], strict=False)
    ]
    return {"gross": gross, "net": net, "decisions": round(statistics.median(window.count for window in busy))}


def burst_calls(act: Any, source: Any) -> int:
    """How many decisions fill a burst, once warm."""
    end, times = time.perf_counter() + WARM_UP_S, []
    while (start := time.perf_counter()) < end or len(times) < 3:
        act(next(source))
        times.append(time.perf_counter() - start)
    return max(1, round(BURST_S / statistics.median(times)))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Path(asked["answer"]).write_text(json.dumps(main(asked)))
