"""The folder that a study lives in: recognised when it is continued, refused when it is something else."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from lilliput.errors import LilliputError

MARKER = "lilliput.json"
FORMAT = 1
"""Version of the folder's layout. 1: policies/, artifacts/, records/ and this marker."""


def enter(folder: Path, kind: str, *, force: bool) -> None:
    """Nothing; the folder is there and is one of that kind: new, empty, or continued.

    Raises:
        LilliputError: it holds something else, unless `force`, or was written by a newer version.
    """
    marker = folder / MARKER
    if marker.is_file():
        try:
            found = json.loads(marker.read_text())
        except ValueError:
            found = {}
        if found.get("format") == FORMAT and found.get("kind") == kind:
            return
        if not force:
            version = "" if found.get("format") == FORMAT else f" of format {found.get('format')}"
            raise LilliputError(
                f"{folder} holds a {found.get('kind', 'damaged marker')}{version}, not a {kind}"
                f"{version and f' of format {FORMAT}'}; choose another folder or give --force"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise LilliputError(f"{folder} exists and is not a {kind} of lilliput; choose another folder or give --force")
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"kind": kind, "format": FORMAT}) + "\n")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for one run at a time; a killed run's lock is gone with it.

    Raises:
        LilliputError: another run is at work in it.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LilliputError(f"another run is at work in {folder}; wait for it, or end it") from error
        yield
