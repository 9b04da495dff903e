"""Joules of one decision, by the processor's own counter: gross, and net of the idle machine around it."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measure.process import run_script
from lilliput.measure.rapl import ROOT, UPDATES_PER_WINDOW, open_counter, update_interval_s, watch
from lilliput.measurement import Absent, Measurement
from lilliput.policies.export import open_artifact
from lilliput.policies.play import EnvironmentSpec, SameAct, Stage
from lilliput.record import Cell

WINDOWS = 10
WINDOW_S = 0.25
"""At least; longer where the counter changes so seldom that this would be under `UPDATES_PER_WINDOW` updates."""


def energy(
    folder: Path,
    observations: np.ndarray,
    *,
    windows: int = WINDOWS,
    window_s: float = WINDOW_S,
    root: Path = ROOT,
    models: bool = False,
) -> tuple[Measurement | Absent, ...]:
    """energy_j (net) and gross_energy_j, one value a window; absent, with the reason, where no counter can be read.

    In a fresh process the policy decides without pause in every second window, and in those between nothing does; net
    leaves out what the idle machine takes in the two windows around.

    Args:
        folder: the artifact, of a policy or of a model.
        observations: what it decides on.
        windows: busy ones.
        window_s: the shortest window.
        root: where the counters are; another one for a recorded counter.
        models: whether it is a model's, which brings its own inputs.

    Raises:
        LilliputError: the artifact cannot be opened or fails.
    """
    if windows < 1:
        raise LilliputError(f"windows is {windows}; it must be at least 1")
    try:
        counter = open_counter(root)
    except MissingDependency as error:
        return Absent("energy_j", str(error)), Absent("gross_energy_j", str(error))
    here = conditions()
    settings = {"root": str(root), "windows": windows, "window_s": window_s, "models": models}
    answer = run_script("energy_process.py", [folder], observations, settings)
    if "absent" in answer:
        return Absent("energy_j", answer["absent"]), Absent("gross_energy_j", answer["absent"])
    names = ", ".join(domain.name for domain in counter.domains)
    method = (
        f"measured: RAPL {names} of {root}, {windows} windows of at least {answer['window_s']:.2g} s and "
        f"{UPDATES_PER_WINDOW} counter updates, about {answer['decisions']} {'answers' if models else 'decisions'} each"
    )
    return (
        Measurement("energy_j", tuple(answer["net"]), f"{method}, less the idle windows around each", here),
        Measurement("gross_energy_j", tuple(answer["gross"]), method, here),
    )


def episode_energy(
    folder: Path,
    environment: str,
    seeds: Iterable[int],
    *,
    environment_kwargs: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    window_s: float = WINDOW_S,
    root: Path = ROOT,
) -> Measurement | Absent:
    """episode_energy_j: joules of one episode, policy and environment and idle machine together, one value a window.

    A window is as many whole episodes as it takes to be long enough; each seed is played at least once.

    Raises:
        LilliputError: the artifact or the environment cannot be opened, or they do not fit.
    """
    try:
        counter = open_counter(root)
        window_s = max(window_s, UPDATES_PER_WINDOW * update_interval_s(counter))
    except MissingDependency as error:
        return Absent("episode_energy_j", str(error))
    here = conditions()
    actor, order = open_artifact(folder), tuple(seeds)
    manifest = actor.artifact.manifest
    spec = EnvironmentSpec(environment, manifest.wrappers, dict(environment_kwargs or {}), max_steps)
    source, values, n_played = itertools.cycle(order), [], 0
    with Stage(spec, manifest.observation_space) as stage:

        def play_one() -> int:
            stage.play(next(source), SameAct(actor))
            return 1

        # The first episode also makes the environment.
        play_one()
        while n_played < len(order):
            window = watch(counter, play_one, window_s)
            values.append(window.joules / window.count)
            n_played += window.count
    names = ", ".join(domain.name for domain in counter.domains)
    method = f"measured: RAPL {names} of {root}, {n_played} episodes of {environment}, windows of {window_s:.2g} s up"
    return Measurement("episode_energy_j", tuple(values), method, here)


@final
@dataclass(frozen=True)
class Energy(Meter):
    """Joules of one decision."""

    NAME: ClassVar[str] = "energy"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("energy_j", "gross_energy_j")
    SECONDS: ClassVar[float] = 30.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value a window."""
        return [energy(bench.folder, room.observations()) for bench in room.benches]

    def lacks(self) -> str:
        """A counter that can be read."""
        return no_counter()


@final
@dataclass(frozen=True)
class EpisodeEnergy(Meter):
    """Joules of one episode, with the environment and the idle machine."""

    NAME: ClassVar[str] = "episode_energy"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("episode_energy_j",)
    PLAYS: ClassVar[bool] = True
    SECONDS: ClassVar[float] = 30.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value a window."""
        return [(_of_episodes(bench.folder, bench.cell),) for bench in room.benches]

    def lacks(self) -> str:
        """A counter that can be read."""
        return no_counter()


def _of_episodes(folder: Path, cell: Cell) -> Measurement | Absent:
    kwargs, seeds = cell.task.kwargs, map(int, cell.items)
    return episode_energy(folder, cell.task.id, seeds, environment_kwargs=kwargs, max_steps=cell.max_steps)


def no_counter() -> str:
    """Why energy cannot be read here; empty where it can."""
    try:
        open_counter()
    except MissingDependency as error:
        return str(error)
    return ""
