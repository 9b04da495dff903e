"""The folder of a study, a comparison or a shrink: what stands where in it, and who may work in it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.policies import file as policy_file

MARKER = "lilliput.json"
FORMAT = 1
"""Version of the folder's layout. 1: policies/, artifacts/, records/ and this marker."""

Kind = Literal["study", "comparison", "shrink"]


@final
@dataclass(frozen=True)
class Workspace:
    """A folder whose layout is known.

    Attributes:
        folder: its path.
    """

    folder: Path

    @property
    def records(self) -> Path:
        """The outcome of each cell, by its digest."""
        return self.folder / "records"

    @property
    def artifacts(self) -> Path:
        """What was exported, by what it is made from."""
        return self.folder / "artifacts"

    @property
    def policies(self) -> Path:
        """What was loaded, by its digest."""
        return self.folder / "policies"

    @property
    def plan(self) -> Path:
        """What a study consists of."""
        return self.folder / "plan.json"

    @property
    def request(self) -> Path:
        """What was asked of a shrink."""
        return self.folder / "request.json"

    @property
    def teachers(self) -> Path:
        """Which of a shrink's teachers is the best, once that was decided."""
        return self.folder / "teachers.json"

    @property
    def confirmation(self) -> Path:
        """The order of a shrink's finalists, once it is fixed."""
        return self.folder / "confirmation.json"

    @property
    def result(self) -> Path:
        """What a shrink found, once it is finished."""
        return self.folder / "result.json"

    @property
    def small_policy(self) -> Path:
        """The policy that a shrink made."""
        return self.folder / f"policy{policy_file.SUFFIX}"

    @property
    def small_artifact(self) -> Path:
        """The artifact of that policy."""
        return self.folder / "artifact"

    @property
    def trials(self) -> Path:
        """The policies that a shrink tried."""
        return self.folder / "trials"

    @property
    def work(self) -> Path:
        """What long steps keep to go on after an interruption; removed at the end."""
        return self.folder / "work"

    @property
    def page(self) -> Path:
        """The report for people."""
        return self.folder / "report.html"

    def record(self, digest: str) -> Path:
        """The file of a cell's record."""
        return self.records / f"{digest}.json"

    def policy(self, digest: str) -> Path:
        """The file of a policy as it was loaded."""
        return self.policies / f"{digest}{policy_file.SUFFIX}"

    def observations(self, digest: str) -> Path:
        """The file of observations that were given."""
        return self.folder / "observations" / f"{digest}.npy"

    def sweep(self) -> None:
        """Removes what a killed run left half-written."""
        for path in (*self.records.glob(".*"), *self.artifacts.glob(".*"), *self.folder.glob(".*.json.*")):
            _remove(path)

    def clear_shrink(self) -> None:
        """Removes what an earlier shrink left, and nothing else."""
        for path in (
            self.result, self.request, self.teachers, self.small_policy, self.confirmation, self.page,
            self.small_artifact, self.artifacts, self.policies, self.records, self.trials,
        ):  # fmt: skip
            _remove(path)


def enter(folder: Path, kind: Kind, *, force: bool) -> Workspace:
    """The folder as one of that kind: new, empty, or continued.

    Raises:
        LilliputError: it holds something else, unless `force`, or was written by a newer version.
    """
    marker = folder / MARKER
    if marker.is_file():
        found = _marked(marker)
        if found.get("format") == FORMAT and found.get("kind") == kind:
            return Workspace(folder)
        if not found and not force:
            raise LilliputError(
                f"{marker} is damaged: whether {folder} holds a {kind} cannot be told; choose another folder, or give "
                "--force where it does"
            )
        if not force:
            version = "" if found.get("format") == FORMAT else f" of format {found.get('format')}"
            raise LilliputError(
                f"{folder} holds a {found.get('kind', 'folder of another program')}{version}, not a {kind}"
                f"{version and f' of format {FORMAT}'}; choose another folder or give --force"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise LilliputError(f"{folder} exists and is not a {kind} of lilliput; choose another folder or give --force")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(marker, json.dumps({"kind": kind, "format": FORMAT}) + "\n")
    return Workspace(folder)


def _marked(marker: Path) -> dict[str, object]:
    """What a marker says; nothing where it is damaged."""
    try:
        found = json.loads(marker.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
