"""Inference time, memory and energy of artifacts that stand in a study.

Measured alone, and interleaved with each other.
"""

import dataclasses
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lilliput import layers, spaces
from lilliput import policy as policy_file
from lilliput import record as record_file
from lilliput.measurement import QUANTITIES, Absent, Measurement
from lilliput.policy import Policy
from lilliput.record import Cell, Record
from lilliput.study.run import POLICIES, RECORDS, Progress, build, names_of, record_of, split, task

OBSERVATIONS = 1024
TIMED_EPISODES = 5


def cell_of(cell: Cell, quantities: tuple[str, ...]) -> Cell:
    """The cell that times the artifact of `cell`."""
    kept = [pair for pair in cell.versions if not pair[0].startswith("quantity.")]
    measured = [(f"quantity.{name}", str(QUANTITIES[name].version)) for name in quantities]
    seeds = cell.episode_seeds[:TIMED_EPISODES]
    return dataclasses.replace(
        cell, quantities=quantities, episode_seeds=seeds, versions=tuple(sorted([*kept, *measured]))
    )


def run_all(cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
    """The records of timing cells, in order; those of one policy and format that are missing are measured in one run.

    Each of them is interleaved with the baseline of its policy and format, which is what its ratio is taken against.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.policy, cell.environment, cell.format].append(cell)
    for group in groups.values():
        found = {cell: record_of(folder, cell) for cell in group}
        missing = [cell for cell in group if (record := found[cell]) is None or record.status == "failed"]
        if missing:
            found |= _measure(missing, folder, progress)
        yield from (record for record in found.values() if record is not None)


def _measure(cells: list[Cell], folder: Path, progress: Progress) -> dict[Cell, Record | None]:
    from lilliput.compress import Context
    from lilliput.measure import energy, episode_energy, episode_return, latency, memory

    first = cells[0]
    policy = policy_file.read(folder / POLICIES / f"{first.policy}{policy_file.SUFFIX}")
    settings = task(first)
    context = Context.from_environment(policy, first.environment, seed=first.compression_seed, **settings)
    observations = context.observations(OBSERVATIONS)
    baseline = dataclasses.replace(
        first, recipe="", versions=tuple(v for v in first.versions if not v[0].startswith("step."))
    )
    artifacts = [build(cell, policy, folder, progress) for cell in (baseline, *cells)]
    found: dict[Cell, Record | None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        identity = _identity(policy, first.format, Path(scratch))
        start = time.perf_counter()
        baseline_times, *times = latency(artifacts, observations)
        spent = (time.perf_counter() - start) / len(cells)
        for number, (cell, artifact, seconds) in enumerate(zip(cells, artifacts[1:], times, strict=True)):
            progress("timing", number, len(cells))
            start = time.perf_counter()
            measured: list[Measurement | Absent] = [
                seconds,
                dataclasses.replace(baseline_times, quantity="baseline_latency_s"),
                *memory(artifact, observations, identity=identity),
                *energy(artifact, observations),
                episode_energy(
                    artifact, cell.environment, cell.episode_seeds, environment_kwargs=settings["environment_kwargs"]
                ),
                *episode_return(artifact, cell.environment, cell.episode_seeds, **settings),
            ]
            done, absent = split(measured, cell.quantities)
            elapsed = round(spent + time.perf_counter() - start, 3)
            record = Record(
                cell, "done", "", done, absent, names_of(policy), str(artifact.relative_to(folder)), elapsed
            )
            record_file.write(record, folder / RECORDS)
            found[cell] = record
    progress("timing", len(cells), len(cells))
    return found


def _identity(policy: Policy, format_: str, scratch: Path) -> Path:
    """An artifact with the policy's spaces and next to nothing between them: what its runtime alone takes."""
    from lilliput.export import export

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
    return export(empty, format_, scratch / "identity").folder
