"""Sums of products of codes, which no processor's kernel may get wrong by one: numpy's int64 judges them."""

import functools
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import WARNINGS

from lilliput.policies.export import c_kernels

PROGRAM = """\
#include <stdio.h>
static int32_t n[9];
static int8_t weight[1 << 18];
static uint8_t codes[1 << 15];
static float y[1 << 16];
#if defined(WIDE_PIXELS)
static int16_t room[1 << 16];
#else
static int16_t *const room = NULL;
#endif
int main(void)
{
    while (fread(n, 4, 9, stdin) == 9) {
        const size_t rows = (size_t)n[0], channels = (size_t)n[1], side = (size_t)n[2], kernel = (size_t)n[3];
        const size_t stride = (size_t)n[4], pad = (size_t)n[5], width = (size_t)n[6];
        const size_t out = (side + 2 * pad - kernel) / stride + 1;
        const conv2d_shape s = {rows, channels, side, side, kernel, kernel, stride, stride, pad, pad, out, out, rows};
        const int is_image = side != 0;
        const size_t inputs = is_image ? channels * side * side : width, given = is_image ? rows * out * out : rows;
        if (fread(weight, 1, rows * width, stdin) != rows * width || fread(codes, 1, inputs, stdin) != inputs) {
            return 1;
        }
        if (is_image) {
            conv2d_i8(&s, weight, codes, n[7], n[8], &one, 0, 1.0f, NULL, y, room);
        } else {
            dense_i8(weight, rows, width, codes, n[7], &one, 0, 1.0f, NULL, y);
        }
        if (fwrite(y, 4, given, stdout) != given) {
            return 1;
        }
    }
    return 0;
}
"""

DOTS = """\
#include <immintrin.h>
#include <string.h>
#undef _mm256_dpwssd_avx_epi32
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpwssd_avx_epi32(sum, a, b) dots(sum, a, b, 2)
#define _mm256_dpbusd_avx_epi32(sum, a, b) dots(sum, a, b, 4)
static inline __m256i dots(__m256i sum, __m256i a, __m256i b, int each)
{
    signed short x16[16], y16[16];
    unsigned char x8[32];
    signed char y8[32];
    int s[8], i, k;
    memcpy(s, &sum, 32), memcpy(x16, &a, 32), memcpy(y16, &b, 32), memcpy(x8, &a, 32), memcpy(y8, &b, 32);
    for (i = 0; i < 8; i++) {
        for (k = 0; k < each; k++) {
            s[i] += each == 2 ? x16[2 * i + k] * y16[2 * i + k] : x8[4 * i + k] * y8[4 * i + k];
        }
    }
    memcpy(&sum, s, 32);
    return sum;
}
"""
"""What AVX-VNNI adds, in plain C: few processors have it, and the kernels' use of it is to be run on all."""

