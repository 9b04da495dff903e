"""The return of episodes that an artifact plays, and how long they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Bench, Measured, Meter, Room
from lilliput.measurement import Absent, Measurement
from lilliput.policies.export import open_artifact
from lilliput.policies.play import MAX_STEPS, Act, EnvironmentSpec, Episode, Progress, check_fit, episodes


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
) -> tuple[Measurement | Absent, ...]:
    """episode_return, _length, _terminated and _time_s, one value a seed in the order of the seeds.

    Args:
        folder: the artifact.
        environment: a Gymnasium id.
        seeds: of the episodes.
        environment_kwargs: arguments of the environment.
        wrappers: what stands between it and the policy, where not what the manifest says.
        max_steps: cuts episodes short; where not given, after 100,000 steps.
        workers: processes; with more than one, episodes are not timed.
        progress: called after each episode.

    Raises:
        LilliputError: the artifact or the environment cannot be opened, or they do not fit.
    """
    act = ReopenedAct(folder)
    manifest = act.actor.artifact.manifest
    worn = manifest.wrappers if wrappers is None else tuple(wrappers)
    made = EnvironmentSpec(environment, worn, dict(environment_kwargs or {})).make()
    try:
        check_fit(manifest.observation_space, manifest.action_space, made)
    finally:
        made.close()
    played = episodes(
        act.actor if workers == 1 else act,
        environment,
        seeds,
        wrappers=worn,
        environment_kwargs=environment_kwargs,
        observation_space=manifest.observation_space,
        max_steps=max_steps,
        workers=workers,
        progress=progress,
    )
    runtime = "onnxruntime" if manifest.format == "onnx" else "compiled C"
    task = " | ".join((environment, *worn))
    method = f"measured: {task}, played by {runtime} at batch 1, one episode a seed"
    time = (
        Measurement("episode_time_s", tuple(episode.wall_time_s for episode in played), method, conditions())
        if workers == 1
        else Absent("episode_time_s", f"{workers} processes played at once; use workers=1 to time episodes")
    )
    return (*of_episodes(played, method, max_steps), time)


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
    """A running artifact that another process opens for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.actor = folder, open_artifact(folder)

    def __call__(self, observation: Any) -> Any:
        return self.actor(observation)

    def begin(self, seed: int = 0) -> Act:
        """The actor's act of an episode."""
        return self.actor.begin(seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return (ReopenedAct, (self.folder,))


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
        return [_played(bench, room)[:-1] for bench in room.benches]


@final
@dataclass(frozen=True)
class EpisodeTime(Meter):
    """How long episodes take, the environment's own time included."""

    NAME: ClassVar[str] = "episode_time"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("episode_time_s",)
    PLAYS: ClassVar[bool] = True

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value an episode."""
        return [_played(bench, room)[-1:] for bench in room.benches]


def _played(bench: Bench, room: Room) -> Measured:
    task = bench.cell.task
    return episode_return(
        bench.folder,
        task.id,
        tuple(map(int, bench.cell.items)),
        environment_kwargs=task.kwargs,
        wrappers=task.wrappers,
        max_steps=bench.cell.max_steps,
        progress=room.progress,
    )
