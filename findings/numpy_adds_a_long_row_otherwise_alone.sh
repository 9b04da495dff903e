#!/usr/bin/env bash
# numpy 2.4.6 (and 2.0.2): einsum adds one row of more than 8,192 numbers in another order when it is the only one than
# when it stands among others: the iterator's buffer cuts it. Up to 8,192 they are bitwise the same, and so is any row of
# a batch. Expected before: einsum without optimize, which calls no BLAS, does not depend on the batch.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np

rng = np.random.default_rng(0)
found = {}
for width in (1000, 8192, 9001, 30_000):
    rows, weight = rng.standard_normal((50, width)), rng.standard_normal((1, width))
    together = np.einsum("kn,mn->km", rows, weight)
    alone = np.concatenate([np.einsum("kn,mn->km", row[None], weight) for row in rows])
    found[width] = int((together != alone).sum())
    print(f"{width} numbers: {found[width]} of 50 rows differ alone from themselves among others")
assert found[1000] == found[8192] == 0
assert found[9001] > 0
assert found[30_000] > 0
PYTHON
