"""A place that several machines share, such as a bucket: what one has measured, the others need not measure again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError, MissingDependency
from lilliput.files import write_whole
from lilliput.record import Record
from lilliput.study.workspace import Workspace


@final
@dataclass(frozen=True)
class Store:
    """A folder of an fsspec filesystem.

    Attributes:
        filesystem: fsspec's, which only a run with a store needs.
        root: the folder's path there.
    """

    filesystem: Any
    root: str

    def pull(self, folder: Path) -> int:
        """How many records came into the folder; artifacts are made anew where they are needed."""
        here = Workspace(folder).records
        there = f"{self.root}/{here.name}"
        here.mkdir(parents=True, exist_ok=True)
        self.filesystem.invalidate_cache()  # another machine may have written since it was listed
        if not self.filesystem.isdir(there):
            return 0
        names = [path.rsplit("/", 1)[-1] for path in self.filesystem.ls(there, detail=False)]
        missing = [name for name in names if name.endswith(".json") and not (here / name).exists()]
        for name in missing:
            write_whole(here / name, self.filesystem.cat_file(f"{there}/{name}"))
        return len(missing)

    def push(self, record: Record, folder: Path) -> None:
        """Puts the record there in one write, after its artifact."""
        if record.artifact and not self.filesystem.exists(f"{self.root}/{record.artifact}/manifest.json"):
            files = [path for path in (folder / record.artifact).rglob("*") if path.is_file()]
            # The manifest last: where it is, the rest is.
            for path in sorted(files, key=lambda path: path.name == "manifest.json"):
                self._put(path, folder)
        self._put(Workspace(folder).record(record.cell.digest), folder)

    def _put(self, path: Path, folder: Path) -> None:
        name = f"{self.root}/{path.relative_to(folder).as_posix()}"
        self.filesystem.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
        self.filesystem.pipe_file(name, path.read_bytes())


def open_store(url: str) -> Store:
    """The store at an fsspec URL, such as s3://bucket/study or a folder that is mounted everywhere.

    Raises:
        MissingDependency: fsspec, or what it needs for this kind of URL, is not installed.
        LilliputError: there is no such kind of URL.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingDependency("--store needs fsspec; install it with: pip install 'lilliput[store]'") from error
    try:
        filesystem, root = url_to_fs(url)
    except ImportError as error:
        raise MissingDependency(f"--store {url}: {error}") from error
    except ValueError as error:
        raise LilliputError(f"--store {url}: {error}; write a URL such as s3://bucket/study") from error
    return Store(filesystem, root.rstrip("/"))
