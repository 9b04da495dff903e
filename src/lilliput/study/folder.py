"""The folder that a study lives in: recognised when it is continued, refused when it is something else."""

import json
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
            raise LilliputError(
                f"{folder} holds a {found.get('kind', 'damaged')} of format {found.get('format')}; this is a "
                f"{kind} of format {FORMAT}: "
                "choose another folder or give --force"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise LilliputError(f"{folder} exists and is not a {kind} of lilliput; choose another folder or give --force")
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"kind": kind, "format": FORMAT}) + "\n")
