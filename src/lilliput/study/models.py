"""The wing of models, as a study sees it."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final, get_args

import numpy as np

from lilliput.errors import LilliputError, NotApplicable, closest
from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Meter
from lilliput.measure.models import AnswerEnergy, AnswerMemory, AnswerTime, ItemScores, ModelSize
from lilliput.measurement import Measurement
from lilliput.record import Cell
from lilliput.study.wing import Pairs, Progress, Wing
from lilliput.study.workspace import Workspace
from lilliput.task import DRAWN_SCORE, ITEM_SCORE, Task

if TYPE_CHECKING:
    from lilliput.models.model import Model

BUILD_S = 2.0
"""Compressing a model of some hundred thousand weights on some thousand tokens, exporting and checking it."""

_VOCABULARY = "vocabulary"
"""The argument of a task that says among how many tokens chance chooses."""

_PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime")


@final
@dataclass(frozen=True)
class Models(Wing):
    """Models that are asked questions, judged by the values of the items."""

    NAME: ClassVar[str] = "models"
    SUBJECT: ClassVar[str] = "model"
    TASK: ClassVar[str] = "task"
    TASKS: ClassVar[str] = "tasks"
    FLOOR: ClassVar[str] = "chance"
    ITEMS: ClassVar[str] = "items"
    TOLD: ClassVar[tuple[str, ...]] = ("revision", "module", "family", "picture")
    QUANTITIES: ClassVar[tuple[str, ...]] = (
        ITEM_SCORE, "model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters",
    )  # fmt: skip
    CALIBRATES_ON_TASK: ClassVar[bool] = False

    @property
    def formats(self) -> tuple[str, ...]:
        """See `Wing.formats`."""
        from lilliput.models.export import EXPORTERS

        return tuple(reversed(EXPORTERS))

    @property
    def meters(self) -> Sequence[Meter]:
        """See `Wing.meters`."""
        return (ItemScores(), ModelSize(), AnswerTime(), AnswerMemory(), AnswerEnergy())

    def canonical(self, recipe: str) -> str:
        """See `Wing.canonical`."""
        from lilliput.models.compress import format_recipe, parse

        return format_recipe(parse(recipe))

    def check(self, subject: "Model", recipe: str, task: Task) -> None:
        """Every step is for models of its family, every calibration source is there and is not what the task asks."""
        from lilliput.models import experiment
        from lilliput.models.compress import check, parse
        from lilliput.models.task import parse_task

        check(subject, parse(recipe))
        experiment.check_sources(recipe, parse_task(task.id))

    def step_versions(self, recipe: str) -> Mapping[str, int]:
        """See `Wing.step_versions`."""
        from lilliput.models.compress import parse

        return {step.NAME: step.VERSION for step in parse(recipe)}

    def packages(self, task: Task, format_: str) -> Pairs:
        """The task's version, the content of its files, and the libraries that answer."""
        from lilliput.models.device import device
        from lilliput.models.task import parse_task

        asked = parse_task(task.id)
        found = {f"task.{asked.NAME}": str(asked.VERSION), "task.data": asked.data_digest[:16]}
        if format_ == "transformers" and (where := device()) != "cpu":
            found["device"] = where
        for name in _PACKAGES:
            try:
                found[f"package.{name}"] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return tuple(sorted(found.items()))

    def load(self, source: str, told: Mapping[str, Any]) -> "Model":
        """See `Wing.load`."""
        from lilliput.models.graph import as_graph
        from lilliput.models.load import load_model
        from lilliput.models.model import Family

        family, known = str(told.get("family") or ""), get_args(Family)
        if family and family not in known:
            raise LilliputError(f"family is {family[:40]!r}; {closest(family, known)}allowed: {', '.join(known)}")
        found = load_model(source, **told)
        return found if found.family == "language" else as_graph(found)

    def is_named(self, source: str) -> bool:
        """A hub id, or a name of timm or torchvision."""
        from lilliput.models.load import is_named

        return is_named(source)

    def names(self, subject: "Model") -> Pairs:
        """See `Wing.names`."""
        from lilliput.models import experiment

        return experiment.names(subject)

    def tasks(self, subject: "Model", source: str, named: Sequence[Task]) -> tuple[Task, ...]:
        """The named tasks that it can be asked, which it was asked one item of."""
        from lilliput.models import experiment
        from lilliput.models.task import TASKS, format_task, parse_task

        arguments = {} if subject.tokenizer is None else {_VOCABULARY: subject.tokenizer.n_tokens}
        fitting, reasons, others = [], [], []
        for one in named:
            asked = parse_task(one.id)
            if subject.family != asked.FAMILY:
                others.append(f"{asked.NAME} is asked of models of {asked.FAMILY}")
                continue
            try:
                experiment.check_task(subject, asked)
                fitting.append(Task.of(format_task(asked), arguments, score=DRAWN_SCORE if asked.DRAWN else ITEM_SCORE))
            except NotApplicable as error:
                reasons.append(str(error))
            except LilliputError as error:
                raise LilliputError(f"{source}: {error}") from error
        if not fitting and reasons:
            raise LilliputError(f"{source}: {'; '.join(reasons)}")
        if not fitting:
            own = ", ".join(name for name, task in TASKS.items() if subject.family == task.FAMILY)
            raise LilliputError(
                f"{source} is a model of {subject.family}; its tasks: {own}" + "".join(f"; {one}" for one in others)
            )
        return tuple(fitting)

    def caveats(self, subject: "Model", task: Task) -> tuple[str, ...]:
        """What its loader guessed, or found quantized already, and what the task takes for granted."""
        from lilliput.models import experiment
        from lilliput.models.task import parse_task

        return experiment.caveats(subject, parse_task(task.id))

    def items(self, task: Task, seed: int, n: int) -> tuple[int, ...]:
        """The first n of the task's items, or all that there are; all draws where a metric is no mean of items."""
        n_all = len(self._chance(task))
        return tuple(range(n_all if task.score == DRAWN_SCORE else min(n, n_all)))

    def settings(self, given: Mapping[str, int]) -> Pairs:
        """There are none."""
        return ()

    def file(self, here: Workspace, digest: str) -> Path:
        """See `Wing.file`."""
        return here.folder / "models" / f"{digest}.model"

    def keep(self, subject: "Model", here: Workspace) -> None:
        """See `Wing.keep`."""
        from lilliput.models import file

        path = self.file(here, subject.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            file.write(subject, path)

    def read(self, here: Workspace, digest: str) -> "Model":
        """See `Wing.read`."""
        return _read(self.file(here, digest), digest)

    def build(self, subject: "Model", cell: Cell, here: Workspace, folder: Path, progress: Progress) -> None:
        """See `Wing.build`."""
        from lilliput.models import experiment

        experiment.build(subject, cell.recipe, cell.format, folder, draw=cell.compression_seed, progress=progress)

    def said(self, subject: "Model", folder: Path) -> tuple[str, ...]:
        """See `Wing.said`."""
        from lilliput.models.export import read_artifact

        return read_artifact(folder).provenance.said

    def is_sound(self, folder: Path) -> bool:
        """See `Wing.is_sound`."""
        from lilliput.models import experiment

        return experiment.is_sound(folder)

    def floor(self, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """What an answer by chance would have."""
        every = self._chance(cell.task)
        values = tuple(float(every[int(item)]) for item in cell.items)
        return (Measurement(cell.task.score, values, "counted: an answer by chance", conditions()),)

    def doubts(self, cell: Cell) -> tuple[str, ...]:
        """None: items are those of files."""
        return ()

    def can_answer(self, subject: "Model") -> bool:
        """False: its artifact without a recipe is the baseline."""
        return False

    def answer(self, subject: "Model", cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """See `Wing.answer`."""
        from lilliput.models import experiment
        from lilliput.models.task import parse_task

        values = experiment.answer(subject, parse_task(cell.task.id), tuple(map(int, cell.items)), progress)
        return (Measurement(cell.task.score, tuple(map(float, values)), "measured: the model itself", conditions()),)

    def observations(self, subject: "Model", cell: Cell) -> np.ndarray:
        """One that stands for none: an artifact is timed on its golden inputs."""
        return np.zeros((1, 1), np.float32)

    def identity(self, subject: "Model", format_: str, folder: Path) -> Path:
        """An artifact that gives its inputs back."""
        from lilliput.models import experiment

        return experiment.identity(subject, format_, folder / "identity")

    def item_s(self, subject: "Model | None", cell: Cell) -> float:
        """Wall seconds of one item; chance takes none."""
        from lilliput.models import experiment
        from lilliput.models.task import parse_task

        return 0.0 if subject is None else experiment.item_s(subject, parse_task(cell.task.id))

    def build_s(self, cell: Cell) -> float:
        """See `Wing.build_s`."""
        return BUILD_S

    def calibration_items(self, recipe: str) -> int:
        """0: calibration text is no item of a task."""
        return 0

    def artifact_bytes(self, subject: "Model") -> int:
        """Its weights, its tokenizer and its golden answers."""
        return subject.model_bytes + (1 << 20)

    def _chance(self, task: Task) -> np.ndarray:
        from lilliput.models.task import parse_task

        return parse_task(task.id).floor(int(task.kwargs.get(_VOCABULARY, 0))).values


@functools.lru_cache(maxsize=1)
def _read(path: Path, digest: str) -> "Model":
    """The model in the file; kept, because a process runs many cells of one model."""
    from lilliput.models import file

    del digest
    return file.read(path)


MODELS = Models()
"""The one there is: it has no state."""
