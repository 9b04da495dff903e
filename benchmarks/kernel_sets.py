"""What each set of kernels of `--dispatch` takes on this processor: a decision in a C loop, in turns.

python benchmarks/kernel_sets.py [mlp17 mlp376 cnn pruned pruned376 go1 g1 heights] [--rounds N]
A processor that has newer instructions runs the older sets too, but it is not the older processor: compare the sets.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from latency import LOOPS, c_loop, instruction_set, observations_of, policy_of, quantized, random_weights

from lilliput.policies.export import export
from lilliput.policies.export.c_dispatch import ARM, X86, KernelSet

SETS = ARM if os.uname().machine == "aarch64" else X86


def main() -> int:
    """0 once every table was printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["mlp17", "mlp376", "cnn", "go1", "g1", "heights"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"this processor has {instruction_set()}")
    for name in arguments.networks:
        run(name, arguments.rounds)
    return 0


def run(name: str, rounds: int) -> None:
    """Print the table of one network: the fastest of its rounds, and how many times the fastest set's."""
    rng = np.random.default_rng(0)
    policy = policy_of(name, random_weights(name, rng))
    observations = observations_of(policy, 32, rng)
    with tempfile.TemporaryDirectory() as scratch:
        times: dict[tuple[str, str], float] = {}
        for at in LOOPS.values():
            small = quantized(policy, observations, static=True) if at == "static" else policy
            export(small, "c", Path(scratch) / at, observations=observations, name="policy")
        for _ in range(rounds):
            for kernels in SETS:
                for kind, at in LOOPS.items():
                    here = time_of(kernels, Path(scratch) / at, codes=at == "static")
                    if here is not None:
                        times[kernels.name, kind] = min(here, times.get((kernels.name, kind), here))
    print(f"\n{name}\n{'':12s} " + " ".join(f"{kind:>22s}" for kind in LOOPS))
    for kernels in SETS:
        cells = []
        for kind in LOOPS:
            best = min(us for (_, of), us in times.items() if of == kind)
            here = times.get((kernels.name, kind))
            cells.append("not on this processor" if here is None else f"{here:.3f} us {here / best:6.2f}x")
        print(f"{kernels.name:12s} " + " ".join(f"{cell:>22s}" for cell in cells), flush=True)


def time_of(kernels: KernelSet, artifact: Path, *, codes: bool) -> float | None:
    """Microseconds of a decision; None where the compiler or the processor does not know the instructions."""
    try:
        return c_loop(artifact, codes=codes, flags=("-O3", *kernels.flags.split()))[0]
    except subprocess.CalledProcessError as error:
        print(f"{kernels.name}: {error}")
        return None


if __name__ == "__main__":
    raise SystemExit(main())
