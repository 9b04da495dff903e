#!/usr/bin/env bash
# rliable 1.2.0: get_interval_estimates(..., random_state=...) "ensures reproducibility", say its docs, but the bootstrap draws
# from numpy's global generator: the same random_state gives other intervals, and another random_state gives the same interval
# after the same np.random.seed. Whoever gives a state publishes intervals that nobody can repeat.
# Expected before: the same scores and the same random_state give the same interval.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 arch==7.2.0 rliable==1.2.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from rliable import library, metrics

scores = np.random.default_rng(0).normal(1, 0.3, (5, 4))


def interval(state, seed=None):
    """The interval of the interquartile mean of five runs of four tasks."""
    if seed is not None:
        np.random.seed(seed)
    _, intervals = library.get_interval_estimates(
        {"ours": scores},
        lambda x: np.array([metrics.aggregate_iqm(x)]),
        reps=500,
        random_state=np.random.RandomState(state),
    )
    return intervals["ours"].ravel().tolist()


first, second = interval(1), interval(1)
print("random_state 1:", first, "and again:", second)
seeded, other = interval(1, seed=0), interval(2, seed=0)
print("after np.random.seed(0), random_state 1:", seeded, "random_state 2:", other)
assert first != second
assert seeded == other
PYTHON
