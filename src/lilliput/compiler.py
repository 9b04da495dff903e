"""Shared objects compiled by the host's compiler, kept in a cache by what they are made of."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from lilliput.errors import LilliputError, MissingDependency

FOR_THIS_PROCESSOR = ("-O3", "-march=native")
"""Flags of everything that is compiled here to run here."""


def shared_object(sources: Sequence[Path], flags: Sequence[str], libraries: Sequence[str] = ()) -> Path:
    """The shared object made of C files, compiled unless it is in the cache.

    The first source is compiled; the others only count as its content. Processes that compile the same at once do not
    disturb each other: each writes a file of its own and renames it.

    Raises:
        MissingDependency: there is no C compiler.
        LilliputError: the compiler refuses the files.
    """
    compiler = find_compiler()
    key = hashlib.sha256(repr((_identity(compiler), tuple(flags), tuple(libraries))).encode())
    contents = [source.read_bytes() for source in sources]
    for content in contents:
        key.update(content)
    path = cache_folder() / f"{sources[0].stem}-{key.hexdigest()[:32]}.so"
    if path.is_file():
        return path
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".compiling-", suffix=".so")
    os.close(handle)
    try:
        flags = (*flags, "-fPIC")
        command = [*compiler, *flags, "-shared", str(sources[0]), "-o", temporary, *libraries]
        has_vectors = any(b"<immintrin.h>" in content for content in contents)
        kept = kept_vectors(cache_folder(), compiler, flags) if has_vectors else ()
        done = subprocess.run([*command, *kept], capture_output=True, text=True, check=False)
        if done.returncode and kept:  # gcc gives up where what was kept is damaged
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
            raise LilliputError(f"{compiler[0]} does not compile {sources[0]}: {reason.strip()}")
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


@lru_cache
def kept_vectors(
    folder: Path, compiler: tuple[str, ...], flags: tuple[str, ...], kind: str = "c-header"
) -> tuple[str, ...]:
    """Flags that have gcc on x86 begin with the vector instructions as it keeps them once it has read them, else none.

    To read immintrin.h takes gcc longer than to compile most policies. What is compiled is the same to the byte.
    """
    identity = _identity(compiler)
    if "__clang__" in identity or not all(name in identity for name in ("__GNUC__", "__x86_64__")):
        return ()
    name = f"vectors-{hashlib.sha256(repr((identity, flags, kind)).encode()).hexdigest()[:32]}.h"
    if not (folder / f"{name}.gch").is_file():
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".compiling-") as work:
                header, kept = Path(work) / name, Path(work) / f"{name}.gch"
                header.write_text("#include <immintrin.h>\n")
                command = [*compiler, *flags, "-x", kind, str(header), "-o", str(kept)]
                subprocess.run(command, capture_output=True, check=True)
                header.replace(folder / header.name)
                kept.replace(folder / kept.name)
        except (OSError, subprocess.CalledProcessError):  # a full disk, a compiler that keeps none
            return ()
    return ("-include", str(folder / name))


def find_compiler() -> tuple[str, ...]:
    """The command of the host's C compiler: $CC, else cc, gcc or clang.

    Raises:
        MissingDependency: there is none.
    """
    wanted = os.environ.get("CC", "").split()
    for command in [wanted] if wanted else [["cc"], ["gcc"], ["clang"]]:
        found = shutil.which(command[0])
        if found:
            return (found, *command[1:])
    missing = (
        f"$CC is {os.environ['CC']!r}, which is not there" if wanted else "there is no C compiler (cc, gcc, clang)"
    )
    raise MissingDependency(
        f"{missing}: install one (apt install gcc, or xcode-select --install), or export --format onnx"
    )


def has_compiler() -> bool:
    """Whether the host has a C compiler."""
    try:
        find_compiler()
    except MissingDependency:
        return False
    return True


@lru_cache
def _identity(compiler: tuple[str, ...]) -> str:
    # What the compiler predefines names its version and every instruction set that it will use here.
    command = [*compiler, *FOR_THIS_PROCESSOR, "-dM", "-E", "-x", "c", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout or repr(command)


@lru_cache
def cache_folder() -> Path:
    """Where compiled files are kept: $LILLIPUT_CACHE, else the user's cache folder, else a temporary one."""
    chosen = os.environ.get("LILLIPUT_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilliput"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="lilliput-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="lilliput-"))
