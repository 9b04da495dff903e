"""Write a policy as an artifact that runs, and hold it to its golden examples."""

import platform
import shutil
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces, state
from lilliput.policies.artifact import (
    MANIFEST,
    Artifact,
    Manifest,
    check_name,
    file_sha256,
    name_for,
    read_artifact,
    read_golden,
    write_golden,
    write_manifest,
)
from lilliput.policies.export import fixed
from lilliput.policies.export.c_exporter import C
from lilliput.policies.export.golden import golden_examples, golden_integers
from lilliput.policies.export.golden_sequences import golden_sequences
from lilliput.policies.export.table import FORMATS
from lilliput.policies.fixed_point import OBSERVATIONS, FixedPoint, units_to_json
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor

__all__ = ["FORMATS", "CheckResult", "check", "describe", "export", "failures", "open_artifact"]


@final
@dataclass(frozen=True)
class CheckResult:
    """How an artifact did on its golden examples, on this machine.

    Attributes:
        n_examples: how many there are.
        largest_difference: of an action from the reference's, in action units.
        flips: choices other than the reference's.
        tolerance: the largest difference allowed; 0 for choices.
        batch_is_exact: whether actions of a batch equal those of its observations alone, to the bit; with a memory,
            whether episodes side by side do.
    """

    n_examples: int
    largest_difference: float
    flips: int
    tolerance: float
    batch_is_exact: bool

    @property
    def ok(self) -> bool:
        """Whether the artifact does what the policy does."""
        return (
            self.n_examples > 0
            and self.largest_difference <= self.tolerance
            and self.flips == 0
            and self.batch_is_exact
        )


def export(
    policy: Policy,
    format: str,
    folder: str | Path,
    *,
    observations: Any = None,
    force: bool = False,
    name: str | None = None,
    observation: str = "float",
    dispatch: bool = False,
) -> Artifact:
    """The artifact of the policy, written to `folder`, opened and found to reproduce its golden examples.

    Args:
        policy: what to export.
        format: a key of FORMATS.
        folder: a new folder.
        observations: raw ones that the policy met, for the golden examples and for the range of numbers that become
            int16; drawn where there are none.
        force: replace an artifact that stands there.
        name: what its names of C start with, so that several live in one program; the folder's where none is given.
        observation: float; or int16 or q16.16, for a C artifact that takes and gives integers and links no float.
        dispatch: of C, for a shared library built elsewhere: it has the kernels of several processors and chooses where
            it runs.

    Raises:
        LilliputError: an unknown format, a name that C cannot have, a folder that exists, or a result that does not do
            what the policy does.
    """
    folder = Path(folder)
    if format not in FORMATS:
        raise LilliputError(f"the format is {format!r}; allowed: {', '.join(FORMATS)}")
    if name is None:
        name = name_for(folder)
    check_name(name)
    if dispatch and (format != C.NAME or observation != "float"):
        raise LilliputError("--dispatch is of the format c, and of observations that are floats")
    exporter, units = C(dispatch=True) if dispatch else FORMATS[format], None
    if observation != "float":
        units = _units(policy, format, observation, observations)
        exporter = C(units)
    _check_free(folder, force)
    if units is not None:
        golden = golden_integers(policy, units, observations)
    else:
        golden = (golden_sequences if policy.has_memory else golden_examples)(policy, observations)
    # Beside its final place, so that one rename puts it there whole.
    work = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
    try:
        work.mkdir(parents=True)
        versions = exporter.write(policy, work, golden, name)
        write_golden(work, golden.observations, golden.actions)
        artifact = write_manifest(work, _manifest(policy, format, name, work, golden.tolerance, versions, units))
        result = check(work)
        if not result.ok:
            raise LilliputError(
                f"the {format} artifact does not do what the policy does and was not written: {describe(result)}"
            )
        _put(work, folder)
    except OSError as error:
        raise LilliputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Artifact(folder, artifact.manifest)


def _units(policy: Policy, format: str, observation: str, observations: Any) -> FixedPoint:
    """How the numbers of an observation of integers count.

    Raises:
        LilliputError: another format than C, an unknown kind, or a policy that integers cannot do.
    """
    if observation not in OBSERVATIONS:
        raise LilliputError(f"the observation is {observation!r}; allowed: float, {', '.join(OBSERVATIONS)}")
    if format != C.NAME:
        raise LilliputError(f"--observation {observation} is of the format c; {format} takes floats")
    seen = None
    if observations is not None:
        seen = spaces.artifact_input(policy.observation_space, observations)
        seen = seen.reshape(len(seen), -1)
    return fixed.units(policy, OBSERVATIONS[observation], seen)


def open_artifact(folder: str | Path) -> Actor:
    """The artifact in `folder`, running: `act(observation)` decides on one, `act.batch(observations)` on many.

    Raises:
        LilliputError: no artifact, or nothing here that runs it.
    """
    artifact = read_artifact(folder)
    format_ = artifact.manifest.format
    if format_ not in FORMATS:
        raise LilliputError(f"{folder} is of the format {format_!r}; this version runs {' and '.join(FORMATS)}")
    return FORMATS[format_].open(artifact)


