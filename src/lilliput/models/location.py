"""Where texts, pictures and questions lie: a path, a short name of what `LILLIPUT_MODELS` holds, a hub's data set."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.models.data_set import FORM, PREFIX, text_of

FOLDER = "LILLIPUT_MODELS"
"""The environment variable that names the folder."""

_NAMES = {
    "c4": "text/c4.utf8",
    "wiki": "text/wiki.utf8",
    "code": "text/code.utf8",
    "tiny": "text/tiny.utf8",
    "blimp": "blimp",
}


def locate(name: str) -> Path:
    """The file or folder of that name: a path as it stands, something in the folder `LILLIPUT_MODELS`, or a data set.

    Raises:
        LilliputError: there is none.
    """
    if name.startswith(PREFIX):
        return text_of(name)
    path = Path(name)
    if name not in _NAMES and path.exists():
        return path
    folder = os.environ.get(FOLDER, "")
    if folder and (found := Path(folder) / _NAMES.get(name, name)).exists():
        return found
    if name in _NAMES:
        where = f"{folder!r} has no {_NAMES[name]}" if folder else f"{FOLDER} is not set"
        raise LilliputError(f"{name!r} is {_NAMES[name]} in the folder {FOLDER}, but {where}; set it, or give a path")
    raise LilliputError(f"{name!r} does not exist; give a path, {FORM}, or one of: {', '.join(_NAMES)}")


def digest(name: str) -> str:
    """sha256 of the content of a file, or of the files of a folder by their names."""
    path = locate(name)
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    sha = hashlib.sha256()
    for one in files:
        sha.update(f"{one.relative_to(path)}{sha256(one)}".encode())
    return sha.hexdigest()


def sha256(path: Path) -> str:
    """Of the content of a file."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 17)
def _sha256(path: Path, size: int, changed: int) -> str:
    del size, changed  # what tells whether the file is still the same
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
