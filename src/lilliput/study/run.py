"""One cell: compress, export, open what was exported and measure it there. The outcome is always a Record."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lilliput import record as record_file
from lilliput.compiler import cache_folder
from lilliput.errors import LilliputError, NotApplicable
from lilliput.files import has_space, is_out_of_space
from lilliput.measurement import Absent, Measurement
from lilliput.policies import policy as policy_file
from lilliput.policies.artifact import DEFAULT_NAME, read_artifact
from lilliput.policies.policy import Policy
from lilliput.record import REFERENCE, Cell, Record
from lilliput.study.observations import SETTING, observations_of
from lilliput.study.version import check_here
from lilliput.study.workspace import Workspace

Progress = Callable[[str, int, int], None]


def record_of(folder: Path, cell: Cell) -> Record | None:
    """The cell's record where there is one; a damaged one counts as none."""
    path = Workspace(folder).record(cell.digest)
    with contextlib.suppress(LilliputError, OSError):
        return record_file.read(path)
    return None


def keep_policy(folder: Path, policy: Policy) -> None:
    """Nothing; the policy stands in the folder under its digest, with what its source tells of the learner."""
    path = Workspace(folder).policy(policy.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        # The digest does not tell whether an older copy, or one of another source, has all that students learn from.
        copy = policy_file.read(path)
        missing = policy.critic and not copy.critic, policy.provenance.action_std and not copy.provenance.action_std
        if not any(missing):
            return
    policy_file.write(policy, path, force=True)


def run(cell: Cell, folder: Path, progress: Progress) -> Record:
    """The record of the cell, which also stands in the folder; a failure is one too.

    Args:
        cell: of returns and sizes; timings are taken by `timing.measure`.
        folder: the study's, with the policy under its digest.
        progress: called with what is being done, how much is done, and of how much.
    """
    start = time.perf_counter()
    (record,) = attempt([cell], folder, lambda: (_done(cell, folder, progress),))
    record = dataclasses.replace(record, elapsed_s=round(time.perf_counter() - start, 3))
    record_file.write(record, Workspace(folder).records)
    return record


def attempt(cells: Sequence[Cell], folder: Path, work: Callable[[], tuple[Record, ...]]) -> tuple[Record, ...]:
    """What `work` makes of the cells; where it fails, a record of each says so: a result, and the study goes on."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  the only broad catch
        return tuple(failure(cell, error, folder) for cell in cells)


def _done(cell: Cell, folder: Path, progress: Progress) -> Record:
    check_here(cell)
    if cell.is_floor:
        return Record(cell, "done", "", _random_returns(cell, progress))
    policy = policy_file.read(Workspace(folder).policy(cell.subject))
    if cell.format == REFERENCE:
        return Record(cell, "done", "", _reference_returns(cell, policy, progress), names=names_of(policy))
    built = build(cell, policy, folder, progress)
    measurements, absent = _measure(cell, built, progress)
    return Record(cell, "done", "", measurements, absent, names_of(policy), str(built.relative_to(folder)))


def failure(cell: Cell, error: Exception, folder: Path) -> Record:
    """The record of a cell that ended in an error.

    Raises:
        LilliputError: the disk is full: that is no result of the cell's.
    """
    # A compiler says only in words that the disk was full.
    if is_out_of_space(error) or not all(map(has_space, (folder, Path(tempfile.gettempdir()), cache_folder()))):
        raise LilliputError(f"{error}; free some space and run the same command to go on") from error
    names: tuple[tuple[str, str], ...] = ()
    with contextlib.suppress(LilliputError, OSError):
        names = names_of(policy_file.read(Workspace(folder).policy(cell.subject)))
    if isinstance(error, NotApplicable):
        return Record(cell, "not_applicable", str(error), names=names, step=error.step)
    if isinstance(error, LilliputError):
        return Record(cell, "failed", str(error), names=names, step=error.step)
    return Record(cell, "failed", f"{type(error).__name__}: {error}", names=names)


def names_of(policy: Policy) -> tuple[tuple[str, str], ...]:
    """What people call the policy, for tables."""
    origin = policy.provenance
    return (("source", origin.source), ("algorithm", origin.algorithm), ("trained_on", origin.environment))


def artifact_name(cell: Cell) -> str:
    """The name of the folder that the cell's artifact stands in: a digest of all that it is made from."""
    steps = [pair for pair in cell.versions if pair[0].startswith("step.")]
    # A recipe that calibrates plays the environment, so that is a part of what it is made from.
    made_from = [cell.subject, cell.recipe, cell.format, cell.compression_seed, steps]
    made_from += [cell.task.id, cell.task.arguments, list(cell.task.wrappers)] if cell.recipe else []
    made_from += [cell.max_steps] if cell.recipe and cell.max_steps else []
    given = [list(pair) for pair in cell.settings if pair[0] == SETTING]
    made_from += given if cell.recipe else []
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


def build(cell: Cell, policy: Policy, folder: Path, progress: Progress) -> Path:
    """The folder of the cell's artifact, made unless it is there already."""
    from lilliput.policies.compress import Context, compress, parse
    from lilliput.policies.export import check, export

    path = Workspace(folder).artifacts / artifact_name(cell)
    if path.exists():
        with contextlib.suppress(LilliputError):
            if check(path).ok:
                return path
        shutil.rmtree(path)
    small = policy
    if cell.recipe:
        context = Context.from_environment(
            policy,
            cell.task.id,
            **task(cell),
            observations=observations_of(cell, folder),
            seed=cell.compression_seed,
            progress=progress,
        )
        small = compress(policy, parse(cell.recipe), context)
    try:
        export(small, cell.format, path, name=DEFAULT_NAME)  # not that of a digest
    except (LilliputError, OSError):
        # Another process may have put the same one there meanwhile: a baseline serves several environments.
        if not path.exists():
            raise
    return path


def task(cell: Cell) -> dict[str, Any]:
    """The cell's environment beside its id, as the functions of `play` and `measure` take it."""
    return {"wrappers": cell.task.wrappers, "environment_kwargs": cell.task.kwargs, "max_steps": cell.max_steps}


def seeds_of(cell: Cell) -> tuple[int, ...]:
    """The episode seeds that its items are."""
    return tuple(map(int, cell.items))


def _random_returns(cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
    from lilliput.measure import of_episodes
    from lilliput.policies.play import EnvironmentSpec, random_episodes

    spec = EnvironmentSpec(cell.task.id, cell.task.wrappers, cell.task.kwargs, cell.max_steps)
    played = random_episodes(spec, seeds_of(cell), progress=lambda done, total: progress("random policy", done, total))
    return of_episodes(played, "measured: uniform-random actions", cell.max_steps)


def _reference_returns(cell: Cell, policy: Policy, progress: Progress) -> tuple[Measurement, ...]:
    from lilliput.measure import of_episodes
    from lilliput.policies.play import episodes

    played = episodes(
        policy,
        cell.task.id,
        seeds_of(cell),
        **task(cell),
        progress=lambda done, total: progress("episodes by the reference", done, total),
    )
    method = f"measured: {cell.task.id}, played by the reference, one episode a seed"
    return of_episodes(played, method, cell.max_steps)


def _measure(cell: Cell, artifact: Path, progress: Progress) -> tuple[tuple[Measurement, ...], tuple[Absent, ...]]:
    from lilliput.measure import episode_return, on_target, size

    if cell.target != "host":
        return on_target(artifact, cell.target), ()
    found: list[Measurement | Absent] = [*size(read_artifact(artifact))]
    if "episode_return" in cell.quantities:
        found += episode_return(
            artifact,
            cell.task.id,
            seeds_of(cell),
            **task(cell),
            progress=lambda done, total: progress("episodes", done, total),
        )
    return split(found, cell.quantities)


def split(
    found: Iterable[Measurement | Absent], quantities: tuple[str, ...]
) -> tuple[tuple[Measurement, ...], tuple[Absent, ...]]:
    """What was measured and what was not, of the quantities that were asked for, in their order.

    With the return comes how often an episode ended by itself: a policy that falls more often has not kept it.
    """
    names = [*quantities, *(["episode_terminated"] if "episode_return" in quantities else [])]
    asked = sorted((m for m in found if m.quantity in names), key=lambda m: names.index(m.quantity))
    return tuple(m for m in asked if isinstance(m, Measurement)), tuple(m for m in asked if isinstance(m, Absent))
