#!/usr/bin/env bash
# numpy squares a number another way than an array: `x**2` of a float64 scalar is the C library's pow, of an array x * x.
#
# Expected: an environment that computes `0.01 * x**2` of numbers is computed for many at once by the same expression on
# arrays. Seen (numpy 2.4.6, glibc, x86-64): about one in some thousand differs in the last bit. Fails if none does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np

x = np.random.default_rng(0).normal(size=1_000_000)
alone = np.array([number**2 for number in x])
different = np.count_nonzero(alone != x**2)
print(f"{different} of {len(x)} squares differ; by pow of Python's floats: {np.count_nonzero(alone != [v**2 for v in x.tolist()])}")
assert np.array_equal(x**2, x * x)
assert different > 0
PY