def check(folder: str | Path) -> CheckResult:
    """What the artifact in `folder` does with its golden examples, on this machine.

    Raises:
        LilliputError: no artifact, a damaged one, or nothing here that runs it.
    """
    actor = open_artifact(folder)
    manifest = actor.artifact.manifest
    observations, expected = read_golden(actor.artifact)
    action_shape = spaces.action_shape(manifest.action_space)
    steps = observations.shape[1:2] if manifest.state else ()
    kind, shape = observations.dtype.kind, spaces.input_shape(manifest.observation_space)
    if observations.shape[1:] != (*steps, *shape) or kind not in "fiu":
        raise LilliputError(
            f"{folder}: its golden observations are {observations.dtype}{list(observations.shape)}; export again"
        )
    if (
        len(observations) != len(expected)
        or expected.shape[1:] != (*steps, *action_shape)
        or expected.dtype.kind not in "fiu"
    ):
        raise LilliputError(f"{folder}: its golden actions are {expected.dtype}{list(expected.shape)}; export again")
    actions, again = (_episodes if manifest.state else _alone_and_together)(actor, observations)
    actions = actions.reshape(expected.shape)
    difference = np.abs(actions.astype(np.float64) - expected)
    is_choice = not isinstance(manifest.action_space, spaces.Box)
    return CheckResult(
        n_examples=len(observations),
        largest_difference=float(np.max(np.where(np.isnan(difference), np.inf, difference), initial=0)),
        flips=int(np.count_nonzero(difference)) if is_choice else 0,
        tolerance=float(manifest.tolerance),
        batch_is_exact=bool(np.array_equal(again.reshape(expected.shape), actions, equal_nan=True)),
    )


def _alone_and_together(actor: Actor, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.array([actor(observation) for observation in observations]), actor.batch(observations)


def _episodes(actor: Actor, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The actions of each sequence alone, and of all of them step by step in turns: none knows of the others."""
    alone = []
    for sequence in sequences:
        act = actor.begin()
        alone.append([act(observation) for observation in sequence])
    acts = [actor.begin() for _ in sequences]
    turns = [
        [act(observation) for act, observation in zip(acts, step, strict=True)] for step in sequences.swapaxes(0, 1)
    ]
    return np.array(alone), np.array(turns).swapaxes(0, 1)


def describe(result: CheckResult) -> str:
    """One line: how many examples, how far off, and all that is wrong."""
    flips = f", {result.flips} other choices" if result.flips else ""
    found = (
        f"{result.n_examples} golden examples, largest difference {result.largest_difference:.3g} "
        f"(allowed {result.tolerance:.3g}){flips}"
    )
    return "; ".join([found, *failures(result)])


def failures(result: CheckResult) -> list[str]:
    """What is wrong and what to do, a clause each; nothing where the artifact does what the policy does."""
    found = []
    if result.n_examples == 0:
        found.append("there are no golden examples: export again")
    if not result.largest_difference <= result.tolerance and not result.flips:
        what = "the model or what runs it here is another"
        if result.largest_difference == np.inf:
            what = "one is NaN or infinite, or is not where the policy's is"
        found.append(f"its actions are not the policy's: {what}, export again")
    if result.flips:
        found.append(f"{result.flips} of its choices are not the policy's: export again")
    if not result.batch_is_exact:
        found.append(
            "a batch gives other actions than its observations alone, so that results would depend on how many are "
            "asked at once: what runs it here does not keep to the order of its sums"
        )
    return found


def _check_free(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not force:
        raise LilliputError(f"{folder} exists; choose another name, or --force to replace an artifact")
    if not (folder / MANIFEST).is_file():
        raise LilliputError(f"{folder} exists and is not an artifact: it has no {MANIFEST}; it is not replaced")


def _put(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.rename(folder)
        return
    old = work.with_name(f"{work.name}.old")
    folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old)


def _manifest(
    policy: Policy,
    format: str,
    name: str,
    folder: Path,
    tolerance: float,
    versions: dict[str, str],
    units: FixedPoint | None,
) -> Manifest:
    provenance = policy.provenance
    return Manifest(
        format=format,
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        input_dtype=spaces.input_dtype(policy.observation_space),
        wrappers=provenance.wrappers,
        environment=provenance.environment,
        policy_digest=policy.digest,
        recipe=provenance.recipe,
        source=provenance.source,
        source_sha256=provenance.source_sha256,
        n_parameters=policy.n_parameters,
        n_nonzero_parameters=policy.n_nonzero_parameters,
        n_macs=policy.n_macs,
        model_bytes=policy.model_bytes,
        tolerance=tolerance,
        files={path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        versions={
            "lilliput": metadata.version("lilliput"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            **versions,
        },
        guesses=provenance.guesses,
        contract=provenance.contract,
        name=name,
        symbol=FORMATS[format].symbol(name),
        state=state.to_json(policy) if policy.has_memory else {},
        fixed_point=units_to_json(units),
    )
