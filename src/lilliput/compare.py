"""What recipes do to one policy, on all measures: artifacts, records, a table and a page in a folder."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lilliput import child_process
from lilliput.errors import MissingDependency

if TYPE_CHECKING:
    import numpy as np

    from lilliput.policies.learner import Checkpoint
    from lilliput.policies.policy import Policy
    from lilliput.record import Record
    from lilliput.report.row import Row
    from lilliput.task import Task

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


@final
@dataclass(frozen=True)
class Compared:
    """What recipes did to a policy.

    Attributes:
        folder: of artifacts, records, table.md, table.json, report.csv and report.html.
        task: what the policy was judged on.
        keep: the share of the return above random that verdicts are about.
        rows: one a candidate, the policy as loaded first.
        records: of the cells that the rows are made of.
        remarks: what the reader of the table should know.
        left_out: which file is missing for want of a package, in a sentence.
    """

    folder: Path
    task: "Task"
    keep: float
    rows: "tuple[Row, ...]"
    records: "tuple[Record, ...]"
    remarks: tuple[str, ...]
    left_out: str = ""

    @property
    def failed(self) -> "tuple[Record, ...]":
        """The records of cells that failed."""
        return tuple(record for record in self.records if record.status == "failed")

    def table(self) -> str:
        """The rows as text, in at most 100 columns."""
        from lilliput.report import table

        return table.text(self.rows)

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as JSON data."""
        from lilliput.report import table

        return table.to_json(self.rows)


def compare(
    policy: "Policy | Checkpoint",
    recipes: Sequence[str],
    folder: str | Path,
    environment: str | None = None,
    *,
    environment_kwargs: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("c",),
    episodes: int = 100,
    keep: float = 0.95,
    seed: int = 0,
    timings: bool = True,
    energy: bool = True,
    max_steps: int | None = None,
    observations: "np.ndarray | None" = None,
    workers: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Compared:
    """What each recipe keeps and costs, on the exported artifacts, beside the policy as loaded.

    The same call on the same folder goes on where it was interrupted, and measures nothing again.

    Args:
        policy: as `load_policy` gives it, or `load_checkpoint`: then `distill` can learn by the critic and the spread
            of actions that the file may have.
        recipes: their texts; the policy as loaded is always compared.
        folder: for artifacts, records, tables and the page (the page with the extra `report`).
        environment: a Gymnasium id; None: the one that the policy's source names.
        environment_kwargs: arguments of the environment.
        formats: of the artifacts.
        episodes: that each candidate plays, on the same seeds.
        keep: the share of the return above random that a candidate has to keep.
        seed: calibration, episodes and everything random follow from it.
        timings: whether inference time, memory and energy are measured too.
        energy: whether energy is measured where the others are.
        max_steps: after which an episode is cut; None: the usual.
        observations: raw ones to calibrate on, instead of episodes.
        workers: processes that play; None: one a core.
        progress: told how far it is.
        force: use a folder that holds something else.

    Raises:
        LilliputError: the environment cannot be had or does not fit the policy, a recipe does not parse, or the folder
            holds something else. Then nothing was written.
    """
    from lilliput.policies.learner import checkpoint_of
    from lilliput.record import measured_again
    from lilliput.report import summary
    from lilliput.report.remarks import remarks
    from lilliput.study import compare as small_study
    from lilliput.study.environment import about_the_task, resolve
    from lilliput.study.workspace import Workspace

    child_process.refuse_unguarded()
    folder = Path(folder)
    task = resolve(policy.provenance, environment, json.dumps(dict(environment_kwargs or {})))
    asked = small_study.Comparison(
        task, tuple(recipes), tuple(formats), episodes, seed, timings, max_steps, observations, energy=energy
    )
    told = progress or (lambda what, done, of: None)
    subject = checkpoint_of(policy)
    again = measured_again(Workspace(folder).records.glob("*.json"))
    records = small_study.compare(subject, asked, folder, workers or os.cpu_count() or 1, told, force=force)
    rows = summary.rows(records, keep)
    caveats = about_the_task(policy.provenance.environment, task)
    said = (*caveats, *remarks(rows), *again)
    left_out = _write(folder, policy, task, keep, rows, records, said, caveats)
    return Compared(folder, task, keep, rows, records, said, left_out)


def _write(
    folder: Path,
    policy: "Policy | Checkpoint",
    task: "Task",
    keep: float,
    rows: "tuple[Row, ...]",
    records: "tuple[Record, ...]",
    remarks: Sequence[str],
    caveats: Sequence[str],
) -> str:
    """Write the tables and the page; why there is no page, or nothing."""
    from lilliput.report import files, page

    files.write_table(rows, remarks, folder)
    title = f"{policy.provenance.source} on {task.id}"
    try:
        page.write_rows(
            rows, records, keep, folder / "report.html", title, caveats=(*caveats, *policy.provenance.guesses)
        )
    except MissingDependency as error:
        return str(error)
    return ""
