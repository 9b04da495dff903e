"""What a change does to times: this tree's build and another's, row by row in turn, in one run.

python benchmarks/against.py OTHER [--rounds N], with OTHER a checkout: git worktree add --detach ../before main
Both builds run in the Python that runs this, each in a process of its own; a row's two times are taken one after the
other, and which comes first alternates, so that what else the machine does falls on both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

HERE = Path(__file__).resolve().parents[1]
POLICY = HERE / "examples" / "policies" / "ppo-LunarLander-v3"
RECIPE = 'quantize(weight_bits=8, scheme="static")'
BURST_S = 0.05
_NOISE = 0.03
"""What is no further from 1 than that is called neither slower nor faster."""


def main() -> int:
    """0 once the table was printed; 1 where both builds do not decide alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout of Lilliput")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if not (arguments.other / "src" / "lilliput").is_dir():
        parser.error(f"{arguments.other} is no checkout: it has no src/lilliput")
    builds = [_Build(HERE), _Build(arguments.other.resolve())]
    try:
        digests = [build.ask("digests") for build in builds]
        print(
            f"{'':34s} {'this':>10s} {'other':>10s}   this / other, median and quartiles of {arguments.rounds} rounds"
        )
        for name in builds[0].ask("rows"):
            _print(name, _times(name, builds, arguments.rounds))
    finally:
        for build in builds:
            build.close()
    same = digests[0] == digests[1]
    print("both builds make the same policies" if same else f"the builds make other policies: {digests}")
    return 0 if same else 1


def _times(name: str, builds: "list[_Build]", rounds: int) -> list[tuple[float, float]]:
    """Seconds of a call, of each build, a pair a round."""
    found: list[tuple[float, float]] = []
    for at in range(rounds):
        order = (0, 1) if at % 2 else (1, 0)
        seconds = {index: builds[index].ask(name) for index in order}
        found.append((seconds[0], seconds[1]))
    return found


def _print(name: str, times: list[tuple[float, float]]) -> None:
    this, other = (statistics.median(part) for part in zip(*times, strict=True))
    ratios = [one / two for one, two in times]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    said = " slower" if low > 1 + _NOISE else " faster" if high < 1 - _NOISE else ""
    print(f"{name:34s} {_written(this):>10s} {_written(other):>10s}   {middle:.3f} [{low:.3f}, {high:.3f}]{said}")


def _written(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


class _Build:
    """A process that runs one tree's package, asked one line at a time."""

    def __init__(self, tree: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--answer"],
            env=os.environ | {"PYTHONPATH": str(tree / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        file = Path(self.ask("file"))
        if tree / "src" not in file.parents:
            raise SystemExit(f"asked for the package of {tree}, and got {file}")

    def ask(self, what: str) -> Any:
        """What it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process that was asked for {what!r} ended")
        return json.loads(answer)

    def close(self) -> None:
        """Lets it end."""
        self._process.communicate()


def answer() -> int:
    """0 once nothing more is asked: the other side of a `_Build`."""
    import lilliput

    with tempfile.TemporaryDirectory() as folder:
        calls, digests = _calls(Path(folder))
        told = {"file": lilliput.__file__, "rows": list(calls), "digests": digests}
        for line in sys.stdin:
            what = line.strip()
            print(json.dumps(told[what] if what in told else _seconds(calls[what])), flush=True)
    return 0


def _calls(folder: Path) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """Each row's call, made of the public names alone, which both builds have; and digests of what was made."""
    import numpy as np

    import lilliput

    policy = lilliput.load_policy(POLICY)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(1000, policy.observation_space.size)).astype(np.float32)
    context = lilliput.Context.from_environment(policy, "LunarLander-v3", seed=0, observations=batch)
    small = lilliput.compress(policy, RECIPE, context)
    acts = {}
    for kind in ("c", "onnx"):
        lilliput.export(small, kind, folder / kind)
        acts[kind] = lilliput.open_artifact(folder / kind)
    count = iter(range(1_000_000_000))
    calls = {
        "a policy loaded": lambda: lilliput.load_policy(POLICY),
        "quantized to 8 bits": lambda: lilliput.compress(policy, RECIPE, context),
        "exported to ONNX": lambda: lilliput.export(small, "onnx", folder / f"onnx-{next(count)}"),
        "a decision of its C": lambda: acts["c"](batch[0]),
        "a decision of its ONNX": lambda: acts["onnx"](batch[0]),
        "1,000 decisions of its ONNX": lambda: acts["onnx"].batch(batch),
        "a decision of the reference": lambda: lilliput.act(small, batch[:1]),
        "1,000 decisions of the reference": lambda: lilliput.act(small, batch),
        "an episode of CartPole": lambda: lilliput.episode_returns(lambda _: 1, "CartPole-v1", [0]),
    }
    return calls, [policy.digest, small.digest]


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call, among as many as fill a burst."""
    call()
    n, start = 0, time.perf_counter()
    while True:
        call()
        n += 1
        taken = time.perf_counter() - start
        if taken >= BURST_S:
            return taken / n


if __name__ == "__main__":
    sys.exit(answer() if sys.argv[1:] == ["--answer"] else main())
