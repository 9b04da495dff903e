"""Lesser processors than this one, as far as numpy, OpenBLAS and the C library let themselves be told.

python tests/processors.py Haswell|Nehalem PYTEST-ARGUMENTS runs the tests as if this were one.
"""

import os
import sys
from pathlib import Path

_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
_AVX2 = f"X86_V3 AVX2 FMA3 FMA4 F16C AVX {_AVX512}"

LESSER: dict[str, dict[str, str]] = {
    "Haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": _AVX512,
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",
    },
    "Nehalem": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": _AVX2,
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-FMA,-FMA4,-F16C",
    },
}
"""Their environment variables."""

_CPUINFO = Path("/proc/cpuinfo")
if _CPUINFO.exists() and "avx512vl" in _CPUINFO.read_text():
    LESSER["SkylakeX"] = {"OPENBLAS_CORETYPE": "SkylakeX"}


if __name__ == "__main__":
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[2:]], os.environ | LESSER[sys.argv[1]])
