"""Lesser processors than this one, as far as numpy, OpenBLAS and the C library let themselves be told.

python tests/processors.py Haswell|Nehalem PYTEST-ARGUMENTS runs the tests as if this were one.
"""

import os
import sys
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # numpy tells it nowhere else

_BEFORE_AVX = {"X86_V2", "SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT"}
_BEFORE_AVX512 = _BEFORE_AVX | {"X86_V3", "AVX", "F16C", "FMA3", "AVX2"}


def _beyond(kept: set[str]) -> str:
    """What of numpy's kernels such a processor does not have; naming what this one lacks as well would be a warning."""
    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name] and name not in kept)


LESSER: dict[str, dict[str, str]] = {
    "Haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": _beyond(_BEFORE_AVX512),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",
    },
    "Nehalem": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": _beyond(_BEFORE_AVX),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-FMA,-FMA4,-F16C",
    },
}
"""Their environment variables."""

_CPUINFO = Path("/proc/cpuinfo")
if _CPUINFO.exists() and "avx512vl" in _CPUINFO.read_text():
    LESSER["SkylakeX"] = {"OPENBLAS_CORETYPE": "SkylakeX"}


if __name__ == "__main__":
    # What annotations say is the same on every processor, and checked on this one.
    command = [sys.executable, "-m", "pytest", "--jaxtyping-packages=", *sys.argv[2:]]
    os.execve(sys.executable, command, os.environ | LESSER[sys.argv[1]])
