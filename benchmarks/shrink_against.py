"""How soon `lilliput shrink` finds what another build of it confirms: this tree's and the other's, side by side.

LILLIPUT_POLICIES=... [LILLIPUT_GRID=...] python benchmarks/shrink_against.py OTHER [name ...] [--within 150]
with OTHER a checkout: git worktree add --detach ../before main. Both shrink the same policy at once, of the same seed,
one worker each and with compiled files of their own. `--within` counts the processor's seconds that a command and its
processes take, not those of the clock on the wall: what else the machine does makes neither build find less. With
`--students N` both end after so many students, and what was said is printed: that is what a busy machine allows. What
was finished stands in the folder and is not run again.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from shrink import POLICIES

HERE = Path(__file__).resolve().parents[1]
GRID = {
    "sac-HalfCheetah-12027": ("sac-halfcheetah", "HalfCheetah-v4"),
    "erlddpg-HalfCheetah-12202": ("erlddpg-halfcheetah", "HalfCheetah-v4"),
    "ddpg-HalfCheetah-11069": ("ddpg-halfcheetah", "HalfCheetah-v4"),
    "sac-Walker2d": ("sac-walker2d", "Walker2d-v4"),
}
"""Delicate policies in $LILLIPUT_GRID: a folder of which one file is read."""
_TRIAL = re.compile(r"\[(\d+) of \d+ s\] ([\d,]+) bytes keep (-?[\d.]+) % \(±([\d.]+)\) .* on (\d+) episodes.*?: (.*)")


def main() -> int:
    """0 once the table was printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("names", nargs="*", default=["ppo-HalfCheetah", "tqc-Walker2d", "trpo-Hopper", "sac-Swimmer"])
    parser.add_argument("--within", type=float, default=150.0)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--students", type=int, default=0, help="end after so many; 0: after the result")
    parser.add_argument("--before", nargs=2, default=["", ""], help="what each build's command begins with")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/shrink-against"))
    arguments = parser.parse_args()
    trees = {"this": HERE, "other": arguments.other.resolve()}
    if not arguments.students:
        print("| policy | other: bytes, kept, found after | this: bytes, kept, found after | as small after |")
        print("|---|---|---|--:|")
    for name in arguments.names:
        folder = arguments.output / f"{name}-{arguments.within:g}-{arguments.seed}"
        threads = [
            threading.Thread(target=_shrunk, args=(tree, name, folder / build, arguments, before.split()))
            for (build, tree), before in zip(trees.items(), arguments.before, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if arguments.students:
            for build in trees:
                print(f"{name}, {build}:\n{(folder / build / 'students.txt').read_text()}", flush=True)
            continue
        this, other = (_told(folder / build) for build in trees)
        print(f"| {name} | {_row(other)} | {_row(this)} | {_reached(this, other)} |", flush=True)
    return 0


def _shrunk(tree: Path, name: str, folder: Path, arguments: Any, before: list[str]) -> None:
    """Writes what was said, each sentence after the processor's seconds that were over."""
    wanted = arguments.students
    done = folder / ("students.txt" if wanted else "shrink/result.json")
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "clock").mkdir(parents=True)
    (folder / "clock" / "sitecustomize.py").write_text(_CLOCK)
    if name in POLICIES:
        file, environment, _ = POLICIES[name]
        source = Path(os.environ["LILLIPUT_POLICIES"], file)
    else:
        folder_name, environment = GRID[name]
        rule = json.loads(Path(os.environ["LILLIPUT_GRID"], folder_name, "rule.json").read_text())
        source = Path(os.environ["LILLIPUT_GRID"], folder_name, rule["file"])
    command = [
        *before, sys.executable, "-B", "-m", "lilliput", "shrink", str(source), "--env", environment,
        "--within", f"{arguments.within:g}s", "--workers", "1", "--seed", arguments.seed,
        "-o", str(folder / "shrink"),
    ]  # fmt: skip
    env = os.environ | {
        "PYTHONPATH": f"{folder / 'clock'}{os.pathsep}{tree / 'src'}",
        "CLOCK_FOLDER": str(folder / "clock"),
        "CLOCK_START": repr(time.time()),
        "LILLIPUT_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    students = 0
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            said.write(line)
            said.flush()
            found = _TRIAL.search(line)
            students += found is not None and found[6].startswith("distill(")
            if 0 < wanted <= students:
                process.terminate()
                break
        if process.wait() and not wanted:
            raise SystemExit(f"{name}: see {folder / 'said.txt'}")
    if wanted:
        (folder / "said.txt").rename(done)


def _told(folder: Path) -> dict[str, Any]:
    """The result, the seconds at which each trial was told, with its bytes and what it kept, less its error."""
    trials = []
    for line in (folder / "said.txt").read_text().splitlines():
        if found := _TRIAL.search(line):
            seconds, size, kept, twice = (float(part.replace(",", "")) for part in found.groups()[:4])
            trials.append((seconds, size, kept - twice / 2))
    return {"result": json.loads((folder / "shrink" / "result.json").read_text()), "trials": trials}


def _row(told: dict[str, Any]) -> str:
    found = told["result"]
    after = min((seconds for seconds, size, _ in told["trials"] if size == found["bytes"]), default=float("nan"))
    factor = found["baseline_bytes"] / found["bytes"]
    return f"{found['bytes']:,} ({factor:.0f}x), {100 * found['retention']:.1f} %, {after:.0f} s"


def _reached(this: dict[str, Any], other: dict[str, Any]) -> str:
    """The part of the other's time after which this had a trial no larger that kept 95 % and an error more."""
    size = other["result"]["bytes"]
    ours = min((at for at, bytes_, low in this["trials"] if bytes_ <= size and low >= 95), default=float("inf"))
    theirs = min((at for at, bytes_, _ in other["trials"] if bytes_ == size), default=float("nan"))
    return f"{ours:.0f} s of {theirs:.0f} s: {ours / theirs:.2f}"


_CLOCK = '''
"""The clocks of Python's time module that count the seconds of the processor in all processes that read this."""

import os
import time
from pathlib import Path

FOLDER, TICK = Path(os.environ["CLOCK_FOLDER"]), os.sysconf("SC_CLK_TCK")
(FOLDER / f"{os.getpid()}.pid").touch()
real, last, looked = time.monotonic, 0.0, -1.0


def cpu_seconds():
    ticks = 0
    for file in os.listdir(FOLDER):
        if file.endswith(".pid"):
            try:
                with open(f"/proc/{file[:-4]}/stat") as stat:
                    ticks += sum(map(int, stat.read().rpartition(")")[2].split()[11:15]))
            except OSError:  # it ended, and is counted where it was waited for
                pass
    return ticks / TICK


def elapsed():
    global last, looked
    if real() - looked > 0.02:
        last, looked = max(last, cpu_seconds()), real()
    return last


START = float(os.environ["CLOCK_START"])
def clock():
    return START + elapsed()


time.time = time.monotonic = time.perf_counter = clock
'''


if __name__ == "__main__":
    raise SystemExit(main())
