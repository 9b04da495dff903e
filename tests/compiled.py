"""Compiled once for all tests, workers and runs in which the same compiler is given the same.

What is compared is everything that a compiler reads but its own headers: of these, its version and what it predefines
for the flags, which names every instruction set that it may use. What did not compile is compiled again.
"""

import contextlib
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilliput.compiler import cache_folder, kept_vectors
from lilliput.policies.export import c_kernels

_KERNELS = Path(c_kernels.__file__).parent
_KEPT = cache_folder() / "tests"
_KEPT_S = 30 * 24 * 3600
_READ = {".c", ".h", ".S", ".s", ".ld"}


def compiled(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a compiler says that runs in the folder, as which the file after its -o is there; skips without it."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    output = folder / command[command.index("-o") + 1]
    kept = _kept_in() / _digest(tuple(command), folder)
    if kept.is_file():
        shutil.copyfile(kept, output)
        output.chmod(0o755)
        os.utime(kept)
        return subprocess.CompletedProcess(command, 0, "", "")
    done = subprocess.run([*command, *_vectors(command)], cwd=folder, capture_output=True, text=True)
    if not done.returncode:
        handle, temporary = tempfile.mkstemp(dir=kept.parent)
        os.close(handle)
        shutil.copyfile(output, temporary)
        Path(temporary).replace(kept)
    return done


def _vectors(command: Sequence[str]) -> tuple[str, ...]:
    """What spares gcc from reading all vector instructions for a program; see `kept_vectors`.

    Not where an object is all that is made: that each file includes what it needs is held there.
    """
    is_cxx = "c++" in command  # which has fewer macros where it is pedantic, and takes nothing that was kept with more
    told = ("-O", "-f", "-m", "-std=", *(("-pedantic",) if is_cxx else ()))
    flags = tuple(word for word in command if word.startswith(told))
    machine = tuple(word for word in flags if word.startswith("-m"))
    is_named = any(word.startswith("-march=") for word in machine)
    if "-c" in command or not is_named or "__AVX__" not in _identity(command[0], machine):
        return ()
    kept = kept_vectors(_kept_in(), (command[0],), flags, "c++-header" if is_cxx else "c-header")
    return (*kept, "-Winvalid-pch") if kept else ()


def commands(folder: Path, compiler: str) -> list[list[str]]:
    """What a folder's Makefile has done to make all anew; of a make that runs the tests it is told nothing."""
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    asked = ["make", "-nB", f"CC={compiler}"]
    said = subprocess.run(asked, cwd=folder, env=alone, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in said.stdout.splitlines()]


def vector_sets(compiler: str, *flags: str) -> set[str]:
    """What of all that kernels ask for, such as __AVX2__, the compiler says with these flags."""
    asked = {name for path in _KERNELS.rglob("*.h") for name in re.findall(r"\b__\w+\b", path.read_text())}
    return asked & set(_identity(compiler, flags).split())


def _digest(command: tuple[str, ...], folder: Path) -> str:
    digest = hashlib.sha256(_identity(command[0], tuple(flag for flag in command if flag.startswith("-m"))).encode())
    for word in command:
        path = Path(word)
        digest.update(b"\0" + (path.read_bytes() if path.is_absolute() and path.is_file() else word.encode()))
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _READ):
        digest.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _identity(compiler: str, flags: tuple[str, ...]) -> str:
    command = [compiler, *flags, "-dM", "-E", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@functools.cache
def _kept_in() -> Path:
    """The folder, without what no test has asked for in a month."""
    _KEPT.mkdir(exist_ok=True)
    for path in _KEPT.iterdir():
        with contextlib.suppress(OSError):  # another process does the same, or left a folder
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()
    return _KEPT
