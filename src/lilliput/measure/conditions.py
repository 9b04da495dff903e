"""Where a measurement is taken."""

import functools
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lilliput.measurement import Conditions

PACKAGES = ("lilliput", "numpy", "onnxruntime", "gymnasium", "mujoco", "box2d", "ale-py", "torch")
"""Whose versions can change a number."""

_EXTENSIONS = (
    "sse4_2",
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "amx_int8",
    "neon",
    "asimd",
    "asimddp",
    "i8mm",
)
"""Instruction sets that decide which kernels run."""


def conditions(n_threads: int = 1) -> Conditions:
    """What this machine and these programs are, now."""
    return Conditions(
        processor=_processor(),
        instruction_set=" ".join((platform.machine(), *_extensions(), *_governor())),
        n_cores=os.cpu_count() or 0,
        operating_system=platform.platform(terse=True),
        python=platform.python_version(),
        packages=_packages(),
        n_threads=n_threads,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _processor() -> str:
    info = _cpuinfo()
    return info.get("model name") or info.get("Model") or info.get("CPU part") or platform.processor() or "unknown"


def _extensions() -> list[str]:
    flags = set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())
    return [name for name in _EXTENSIONS if name in flags]


def _governor() -> list[str]:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return [f"governor={path.read_text().strip()}"] if path.exists() else []


@functools.cache
def _packages() -> tuple[tuple[str, str], ...]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
