"""Kernels on constants that the compiler knows, as a policy's are: it may compute ahead, and must compute the same."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_sums_of_codes import lacking

from lilliput.policies.export import c_kernels

N = 64
"""Inputs: as many columns as are decoded at a time."""
BITS = 4
FLAGS = {
    "native": ["-O3", "-march=native"],
    "native for any": ["-O3", "-march=native", "-mtune=generic"],
    "counts in vectors": ["-O3", "-mpopcnt", "-mbmi2", "-mfma", "-mavx512vl", "-mavx512vpopcntdq"],
    "avx2": ["-O3", "-mpopcnt", "-mbmi2", "-mavx2", "-mfma"],
}


def listed(values: np.ndarray) -> str:
    return ", ".join(map(str, values.tolist()))


@pytest.mark.parametrize("flags", FLAGS.values(), ids=list(FLAGS))
@pytest.mark.parametrize("rows", [4, 16])
def test_constants_are_decoded_as_they_are_stored(rows: int, flags: list[str], tmp_path: Path) -> None:
    """Counted, expanded and multiplied, in floats whose sums are exact; numpy judges."""
    rng = np.random.default_rng(rows)
    codes = rng.integers(-8, 8, (rows, N)) * (rng.random((rows, N)) < 0.4)
    stored = codes.T.reshape(-1)
    mask, kept = np.packbits(stored != 0, bitorder="little"), stored[stored != 0]
    bits = (kept[:, None] >> np.arange(BITS) & 1).astype(np.uint8)
    packed, x = np.packbits(bits.reshape(-1), bitorder="little"), rng.integers(-9, 10, N)
    (tmp_path / "known.c").write_text(f"""\
{c_kernels.bundle(["bitmask_packed_f32", "bitmask_f32"])}
#include <stdio.h>
static const uint8_t mask[] = {{{listed(mask)}}};
static const uint8_t packed[] = {{{listed(packed)}}};
static const float plain[] = {{{listed(kept.astype(float))}}};
static const float x[] = {{{listed(x.astype(float))}}};
int main(void)
{{
    float y[2][{rows}];
    int i;
    bitmask_packed_f32(packed, {BITS}, mask, NULL, {rows}, {N}, x, y[0]);
    bitmask_f32(plain, mask, NULL, {rows}, {N}, x, y[1]);
    printf("%d\\n", (int)count_bits(mask, {rows * N}));
    for (i = 0; i < {rows}; i++) {{
        printf("%d %d\\n", (int)y[0][i], (int)y[1][i]);
    }}
    return 0;
}}
""")
    command = ["gcc", "-std=c99", "-ffp-contract=off", *flags, "known.c", "-lm", "-o", "known"]
    built = compiled(command, tmp_path)
    assert built.returncode == 0, built.stderr[:3000]
    if missing := lacking(flags):
        pytest.skip(f"this processor has no {', '.join(missing)}")
    done = subprocess.run([tmp_path / "known"], capture_output=True, text=True, check=True)
    count, *sums = done.stdout.split()
    assert int(count) == len(kept)
    assert np.array_equal(np.array(sums, int).reshape(rows, 2), np.stack([codes @ x] * 2, axis=1))