_AVX512 = [f"-m{name}" for name in ("avx2", "fma", "bmi2", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")]
_SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
PROCESSORS = {
    "portable": ["-O2"],
    "sse4.1": ["-O2", "-msse4.1"],
    "avx2": ["-O3", "-mavx2", "-mfma"],
    "avx-vnni": ["-O0", "-mavx2", "-mfma", "-D__AVXVNNI__=1", "-include", "dots.h"],
    "avx-vnni itself": ["-O3", "-mavx2", "-mfma", "-mavxvnni"],
    "avx512": ["-O3", *_AVX512],
    "avx512-vnni": ["-O3", *_AVX512, "-mavx512vnni"],
    "native": ["-O3", "-march=native"],
    "sanitizers": ["-O0", "-mavx2", "-mfma", *_SANITIZERS],
    "avx512 sanitizers": ["-O0", *_AVX512, *_SANITIZERS],
    "avx512-vnni sanitizers": ["-O0", *_AVX512, "-mavx512vnni", *_SANITIZERS],
}
"""Flags of the compiler; avx512-vnni without what came after it is Cascade Lake."""
NAMES = {"-mavxvnni": "avx_vnni", "-mavx512vnni": "avx512_vnni", "-mavx512vpopcntdq": "avx512_vpopcntdq"}
"""What the kernel calls an instruction set, where that is not the flag's own name."""


def lacking(flags: list[str]) -> list[str]:
    """The instructions of these flags that this processor does not have."""
    here = set(Path("/proc/cpuinfo").read_text().split())
    named = [NAMES.get(flag, flag[2:].replace(".", "_")) for flag in flags if flag.startswith("-m") and "=" not in flag]
    return [name for name in named if name not in here]


def built(folder: Path, flags: list[str], compiler: str = "gcc") -> Path:
    """The program: it reads what `asked_and_wanted` asks and writes sums."""
    (folder / "dots.h").write_text(DOTS)
    kernels = c_kernels.bundle(["conv2d_i8", "dense_i8"])
    (folder / "sums.c").write_text(f"{kernels}static const float one = 1.0f;\n{PROGRAM}")
    command = [compiler, "-std=c99", *WARNINGS, *flags, "sums.c", "-lm", "-o", "sums"]
    done = compiled(command, folder)
    assert done.returncode == 0, done.stderr[:3000]
    return folder / "sums"


def in_blocks(weight: np.ndarray) -> bytes:
    """(rows, width) as kernels read it: 16 rows after 16 rows, of four columns after four columns."""
    parts = []
    for row in range(0, len(weight), 16):
        block = weight[row : row + 16]
        parts += [block[:, column : column + 4].tobytes() for column in range(0, weight.shape[1], 4)]
    return b"".join(parts)


def drawn(rng: np.random.Generator, *, ends: bool, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights and codes: of all sizes, or of the largest alone, which saturate what can saturate."""
    if ends:
        return rng.choice([-128, 127], shape).astype(np.int8), np.full(1 << 15, 255, np.uint8)
    return rng.integers(-128, 128, shape).astype(np.int8), rng.integers(0, 256, 1 << 15).astype(np.uint8)


def convolved(weight: np.ndarray, image: np.ndarray, stride: int, pad: int, around: int) -> np.ndarray:
    """(out, out, rows) of weights (rows, kernel, kernel, channels) and codes (side, side, channels) less their zero."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=around)
    kernel = weight.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(0, 1))[::stride, ::stride]
    return np.einsum("yxcij,rijc->yxr", windows, weight.astype(np.int64))


@functools.cache
def asked_and_wanted() -> tuple[bytes, np.ndarray]:
    """What the program reads, and the sums that it has to write."""
    rng = np.random.default_rng(0)
    asked: list[bytes] = []
    wanted: list[np.ndarray] = []
    for rows, width, zero, ends in itertools.product(
        [1, 3, 5, 6, 8, 12, 13, 16, 21, 37], [1, 2, 3, 4, 7, 33, 64, 4097, 5003], [0, 130], [False, True]
    ):
        weight, codes = drawn(rng, ends=ends, shape=(rows, width))
        shape = np.array([rows, 0, 0, 0, 1, 0, width, zero, zero], np.int32)
        asked += [shape.tobytes(), in_blocks(weight), codes[:width].tobytes()]
        wanted.append(weight.astype(np.int64) @ (codes[:width].astype(np.int64) - zero))
    for rows, channels, side, (kernel, stride, pad), (zero, padding), ends in itertools.product(
        [3, 16, 21, 32, 48],
        [1, 3, 4],
        [5, 9],
        [(1, 1, 0), (3, 1, 0), (3, 2, 1), (4, 2, 0), (2, 1, 1)],
        [(0, 0), (0, 17), (130, 130), (0, 40_000)],
        [False, True],
    ):
        weight, codes = drawn(rng, ends=ends, shape=(rows, kernel, kernel, channels))
        image, width = codes[: side * side * channels].reshape(side, side, channels), kernel * kernel * channels
        shape = np.array([rows, channels, side, kernel, stride, pad, width, zero, padding], np.int32)
        asked += [shape.tobytes(), in_blocks(weight.reshape(rows, width)), image.tobytes()]
        wanted.append(convolved(weight, image.astype(np.int64) - zero, stride, pad, padding - zero).ravel())
    return b"".join(asked), np.concatenate(wanted)


@pytest.mark.parametrize("flags", PROCESSORS.values(), ids=list(PROCESSORS))
def test_sums_of_codes_are_exact_to_the_bit(flags: list[str], tmp_path: Path) -> None:
    asked, wanted = asked_and_wanted()
    program = built(tmp_path, flags)
    if missing := lacking(flags):
        pytest.skip(f"this processor has no {', '.join(missing)}")
    found = np.frombuffer(subprocess.run([program], input=asked, check=True, capture_output=True).stdout, np.float32)
    assert np.array_equal(found, wanted.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [["-O2"], ["-O2", "-march=armv8.2-a+dotprod"], ["-O3", "-march=armv8.2-a+dotprod+i8mm"]],
    ids=["aarch64", "dotprod", "i8mm"],
)
def test_sums_of_codes_are_exact_on_arm(flags: list[str], tmp_path: Path) -> None:
    if not shutil.which("qemu-aarch64") or not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("qemu-aarch64 or aarch64-linux-gnu-gcc is not installed")
    asked, wanted = asked_and_wanted()
    program = built(tmp_path, [*flags, "-static"], "aarch64-linux-gnu-gcc")
    done = subprocess.run(["qemu-aarch64", program], input=asked, check=True, capture_output=True)
    assert np.array_equal(np.frombuffer(done.stdout, np.float32), wanted.astype(np.float32))
