"""Everything that can be measured on one artifact that was exported before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.measure import energy, episode_return, episode_time, latency, memory, size
from lilliput.measure.meter import Bench, Room
from lilliput.measurement import Absent, Measurement
from lilliput.models.export import read_artifact as read_model
from lilliput.policies.artifact import golden_observations, read_artifact
from lilliput.policies.play import SeedPlan
from lilliput.record import Cell
from lilliput.study.models import MODELS
from lilliput.study.wing import Progress
from lilliput.task import Task

TIMED_EPISODES = 10


def measure_artifact(
    folder: Path,
    environment: str | None,
    environment_kwargs: Mapping[str, Any],
    n_episodes: int,
    seed: int,
    progress: Progress,
    max_steps: int | None = None,
) -> tuple[Measurement | Absent, ...]:
    """Sizes, inference time, memory and energy; with an environment also returns, on the seeds that `compare` plays.

    Without an environment the artifact decides on its golden observations.
    """
    artifact = read_artifact(folder)
    observations = golden_observations(artifact)
    found: list[Measurement | Absent] = [*size(artifact)]
    if environment is not None:
        seeds = SeedPlan(seed).episodes("confirmation", n_episodes)
        task: dict[str, Any] = {"environment_kwargs": environment_kwargs, "max_steps": max_steps}
        told = lambda done, total: progress("episodes", done, total)  # noqa: E731
        found += episode_return(folder, environment, seeds, **task, progress=told)
        told = lambda done, total: progress("episodes that are timed", done, total)  # noqa: E731
        found.append(episode_time(folder, environment, seeds[:TIMED_EPISODES], **task, progress=told))
    found += latency([folder], observations)
    found += [m for m in memory(folder, observations) if m.quantity != "identity_memory_bytes"]
    found += energy(folder, observations)
    return tuple(found)


def measure_model(folder: Path) -> tuple[Measurement | Absent, ...]:
    """Sizes, time of an answer, memory and energy of a model's artifact, which answers its golden inputs."""
    cell = Cell("", "", Task(""), format=read_model(folder).format, wing=MODELS.NAME)
    room = Room((Bench(folder, cell),), lambda: np.zeros((1, 1), np.float32))
    found = [one for meter in MODELS.meters if not meter.PLAYS for one in meter.measure(room)[0]]
    return tuple(one for one in found if one.quantity != "baseline_latency_s")
