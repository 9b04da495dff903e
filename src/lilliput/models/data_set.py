"""Text of data sets on a hub: `hub:ORGANIZATION/NAME@COMMIT`, fetched by `datasets`, kept as one file of documents.

The commit belongs to the name, because the name stands in recipes, which are what an experiment is known by.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lilliput.compiler import cache_folder
from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.models.library import hub_refusals, is_offline, library

PREFIX = "hub:"
FORM = f"{PREFIX}ORGANIZATION/NAME[/CONFIGURATION][:SPLIT][#COLUMN]@COMMIT"
DIVIDER = "<|endoftext|>"

MOST = 1 << 26
"""Characters of a data set that are read, from its beginning."""

_FORM = re.compile(
    r"hub:(?P<set>[\w.-]+/[\w.-]+)(?:/(?P<configuration>[\w.-]+))?(?::(?P<split>[\w.-]+))?(?:#(?P<column>[\w.-]+))?"
    r"(?:@(?P<revision>[\w./-]+))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_COLUMNS = ("text", "content")
"""What the column of a text is called, where it is not the only one that holds any."""


def text_of(name: str) -> Path:
    """The file with a data set's texts, one document a row; it is made once on a machine.

    Args:
        name: as `FORM` has it; without more the split `train`, and the column `text` or `content`, or the only one.

    Raises:
        LilliputError: no commit is named, the data set cannot be had, or holds no such thing.
        MissingDependency: datasets is not installed.
    """
    found = _FORM.fullmatch(name)
    if found is None:
        raise LilliputError(f"{name[:80]!r} is no data set of the hub; write {FORM}")
    repository, revision = found["set"], found["revision"] or ""
    if not _COMMIT.fullmatch(revision):
        said = f"{revision[:40]!r} is no commit" if revision else "no commit is named"
        raise LilliputError(
            f"{name[:80]!r}: {said}, so it may be another text tomorrow; write behind it @ and the 40 digits of a "
            "commit, as the history of its files on the hub shows them"
        )
    path = cache_folder() / f"text-{hashlib.sha256(name.encode()).hexdigest()[:32]}.utf8"
    if not path.exists():
        datasets = library("datasets", "datasets")
        try:
            rows = _rows(datasets, repository, found["configuration"], found["split"] or "train", revision)
            text = DIVIDER.join(_texts(rows, found["column"] or "", name))
        except (*hub_refusals(), KeyError, RuntimeError) as error:
            offline = "was not fetched before, and HF_HUB_OFFLINE forbids the network"
            where = offline if is_offline() else "cannot be fetched"
            shown = " ".join(str(error).split())[:200]
            raise LilliputError(f"the hub's data set {repository} at {revision[:12]} {where}: {shown}") from error
        write_whole(path, text)
    return path


def _rows(datasets: Any, repository: str, configuration: str | None, split: str, revision: str) -> Any:
    """The rows of a split, from what was fetched before where the network is forbidden."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    builder = datasets.load_dataset_builder(repository, configuration, revision=revision)
    if builder.hash != revision:
        # Without a hub the library gives what is here of that name, whatever revision it is asked for.
        raise FileNotFoundError(f"what is here of that name is another: {builder.hash}")
    # What is streamed is fetched as far as it is read: some data sets have terabytes.
    return builder.as_streaming_dataset(split=split)


def _texts(rows: Any, column: str, name: str) -> Iterator[str]:
    """The documents, until there are enough characters."""
    first: Mapping[str, Any] | None = next(iter(rows), None)
    if first is None:
        raise LilliputError(f"{name[:80]!r} has no row")
    held = [key for key, value in first.items() if isinstance(value, str)]
    chosen = column or next((key for key in _COLUMNS if key in held), held[0] if len(held) == 1 else "")
    if chosen not in held:
        raise LilliputError(f"{name[:80]!r} has no text in {chosen or 'one column alone'!r}; name one of: {held}")
    total = 0
    for row in rows:
        text = row[chosen]
        if isinstance(text, str) and text.strip():
            yield text
            total += len(text)
        if total >= MOST:
            return
