"""Records of a made-up study whose right answers are known: what each method keeps is fixed, the noise is seeded."""

import numpy as np

from lilliput.measurement import Absent, Conditions, Measurement
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.task import Task

SEEDS = tuple(range(80))
HERE = Conditions("A <processor> & more", "x86_64 avx2", 2, "Linux", "3.11", (("numpy", "2.0"),), 1, "2026-01-01")


def measured(quantity, *values):
    return Measurement(quantity, tuple(map(float, values)), "measured: in a test", HERE)


def record(policy, algorithm, recipe, returns, *, environment="Env-v0", n_bytes=1000, peak=None, seed=0):
    found = [
        measured("episode_return", *returns),
        measured("model_bytes", n_bytes),
        measured("file_bytes", n_bytes + 9),
    ]
    if peak is not None:
        found.append(measured("peak_memory_bytes", peak))
    cell = Cell(policy, recipe, Task(environment), SEEDS, format="c", compression_seed=seed)
    names = (("source", "x.zip"), ("algorithm", algorithm), ("trained_on", environment))
    return Record(cell, "done", "", tuple(found), (Absent("energy_j", "no <counter>"),), names, "artifacts/x")


def study(shares, *, policies=("SAC", "PPO", "TD3"), level=1000.0, environment="Env-v0"):
    """A random policy at 0, baselines at `level`, and each recipe at its share of the baseline, with its bytes."""
    rng = np.random.default_rng(0)
    zero = Cell(RANDOM_POLICY, "", Task(environment), SEEDS, format="none")
    found = [Record(zero, "done", "", (measured("episode_return", *np.zeros(len(SEEDS))),))]
    for number, algorithm in enumerate(policies):
        base = level + rng.normal(0, 5, len(SEEDS))
        digest = f"{number}" * 64
        found.append(record(digest, algorithm, "", base, n_bytes=4000, peak=50e6, environment=environment))
        for recipe, (share, n_bytes) in shares.items():
            kept = share + 0.01 * number
            found.append(
                record(digest, algorithm, recipe, base * kept, n_bytes=n_bytes, peak=50e6, environment=environment)
            )
    return found
