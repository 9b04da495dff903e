"""MuJoCo's own functions, beside those that its Python module has."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@functools.cache
def library() -> ctypes.CDLL:
    """The library that the module has loaded.

    Raises:
        ValueError: it is not where the module is.
    """
    import mujoco

    found = [path for path in Path(mujoco.__file__).parent.iterdir() if _is_library(path)]
    if len(found) != 1:
        raise ValueError("MuJoCo's library is not where its module is")
    return ctypes.CDLL(str(found[0]))


def _is_library(path: Path) -> bool:
    name = path.name
    return name.startswith("libmujoco.") and (".so" in name or name.endswith(".dylib"))


@contextlib.contextmanager
def clock_stopped() -> Iterator[None]:
    """While MuJoCo, where it is in use, does not time its own stages.

    Its Python module has it read the clock at every one, a fifth of the step of a small model; `mujoco.set_mjcb_time`
    does not stop it (4.0.0). No number of a simulation depends on it.
    """
    clock = _clock() if "mujoco" in sys.modules else None
    if clock is None:
        yield
        return
    before, clock.value = clock.value, None
    try:
        yield
    finally:
        clock.value = before


@functools.cache
def _clock() -> ctypes.c_void_p | None:
    import mujoco

    clock: Any = getattr(mujoco, "get_mjcb_time", None)
    if clock is None or clock() is not None:  # none is known, or somebody's own is set
        return None
    try:
        return ctypes.c_void_p.in_dll(library(), "mjcb_time")
    except ValueError:
        return None
