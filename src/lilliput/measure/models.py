"""What measures an artifact of a model: its answers to a task, item by item, and what is counted on its files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Measured, Meter, Progress, Room
from lilliput.measurement import Measurement
from lilliput.task import ITEM_SCORE


@final
@dataclass(frozen=True)
class ItemScores(Meter):
    """The value of each item."""

    NAME: ClassVar[str] = "item_score"
    QUANTITIES: ClassVar[tuple[str, ...]] = (ITEM_SCORE,)
    PLAYS: ClassVar[bool] = True

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value an item of the cell's."""
        from lilliput.models import experiment
        from lilliput.models.task import parse_task

        found = []
        for bench in room.benches:
            told = None if room.progress is None else _untitled(room.progress)
            items, task = tuple(map(int, bench.cell.items)), parse_task(bench.cell.task.id)
            # Here too: an artifact that was made for one task is asked others.
            experiment.check_sources(bench.cell.recipe, [task])
            values = experiment.measure(bench.folder, task, items, told)
            method = f"measured: {bench.cell.task.id}, asked of the {bench.cell.format} artifact"
            found.append((Measurement(ITEM_SCORE, tuple(map(float, values)), method, conditions()),))
        return found


@final
@dataclass(frozen=True)
class ModelSize(Meter):
    """What the manifest counted and the files take."""

    NAME: ClassVar[str] = "model_size"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters")

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value each."""
        from lilliput.models.export import read_artifact

        found = []
        for bench in room.benches:
            artifact = read_artifact(bench.folder)
            numbers = (artifact.model_bytes, artifact.file_bytes, artifact.n_parameters, artifact.n_nonzero_parameters)
            methods = ("counted: packed weights", f"counted: files of {artifact.format}", "counted", "counted")
            found.append(
                tuple(
                    Measurement(name, (float(number),), method if ":" in method else f"{method}: weights", conditions())
                    for name, number, method in zip(self.QUANTITIES, numbers, methods, strict=True)
                )
            )
        return found


def _untitled(progress: Progress) -> Callable[[str, int, int], None]:
    return lambda what, done, of: progress(done, of)
