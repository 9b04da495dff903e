"""The wing of policies, as a study sees it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.measure import of_episodes
from lilliput.measure.meter import Meter
from lilliput.measure.table import METERS
from lilliput.measurement import Measurement
from lilliput.policies import file as policy_file
from lilliput.policies import layers, spaces
from lilliput.policies.artifact import DEFAULT_NAME, read_artifact
from lilliput.policies.compress import Context, compress, format_recipe, parse
from lilliput.policies.export import check as reproduces
from lilliput.policies.export import export
from lilliput.policies.export.table import FORMATS
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_checkpoint
from lilliput.policies.play import MAX_STEPS as USUAL
from lilliput.policies.play import (
    EnvironmentSpec,
    SeedPlan,
    check_fit,
    check_last_action,
    episode_returns,
    episodes,
    follows_its_seed,
    make_environment,
    random_episodes,
    random_returns,
    successor,
)
from lilliput.policies.play.environment_packages import packages
from lilliput.policies.policy import Policy
from lilliput.record import MAX_STEPS, RANDOM_POLICY, Cell
from lilliput.report.recipe_text import calibration, steps
from lilliput.study.environment import about_the_task, behind, kept, named
from lilliput.study.observations import observations_of
from lilliput.study.wing import Pairs, Progress, Wing
from lilliput.study.workspace import Workspace
from lilliput.task import Task

OBSERVATIONS = 1024
PILOT_EPISODES = 3
LARGEST_BY_REFERENCE = 2_000_000
"""Multiply-accumulates of a decision."""

CALIBRATION_EPISODES = 10
"""Observations come from as many at least."""

TRAINING = {"distill": (0.006, 36_000), "finetune": (0.006, 12_000)}
"""Seconds a step, and the steps where a recipe does not say; measured 0.003 for 64 units a layer and 0.011 for 256."""

EVOLVING_S = 300.0
ARTIFACT_BYTES = 60_000
BYTES_A_PARAMETER = 9
"""Of the constants of a C artifact, as text and as an object, and of its golden examples."""


@final
@dataclass(frozen=True)
class Policies(Wing):
    """Policies that play environments, judged by their return."""

    NAME: ClassVar[str] = "policies"
    SUBJECT: ClassVar[str] = "policy"
    TASK: ClassVar[str] = "environment"
    TASKS: ClassVar[str] = "environments"
    FLOOR: ClassVar[str] = RANDOM_POLICY
    ITEMS: ClassVar[str] = "episodes"
    TRAINS: ClassVar[bool] = True
    SETTINGS: ClassVar[tuple[str, ...]] = (MAX_STEPS,)
    TOLD: ClassVar[tuple[str, ...]] = (
        "normalizer", "output", "activation", "action", "action_low", "action_high", "environment",
        "environment_kwargs", "wrappers", "rescale_action", "plain", "contract",
        "previous_action", "algorithm",
    )  # fmt: skip
    QUANTITIES: ClassVar[tuple[str, ...]] = (
        "episode_return", "episode_length", "model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters",
        "n_macs",
    )  # fmt: skip

    @property
    def formats(self) -> tuple[str, ...]:
        """See `Wing.formats`."""
        return tuple(FORMATS)

    @property
    def meters(self) -> Sequence[Meter]:
        """See `Wing.meters`."""
        return tuple(METERS.values())

    def canonical(self, recipe: str) -> str:
        """See `Wing.canonical`."""
        return format_recipe(parse(recipe))

    def check(self, subject: Checkpoint, recipe: str, task: Task) -> None:
        """Takes any recipe: what a step makes of a policy, a refusal too, is a result."""

    def step_versions(self, recipe: str) -> Mapping[str, int]:
        """See `Wing.step_versions`."""
        return {step.NAME: step.VERSION for step in parse(recipe)}

    def packages(self, task: Task, format_: str) -> Pairs:
        """Those of the environment and its physics, and onnxruntime where it plays."""
        made = make_environment(task.id, wrappers=task.wrappers, environment_kwargs=task.kwargs)
        try:
            found = dict(packages(made))
        finally:
            made.close()
        playing = FORMATS[format_].PACKAGES if format_ in FORMATS else ()
        found |= {f"package.{name}": metadata.version(name) for name in playing}
        return tuple(sorted(found.items()))

    def load(self, source: str, told: Mapping[str, Any]) -> Checkpoint:
        """See `Wing.load`; an environment that the loader was told is also the one to play, unless another is named."""
        kwargs = json.dumps(dict(told.get("environment_kwargs") or {}))
        return named(load_checkpoint(source, **told), told.get("environment"), kwargs)

    def is_named(self, source: str) -> bool:
        """False: policies are files."""
        return False

    def names(self, subject: Checkpoint) -> Pairs:
        """See `Wing.names`."""
        origin = subject.provenance
        return (("source", origin.source), ("algorithm", origin.algorithm), ("trained_on", origin.environment))

    def tasks(self, subject: Checkpoint, source: str, named: Sequence[Task]) -> tuple[Task, ...]:
        """See `Wing.tasks`; the policy's own wrappers stand between."""
        known = kept(subject.provenance, {})
        places = named or ((known,) if known is not None else (self._own(subject, source),))
        fitting, reasons = [], []
        for place in places:
            task = behind(subject.provenance, place)
            try:
                made = make_environment(task.id, wrappers=task.wrappers, environment_kwargs=task.kwargs)
            except LilliputError as error:
                raise LilliputError(f"{source}: {error}") from error
            try:
                check_fit(subject.policy.observation_space, subject.policy.action_space, made)
                check_last_action(subject.policy, made)
                fitting.append(task)
            except LilliputError as error:
                reasons.append(str(error))
            finally:
                made.close()
        if not fitting or (reasons and len(places) == 1):
            raise LilliputError(f"{source}: {'; '.join(reasons)}")
        return tuple(fitting)

    def caveats(self, subject: Checkpoint, task: Task) -> tuple[str, ...]:
        """That it plays elsewhere than it was trained, and what its loader guessed."""
        return (*about_the_task(subject.provenance.environment, task), *subject.provenance.guesses)

    def _own(self, subject: Checkpoint, source: str) -> Task:
        trained_on = subject.provenance.environment
        if not trained_on:
            raise LilliputError(
                f"the source of {source} does not say which environment it plays; "
                f'name it: environments = {{ "{source}" = "ID" }}'
            )
        if (newer := successor(trained_on)) is not None:
            raise LilliputError(
                f"{source} was trained on {trained_on}, which does not run here; "
                f'name the one to play: environments = {{ "{trained_on}" = "{newer}" }}'
            )
        return Task(trained_on)

    def items(self, task: Task, seed: int, n: int) -> tuple[int, ...]:
        """Seeds of episodes for confirmation."""
        return SeedPlan(seed).episodes("confirmation", n)

    def settings(self, given: Mapping[str, int]) -> Pairs:
        """After how many steps an episode is cut, where that is not the usual."""
        return tuple((name, str(value)) for name, value in given.items() if value != USUAL)

    def file(self, here: Workspace, digest: str) -> Path:
        """See `Wing.file`."""
        return here.policy(digest)

    def keep(self, subject: Checkpoint, here: Workspace) -> None:
        """Writes the policy with what its source tells of its learner."""
        path = self.file(here, subject.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            # The digest does not tell whether an older copy, or one of another source, has all that students need.
            copy, told = policy_file.read_checkpoint(path).learner, subject.learner
            if not (told.action_std and not copy.action_std) and not (told.critic and not copy.critic):
                return
        policy_file.write(subject, path, force=True)

    def read(self, here: Workspace, digest: str) -> Checkpoint:
        """See `Wing.read`."""
        return policy_file.read_checkpoint(self.file(here, digest))

    def build(self, subject: Checkpoint, cell: Cell, here: Workspace, folder: Path, progress: Progress) -> None:
        """See `Wing.build`."""
        small = subject.policy
        if cell.recipe:
            context = Context.from_environment(
                subject,
                cell.task.id,
                **_environment(cell),
                observations=observations_of(cell, here.folder),
                seed=cell.compression_seed,
                progress=progress,
            )
            small = compress(subject.policy, parse(cell.recipe), context)
        export(small, cell.format, folder, name=DEFAULT_NAME)  # not that of a digest

    def said(self, subject: Checkpoint, folder: Path) -> tuple[str, ...]:
        """See `Wing.said`; of an input that stood still in calibration, say."""
        known = subject.policy.provenance.guesses
        return tuple(one for one in read_artifact(folder).manifest.guesses if one not in known)

    def is_sound(self, folder: Path) -> bool:
        """See `Wing.is_sound`."""
        try:
            return reproduces(folder).ok
        except LilliputError:
            return False

    def floor(self, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """The returns of uniform-random actions."""
        spec = EnvironmentSpec.of(cell.task, cell.max_steps)
        told = lambda done, total: progress("random policy", done, total)  # noqa: E731
        played = random_episodes(spec, seeds_of(cell), progress=told)
        return of_episodes(played, "measured: uniform-random actions", cell.max_steps)

    def doubts(self, cell: Cell) -> tuple[str, ...]:
        """That candidates do not meet the same episodes."""
        if follows_its_seed(EnvironmentSpec.of(cell.task, cell.max_steps)):
            return ()
        doubt = (
            f"{cell.task.id} plays another episode when it is asked for the same seed again: candidates do not meet "
            "the same episodes, and luck is in every difference; let it draw from self.np_random, behind "
            "super().reset(seed=seed)"
        )
        return (doubt,)

    def can_answer(self, subject: Checkpoint) -> bool:
        """Where numpy does not take milliseconds: hours for the episodes of an Atari game."""
        return subject.policy.n_macs <= LARGEST_BY_REFERENCE

    def answer(self, subject: Checkpoint, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """The returns of the policy's meaning."""
        told = lambda done, total: progress("episodes by the reference", done, total)  # noqa: E731
        played = episodes(subject.policy, cell.task.id, seeds_of(cell), **_environment(cell), progress=told)
        method = f"measured: {cell.task.id}, played by the reference, one episode a seed"
        return of_episodes(played, method, cell.max_steps)

    def observations(self, subject: Checkpoint, cell: Cell) -> np.ndarray:
        """What the policy meets in its task."""
        context = Context.from_environment(subject, cell.task.id, **_environment(cell), seed=cell.compression_seed)
        return context.observations(OBSERVATIONS)

    def identity(self, subject: Checkpoint, format_: str, folder: Path) -> Path:
        """An artifact with the policy's spaces and next to nothing between them."""
        policy = subject.policy
        inputs = int(np.prod(spaces.input_shape(policy.observation_space)))
        match policy.action_space:
            case spaces.Box() as box:
                outputs, head = box.size, ()
            case spaces.Discrete(n=n):
                outputs, head = n, (layers.ArgmaxAction((n,)),)
            case spaces.MultiDiscrete(sizes=sizes):
                outputs, head = sum(sizes), (layers.ArgmaxAction(sizes),)
        weight = np.zeros((outputs, inputs), np.float32)
        stack = (layers.Flatten(), layers.Dense(weight, np.arange(outputs, dtype=np.float32)), *head)
        empty = Policy(policy.observation_space, policy.action_space, stack)
        return export(empty, format_, folder / "identity").folder

    def item_s(self, subject: Checkpoint | None, cell: Cell) -> float:
        """Wall seconds of one episode, after one that was not timed."""
        start, every = 0.0, seeds_of(cell)
        for seeds in (every[:1], every[:PILOT_EPISODES]):
            start = time.perf_counter()
            if subject is None:
                random_returns(cell.task.id, seeds, **_environment(cell))
            else:
                episode_returns(subject.policy, cell.task.id, seeds, **_environment(cell))
        return (time.perf_counter() - start) / len(every[:PILOT_EPISODES])

    def build_s(self, cell: Cell) -> float:
        """See `Wing.build_s`; most of it is training, where a step trains."""
        seconds = FORMATS[cell.format].BUILD_S if cell.format in FORMATS else 0.0
        for step in steps(cell.recipe):
            if step.name == "evolve" or step.get("objective") == "return":
                seconds += EVOLVING_S
            elif step.name in TRAINING:
                each, usual = TRAINING[step.name]
                seconds += each * (step.get("steps") or usual)
        return seconds

    def calibration_items(self, recipe: str) -> int:
        """See `Wing.calibration_items`."""
        return CALIBRATION_EPISODES if calibration(recipe) else 0

    def artifact_bytes(self, subject: Checkpoint) -> int:
        """See `Wing.artifact_bytes`."""
        return ARTIFACT_BYTES + BYTES_A_PARAMETER * subject.policy.n_parameters


POLICIES = Policies()
"""The one there is: it has no state."""


def episode_settings(max_steps: int | None) -> Pairs:
    """What of the episodes is not as usual, as a cell's settings."""
    return POLICIES.settings({} if max_steps is None else {MAX_STEPS: max_steps})


def seeds_of(cell: Cell) -> tuple[int, ...]:
    """The episode seeds that a cell's items are."""
    return tuple(map(int, cell.items))


def _environment(cell: Cell) -> dict[str, Any]:
    """The cell's environment beside its id, as the functions of `play` take it."""
    return {"wrappers": cell.task.wrappers, "environment_kwargs": cell.task.kwargs, "max_steps": cell.max_steps}
