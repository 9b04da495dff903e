"""Everything that can be measured on one artifact that was exported before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput.measure import energy, episode_return, episode_time, latency, memory, size
from lilliput.measurement import Absent, Measurement
from lilliput.policies.artifact import golden_observations, read_artifact
from lilliput.policies.play import SeedPlan
from lilliput.study.wing import Progress

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
