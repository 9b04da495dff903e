"""What a study costs beside its cells: `python benchmarks/study.py`, on a machine that does nothing else.

Three numbers: what scheduling adds to cells of about a second, how much faster two workers are than one, and how long a
report over 10,000 records takes.
"""

import argparse
import dataclasses
import json
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


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200, help="Of a cell: as many as make it take about a second.")
    parser.add_argument("--only", choices=["overhead", "workers", "report"], help="One of the three.")
    asked = parser.parse_args()
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
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                print(f"report over 10,000 records, {what}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
