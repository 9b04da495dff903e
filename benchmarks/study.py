"""What a study costs beside its cells: `python benchmarks/study.py`, on a machine that does nothing else.

What scheduling adds to cells of about a second, how much faster two workers are than one, how long a report over
10,000 records takes and how much memory its larger process, and how long it takes to plan and to begin a study of
100,000 cells, with its runner's memory. Seconds of the processor, those of all processes, stand beside the clock's.
"""

import argparse
import contextlib
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lilliput import record as record_file
from lilliput.study import local
from lilliput.study.conduct import Tally, conduct, records
from lilliput.study.document import read_study
from lilliput.study.plan import plan
from lilliput.study.workspace import Workspace

POLICY = Path(__file__).parent.parent / "examples" / "policies" / "sac-Pendulum-v1"

STUDY = """
policies = ["{policy}"]
environments = "Pendulum-v1"
recipes = ["prune_units(ratio=0.05..0.95 step 0.05)"]
formats = ["onnx"]
episodes = {episodes}
cell_timeout = {timeout}
"""


def ran(folder: Path, episodes: int, workers: int, timeout: int = 600) -> tuple[float, float, int]:
    """Wall seconds of a study, the sum of its cells', and how many there were."""
    folder.mkdir(parents=True)
    path = folder / "study.toml"
    path.write_text(STUDY.format(policy=POLICY.resolve(), episodes=episodes, timeout=timeout))
    asked = read_study(path)
    planned = plan(asked)
    elapsed: list[float] = []

    def follow(_: Tally, record: record_file.Record | None) -> None:
        if record is not None:
            elapsed.append(record.elapsed_s)

    start = time.perf_counter()
    conduct(asked, planned, folder / "out", local.Local(workers, asked.cell_timeout), follow)
    return time.perf_counter() - start, sum(elapsed), len(elapsed)


def copied(folder: Path, n: int) -> None:
    """Fill the study's folder up to about n records: its own under other seeds, with returns drawn again."""
    rng = np.random.default_rng(0)
    own = [r for r in records(folder) if r.cell.recipe and not r.cell.is_floor]
    path = folder / "plan.json"
    plan_ = json.loads(path.read_text())
    for number in range(n - len(plan_["cells"])):
        one = own[number % len(own)]
        returns = tuple(rng.choice(one.values("episode_return"), len(one.values("episode_return"))).tolist())
        found = tuple(
            dataclasses.replace(m, values=returns) if m.quantity == "episode_return" else m for m in one.measurements
        )
        cell = dataclasses.replace(one.cell, compression_seed=1 + number // len(own))
        record_file.write(dataclasses.replace(one, cell=cell, measurements=found), Workspace(folder).records)
        plan_["cells"].append(cell.digest)
    path.write_text(json.dumps(plan_))


def begin(path: Path) -> None:
    """Print what it takes to plan and to begin a large study: it ends after its third cell.

    What its folder holds of records when it is called counts as finished.
    """
    start, used = time.perf_counter(), time.process_time()
    asked = read_study(path)
    planned = plan(asked)
    print(f"{len(planned.cells):,} cells planned: {_since(start, used)}", end="", flush=True)
    seen = 0

    def follow(tally: Tally, record: record_file.Record | None) -> None:
        nonlocal seen
        seen += record is not None
        if record is None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"; begun, {tally.done:,} of them done: {_since(start, used)}, {peak:.0f} MB", end="", flush=True)
        if seen == 3:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"; running: {peak:.0f} MB", flush=True)
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        conduct(asked, planned, path.parent / "out", local.Local(1, asked.cell_timeout), follow)


def _since(start: float, used: float) -> str:
    return f"{time.perf_counter() - start:.1f} s, {time.process_time() - used:.1f} s of the processor"


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200, help="Of a cell: as many as make it take about a second.")
    parser.add_argument("--only", choices=["overhead", "workers", "report", "plan"], help="One of them.")
    parser.add_argument("--begin", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.begin is not None:
        begin(asked.begin)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.only in (None, "overhead"):
            wall, cells, n = ran(folder / "overhead", asked.episodes, 1)
            print(f"overhead: {n} cells of {cells / n:.2f} s, one worker: {wall:.2f} s, {wall / cells - 1:.1%} more")
        if asked.only in (None, "workers"):
            turns = [(n, ran(folder / f"workers-{turn}", asked.episodes, n)[0]) for turn, n in enumerate((1, 2, 2, 1))]
            one, two = (min(wall for n, wall in turns if n == workers) for workers in (1, 2))
            print(f"workers: one {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast")
        if asked.only in (None, "report"):
            ran(folder / "report", 50, 2)
            copied(folder / "report" / "out", 10_000)
            command = [sys.executable, "-m", "lilliput", "study", "report", str(folder / "report" / "out")]
            for what in ("first", "again"):
                start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(command, check=True, capture_output=True)
                now = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
                print(
                    f"report over 10,000 records, {what}: {time.perf_counter() - start:.1f} s, {used:.1f} s of the "
                    f"processor, {now.ru_maxrss / 1024:.0f} MB",
                    flush=True,
                )
        if asked.only in (None, "plan"):
            path = folder / "plan" / "study.toml"
            path.parent.mkdir()
            seeds = f"compression_seeds = {list(range(100_000 // 19))}\n"
            path.write_text(seeds + STUDY.format(policy=POLICY.resolve(), episodes=50, timeout=600))
            for _ in range(2):
                subprocess.run([sys.executable, __file__, "--begin", str(path)], check=True)


if __name__ == "__main__":
    main()
