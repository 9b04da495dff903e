"""Files that are there whole or not at all, JSON files of a stated format, and folders for one run at a time."""

import contextlib
import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

from lilliput.errors import LilliputError

LOCK = ".lock"

_PROBE_BYTES = 1 << 20
"""What a compiler or a writer of artifacts may have wanted and left no trace of."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes its name, and the place of what had it, once all of it is on the disk.

    Raises:
        LilliputError: it cannot be written; what had its name is as it was.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise LilliputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> Path:
    """The path, whose file has this content; see `whole`."""
    with whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error, or what it came from, is a full disk or an exhausted quota."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def has_space(folder: Path) -> bool:
    """Whether a small file can be written there now: other programs say only in words why they could not."""
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        with probe.open("xb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for one run at a time; a killed run's lock is gone with it. Its file is `LOCK`.

    Raises:
        LilliputError: another run is at work in it.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LilliputError(f"another run is at work in {folder}; wait for it, or end it") from error
        yield


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""From the data of one version of a format to that of the next."""


@final
@dataclass(frozen=True)
class Format:
    """A kind of JSON file, whose version stands in it as `<name>_format`.

    Attributes:
        name: what such a file is.
        version: that is written.
        upgrades: of every older version that is read, how it becomes the next; 0: a file that names no version.
    """

    name: str
    version: int
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where the version stands."""
        return f"{self.name}_format"

    def stamped(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The data with its version before it."""
        return {self.key: self.version, **data}

    def write(self, path: Path, data: Mapping[str, Any]) -> Path:
        """The path, whose file has this data."""
        return write_whole(path, json.dumps(self.stamped(data), indent=1) + "\n")

    def read(self, path: Path) -> dict[str, Any]:
        """The data of a file in the present version, without it.

        Raises:
            LilliputError: there is no such file, it is cut or damaged, something else, or newer than this program.
        """
        try:
            found = json.loads(path.read_bytes())
        except OSError as error:
            raise LilliputError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:80]
            raise LilliputError(f"{path} is not a {self.name}, or it was cut or damaged: {reason}") from error
        try:
            return self.current(found)
        except LilliputError as error:
            raise LilliputError(f"{path}: {error}") from error

    def current(self, content: Any) -> dict[str, Any]:
        """The data of some JSON in the present version, without it.

        Raises:
            LilliputError: it is something else, of a version that is not read, or malformed.
        """
        if not isinstance(content, dict):
            raise LilliputError(f"this is no {self.name}: it holds a {type(content).__name__}")
        version = content.get(self.key, 0)
        oldest = min(self.upgrades, default=self.version)
        if type(version) is not int or (version == 0 and oldest > 0):
            raise LilliputError(f"this is no {self.name}: it names no {self.key}")
        if not oldest <= version <= self.version:
            advice = "update lilliput" if version > self.version else "make it again"
            known = f"{oldest} to {self.version}" if oldest < self.version else f"{self.version}"
            raise LilliputError(f"a {self.name} of format {version}; this version reads {known}: {advice}")
        data = {name: value for name, value in content.items() if name != self.key}
        try:
            for older in range(version, self.version):
                data = self.upgrades[older](data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LilliputError(f"a {self.name} is malformed: {str(error)[:80]}") from error
        return data
