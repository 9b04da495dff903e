"""What measures an artifact of a model: its answers to a task, item by item, and what is counted on its files."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.measure.conditions import conditions
from lilliput.measure.energy import energy, no_counter
from lilliput.measure.memory import bare, no_status, peak_bytes
from lilliput.measure.meter import Measured, Meter, Progress, Room
from lilliput.measure.process import run_script
from lilliput.measurement import Absent, Measurement
from lilliput.task import DRAWN_SCORE, ITEM_SCORE

_ROUNDS, _SAMPLES = 20, 5
"""An answer of a model takes milliseconds."""

_NO_OBSERVATIONS = np.zeros((1, 1), np.float32)
"""Artifacts of models bring their own inputs."""


@final
@dataclass(frozen=True)
class ItemScores(Meter):
    """The value of each item, or of each draw of items."""

    NAME: ClassVar[str] = "item_score"
    QUANTITIES: ClassVar[tuple[str, ...]] = (ITEM_SCORE, DRAWN_SCORE)
    ALWAYS: ClassVar[tuple[str, ...]] = (DRAWN_SCORE,)
    PLAYS: ClassVar[bool] = True

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value an item of the cell's, as the score that its task has."""
        from lilliput.models import experiment
        from lilliput.models.task import parse_task

        found = []
        for bench in room.benches:
            told = None if room.progress is None else _untitled(room.progress)
            items, task = tuple(map(int, bench.cell.items)), parse_task(bench.cell.task.id)
            values = experiment.measure(bench.folder, task, items, told)
            method = f"measured: {bench.cell.task.id}, asked of the {bench.cell.format} artifact"
            found.append((Measurement(bench.cell.task.score, tuple(map(float, values)), method, conditions()),))
        return found


@final
@dataclass(frozen=True)
class ModelSize(Meter):
    """What the manifest counted and the files take."""

    NAME: ClassVar[str] = "model_size"
    QUANTITIES: ClassVar[tuple[str, ...]] = (
        "model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters", "zipped_bytes", "pruned_still_zero",
        "two_in_four",
    )  # fmt: skip
    ALWAYS: ClassVar[tuple[str, ...]] = ("zipped_bytes", "pruned_still_zero", "two_in_four")

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value each; the last two of an artifact whose weights were pruned."""
        from lilliput.models.export import read_artifact

        found = []
        for bench in room.benches:
            artifact = read_artifact(bench.folder)
            numbers: list[tuple[str, float, str]] = [
                ("model_bytes", artifact.model_bytes, "counted: packed weights"),
                ("file_bytes", artifact.file_bytes, f"counted: files of {artifact.format}"),
                ("n_parameters", artifact.n_parameters, "counted: weights"),
                ("n_nonzero_parameters", artifact.n_nonzero_parameters, "counted: weights"),
                ("zipped_bytes", artifact.zipped_bytes, f"counted: a zip of the files of {artifact.format}"),
            ]
            for name, pair in (("pruned_still_zero", artifact.zeros), ("two_in_four", artifact.fours)):
                if pair is not None and pair[0]:
                    numbers.append((name, pair[1] / pair[0], f"counted: {pair[1]:,} of {pair[0]:,} in the artifact"))
            found.append(tuple(Measurement(name, (float(n),), how, conditions()) for name, n, how in numbers))
        return found


@final
@dataclass(frozen=True)
class AnswerTime(Meter):
    """The time of one answer, all artifacts in turns with their baseline."""

    NAME: ClassVar[str] = "answer_time"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("latency_s", "baseline_latency_s")
    IN_TURNS: ClassVar[bool] = True
    SECONDS: ClassVar[float] = 2.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """Each artifact's own values, and the baseline's, of one picture, text of 16 tokens or what it takes."""
        folders = [bench.folder for bench in room.benches]
        settings: dict[str, object] = {"rounds": _ROUNDS, "samples": _SAMPLES, "sample_s": 1e-5, "models": True}
        first = [] if room.baseline is None else [room.baseline]
        answers = run_script("latency_process.py", [*first, *folders], _NO_OBSERVATIONS, settings)
        method = (
            f"measured: one answer at a time, one thread on one core, {_ROUNDS} rounds of {_SAMPLES}, "
            f"{len(answers)} artifacts in turns"
        )
        here = conditions()
        found = [Measurement("latency_s", tuple(one["values"]), method, here) for one in answers]
        if room.baseline is None:
            return [(own, Absent("baseline_latency_s", "there is no baseline to take turns with")) for own in found]
        baseline = dataclasses.replace(found[0], quantity="baseline_latency_s")
        return [(own, baseline) for own in found[1:]]


@final
@dataclass(frozen=True)
class AnswerMemory(Meter):
    """The memory of a process that only answers, of one that gives inputs back, and of a bare interpreter."""

    NAME: ClassVar[str] = "answer_memory"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("peak_memory_bytes", "identity_memory_bytes", "interpreter_memory_bytes")
    IN_TURNS: ClassVar[bool] = True
    SECONDS: ClassVar[float] = 1.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value each, of a fresh process; the last two are the same for all."""
        lacks = no_status()
        if lacks:
            return [tuple(Absent(name, lacks) for name in self.QUANTITIES) for _ in room.benches]
        here, method = conditions(), "measured: VmHWM of a fresh process"

        def peak(name: str, folder: Path | None) -> Measurement:
            taken = bare() if folder is None else peak_bytes(folder, _NO_OBSERVATIONS, models=True)
            return Measurement(name, (taken,), method, here)

        shared: list[Measurement | Absent] = [peak("interpreter_memory_bytes", None)]
        try:
            folder = None if room.identity is None else room.identity()
        except LilliputError as error:
            shared.append(Absent("identity_memory_bytes", str(error)))
        else:
            shared += [] if folder is None else [peak("identity_memory_bytes", folder)]
        return [(peak("peak_memory_bytes", bench.folder), *shared) for bench in room.benches]


@final
@dataclass(frozen=True)
class AnswerEnergy(Meter):
    """Joules of one answer."""

    NAME: ClassVar[str] = "answer_energy"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("energy_j", "gross_energy_j")
    SECONDS: ClassVar[float] = 30.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value a window."""
        return [energy(bench.folder, _NO_OBSERVATIONS, models=True) for bench in room.benches]

    def lacks(self) -> str:
        """A counter that can be read."""
        return no_counter()


def _untitled(progress: Progress) -> Callable[[str, int, int], None]:
    return lambda what, done, of: progress(done, of)
