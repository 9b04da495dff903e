"""The return of episodes that an artifact plays, how long they are, and how long they take."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, final

from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Bench, Measured, Meter, Room
from lilliput.measurement import Measurement
from lilliput.policies.export import open_artifact
from lilliput.policies.export.table import FORMATS
from lilliput.policies.play import (
    MAX_STEPS,
    Act,
    EnvironmentSpec,
    Episode,
    Progress,
    SameAct,
    Stage,
    check_fit,
    episodes,
)
from lilliput.policies.runtime import Actor

T = TypeVar("T")


def episode_return(
    folder: Path,
    environment: str,
    seeds: Iterable[int],
    *,
    environment_kwargs: Mapping[str, Any] | None = None,
    wrappers: tuple[str, ...] | None = None,
    max_steps: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """episode_return, _length and _terminated, one value a seed in the order of the seeds.

    Args:
        folder: the artifact.
        environment: a Gymnasium id.
        seeds: of the episodes.
        environment_kwargs: arguments of the environment.
        wrappers: what stands between it and the policy, where not what the manifest says.
        max_steps: cuts episodes short; where not given, after 100,000 steps.
        workers: processes.
        progress: called after each episode.

    Raises:
        LilliputError: the artifact or the environment cannot be opened, or they do not fit.
    """
    actor = open_artifact(folder)
    worn = _worn(actor, environment, environment_kwargs, wrappers)
    played = episodes(
        actor if workers == 1 else ReopenedAct(folder),
        environment,
        seeds,
        wrappers=worn,
        environment_kwargs=environment_kwargs,
        observation_space=actor.artifact.manifest.observation_space,
        max_steps=max_steps,
        workers=workers,
        progress=progress,
    )
    return of_episodes(played, _method(actor, environment, worn), max_steps)


def episode_time(
    folder: Path,
    environment: str,
    seeds: Iterable[int],
    *,
    environment_kwargs: Mapping[str, Any] | None = None,
    wrappers: tuple[str, ...] | None = None,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """episode_time_s, one value a seed in the order of the seeds: each episode is played alone.

    The arguments and what is raised are those of `episode_return`.
    """
    actor = open_artifact(folder)
    worn, order, times = _worn(actor, environment, environment_kwargs, wrappers), tuple(seeds), list[float]()
    spec = EnvironmentSpec(environment, worn, dict(environment_kwargs or {}), max_steps)
    with Stage(spec, actor.artifact.manifest.observation_space) as stage:
        for seed in order:
            played = stage.play(seed, SameAct(actor))
            assert played.wall_time_s is not None  # alone
            times.append(played.wall_time_s)
            if progress is not None:
                progress(len(times), len(order))
    return Measurement("episode_time_s", tuple(times), _method(actor, environment, worn), conditions())


def _worn(
    actor: Actor, environment: str, environment_kwargs: Mapping[str, Any] | None, wrappers: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The wrappers that stand between the environment and the artifact, which fits it."""
    manifest = actor.artifact.manifest
    worn = manifest.wrappers if wrappers is None else tuple(wrappers)
    made = EnvironmentSpec(environment, worn, dict(environment_kwargs or {})).make()
    try:
        check_fit(manifest.observation_space, manifest.action_space, made)
    finally:
        made.close()
    return worn


def _method(actor: Actor, environment: str, worn: tuple[str, ...]) -> str:
    runtime = FORMATS[actor.artifact.manifest.format].RUNTIME
    return f"measured: {' | '.join((environment, *worn))}, played by {runtime} at batch 1, one episode a seed"


def of_episodes(played: Sequence[Episode], method: str, max_steps: int | None = None) -> tuple[Measurement, ...]:
    """The return, length and end of each episode as measurements; the method says where `max_steps` cut some."""
    limit, here = max_steps or MAX_STEPS, conditions()
    n_cut = sum(not episode.terminated and episode.length >= limit for episode in played)
    said = f"{method}; {n_cut} of {len(played)} cut after {limit:,} steps" if n_cut else method
    return (
        Measurement("episode_return", tuple(episode.episode_return for episode in played), said, here),
        Measurement("episode_length", tuple(float(episode.length) for episode in played), said, here),
        Measurement("episode_terminated", tuple(float(episode.terminated) for episode in played), said, here),
    )


@final
class ReopenedAct:
    """An artifact that another process opens for itself: there it is the running one."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._actor = folder, open_artifact(folder)

    def __call__(self, observation: Any) -> Any:
        return self._actor(observation)

    def begin(self, seed: int = 0) -> Act:
        """The actor's act of an episode."""
        return self._actor.begin(seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open_artifact, (self._folder,))


@final
@dataclass(frozen=True)
class Returns(Meter):
    """What episodes pay, and how long they are."""

    NAME: ClassVar[str] = "episode_return"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("episode_return", "episode_length", "episode_terminated")
    ALWAYS: ClassVar[tuple[str, ...]] = ("episode_terminated",)
    PLAYS: ClassVar[bool] = True

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value an episode."""
        return [_of(bench, room, episode_return) for bench in room.benches]


@final
@dataclass(frozen=True)
class EpisodeTime(Meter):
    """How long episodes take, the environment's own time included."""

    NAME: ClassVar[str] = "episode_time"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("episode_time_s",)
    PLAYS: ClassVar[bool] = True

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value an episode."""
        return [(_of(bench, room, episode_time),) for bench in room.benches]


def _of(bench: Bench, room: Room, measured: Callable[..., T]) -> T:
    task = bench.cell.task
    return measured(
        bench.folder,
        task.id,
        tuple(map(int, bench.cell.items)),
        environment_kwargs=task.kwargs,
        wrappers=task.wrappers,
        max_steps=bench.cell.max_steps,
        progress=room.progress,
    )
