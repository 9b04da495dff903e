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

from lilliput import record as record_file
from lilliput.measurement import QUANTITIES, Absent, Measurement
from lilliput.policies import layers, spaces
from lilliput.policies import policy as policy_file
from lilliput.policies.policy import Policy
from lilliput.record import Cell, Record
from lilliput.study.run import Progress, attempt, build, names_of, record_of, seeds_of, split, task
from lilliput.study.workspace import Workspace

OBSERVATIONS = 1024
TIMED_EPISODES = 5

IN_TURNS = 12
"""Artifacts that are timed in one run beside their baseline: more would spread a ratio's two sides over minutes."""

_TOGETHER = {
    "latency_s": ("latency_s", "baseline_latency_s"),
    "peak_memory_bytes": ("peak_memory_bytes", "identity_memory_bytes", "interpreter_memory_bytes"),
    "energy_j": ("energy_j", "gross_energy_j"),
    "gross_energy_j": ("energy_j", "gross_energy_j"),
}
"""What is measured with a quantity because it says nothing alone."""


def asked(quantities: Sequence[str]) -> tuple[str, ...]:
    """Those that must be measured alone, with what belongs to them, in the order of QUANTITIES."""
    wanted = {q for name in quantities if QUANTITIES[name].timing for q in _TOGETHER.get(name, (name,))}
    return tuple(name for name in QUANTITIES if name in wanted)


def cell_of(cell: Cell, quantities: tuple[str, ...]) -> Cell:
    """The cell that times the artifact of `cell`."""
    kept = [pair for pair in cell.versions if not pair[0].startswith("quantity.")]
    measured = [(f"quantity.{name}", str(QUANTITIES[name].version)) for name in quantities]
    items = cell.items[:TIMED_EPISODES]
    return dataclasses.replace(cell, quantities=quantities, items=items, versions=tuple(sorted([*kept, *measured])))


def groups(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """The cells that are measured in one run: of one policy, environment, format and set of quantities."""
    found: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.subject, cell.task, cell.format, cell.quantities].append(cell)
    return tuple(tuple(group[n : n + IN_TURNS]) for group in found.values() for n in range(0, len(group), IN_TURNS))


def run_all(cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
    """The records of timing cells, in order; those of one policy and format that are missing are measured in one run.

    Each of them is interleaved with the baseline of its policy and format, which is what its ratio is taken against.
    """
    found = {cell: record_of(folder, cell) for cell in cells}
    missing = [cell for cell, record in found.items() if record is None or record.status == "failed"]
    for group in groups(missing):
        found |= {record.cell: record for record in measure(group, folder, progress)}
    yield from (record for record in found.values() if record is not None)


def measure_or_record(cells: Sequence[Cell], folder: Path, progress: Progress) -> tuple[Record, ...]:
    """The records of one group; where it fails, each cell's says so."""
    found = attempt(cells, folder, lambda: measure(cells, folder, progress))
    for record in found:
        if record.status != "done":
            record_file.write(record, Workspace(folder).records)
    return found


def measure(cells: Sequence[Cell], folder: Path, progress: Progress) -> tuple[Record, ...]:
    """The records of one group of cells, measured in turns with their baseline; they stand in the folder too."""
    from lilliput.measure import latency
    from lilliput.policies.compress import Context

    first = cells[0]
    policy = policy_file.read(Workspace(folder).policy(first.subject))
    context = Context.from_environment(policy, first.task.id, seed=first.compression_seed, **task(first))
    observations = context.observations(OBSERVATIONS)
    unpressed = tuple(pair for pair in first.versions if not pair[0].startswith("step."))
    baseline = dataclasses.replace(first, recipe="", compression_seed=0, versions=unpressed)
    artifacts = [build(cell, policy, folder, progress) for cell in (baseline, *cells)]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        identity = _identity(policy, first.format, Path(scratch)) if "peak_memory_bytes" in first.quantities else None
        start = time.perf_counter()
        times = latency(artifacts, observations) if "latency_s" in first.quantities else ()
        spent = (time.perf_counter() - start) / len(cells)
        for number, (cell, artifact) in enumerate(zip(cells, artifacts[1:], strict=True)):
            progress("timing", number, len(cells))
            start = time.perf_counter()
            measured = list(_alone(cell, artifact, observations, identity))
            if times:
                measured += [times[number + 1], dataclasses.replace(times[0], quantity="baseline_latency_s")]
            done, absent = split(measured, cell.quantities)
            elapsed = round(spent + time.perf_counter() - start, 3)
            place = str(artifact.relative_to(folder))
            record = Record(cell, "done", "", done, absent, names_of(policy), place, elapsed)
            record_file.write(record, Workspace(folder).records)
            found.append(record)
    progress("timing", len(cells), len(cells))
    return tuple(found)


def _alone(
    cell: Cell, artifact: Path, observations: np.ndarray, identity: Path | None
) -> Iterator[Measurement | Absent]:
    """What is asked for and not taken in turns: memory, energy, the time and energy of whole episodes."""
    from lilliput.measure import energy, episode_energy, episode_return, memory

    settings = task(cell)
    if identity is not None:
        yield from memory(artifact, observations, identity=identity)
    if "energy_j" in cell.quantities:
        yield from energy(artifact, observations)
    if "episode_energy_j" in cell.quantities:
        given = {name: settings[name] for name in ("environment_kwargs", "max_steps")}
        yield episode_energy(artifact, cell.task.id, seeds_of(cell), **given)
    if "episode_time_s" in cell.quantities:
        yield from episode_return(artifact, cell.task.id, seeds_of(cell), **settings)


def _identity(policy: Policy, format_: str, scratch: Path) -> Path:
    """An artifact with the policy's spaces and next to nothing between them: what its runtime alone takes."""
    from lilliput.policies.export import export

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
