"""What a wing is to a study: which subjects there are, on which tasks they are judged, how artifacts are made of them.

A study, its records and its report know no policy and no model: they talk to a wing. The wings there are stand in
`table`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from lilliput.measure.meter import Meter
from lilliput.measurement import Measurement
from lilliput.record import Cell
from lilliput.study.workspace import Workspace
from lilliput.task import Task

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and of how much."""

Pairs = tuple[tuple[str, str], ...]


@runtime_checkable
class Subject(Protocol):
    """What is made small."""

    @property
    def digest(self) -> str:
        """What an answer depends on, in a name."""
        ...


class Wing(ABC):
    """One kind of subject. A wing is a frozen dataclass without state.

    Attributes:
        NAME: as records spell it, and the key of a study file that lists the subjects.
        SUBJECT: what one subject is called.
        TASK, TASKS: what a task is called, and the key of a study file that names tasks.
        FLOOR: who answers without knowing anything.
        ITEMS: the key of a study file that says how many items there are.
        SETTINGS: keys of a study file, with an integer each, that say what else is not as usual.
        TOLD: what a study file may tell the loader of a subject, beyond its source.
        QUANTITIES: what a study measures unless it says what.
        CALIBRATES_ON_TASK: whether a recipe may use what the subject meets in its task, so that an artifact is made for
            each.
        TRAINS: whether a study file may ask for subjects that are trained first.
    """

    NAME: ClassVar[str]
    SUBJECT: ClassVar[str]
    TASK: ClassVar[str]
    TASKS: ClassVar[str]
    FLOOR: ClassVar[str]
    ITEMS: ClassVar[str]
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    TOLD: ClassVar[tuple[str, ...]] = ()
    QUANTITIES: ClassVar[tuple[str, ...]]
    CALIBRATES_ON_TASK: ClassVar[bool] = True
    TRAINS: ClassVar[bool] = False

    @property
    @abstractmethod
    def formats(self) -> tuple[str, ...]:
        """The formats of its artifacts."""

    @property
    @abstractmethod
    def meters(self) -> Sequence[Meter]:
        """What measures its artifacts; of two that give a quantity the first."""

    @abstractmethod
    def canonical(self, recipe: str) -> str:
        """The one text of a recipe.

        Raises:
            LilliputError: there is no such recipe.
        """

    @abstractmethod
    def check(self, subject: Any, recipe: str, task: Task) -> None:
        """Checks what can be known before any cell runs: the steps are for such a subject, what they read is there, and
        is none of what the task asks.

        Raises:
            LilliputError: they are not, or it is not.
        """

    @abstractmethod
    def step_versions(self, recipe: str) -> Mapping[str, int]:
        """The version of each step of a recipe, by its name."""

    @abstractmethod
    def packages(self, task: Task, format_: str) -> Pairs:
        """Packages, with their versions, that answers to the task depend on, and those that run the format."""

    @abstractmethod
    def load(self, source: str, told: Mapping[str, Any]) -> Subject:
        """The subject in a file or folder; `told` is what the source does not say, by its name in `TOLD`.

        Raises:
            LilliputError: it cannot be read.
        """

    @abstractmethod
    def is_named(self, source: str) -> bool:
        """Whether the source is a subject though it is no path: what a hub or a library calls so."""

    @abstractmethod
    def names(self, subject: Any) -> Pairs:
        """What people call it, for tables: `source`, `algorithm`, `trained_on`."""

    @abstractmethod
    def tasks(self, subject: Any, source: str, named: Sequence[Task]) -> tuple[Task, ...]:
        """What it is judged on: those of the named tasks that it fits; its own where none is named.

        Raises:
            LilliputError: there is none, or the only one does not fit.
        """

    @abstractmethod
    def caveats(self, subject: Any, task: Task) -> tuple[str, ...]:
        """What a reader of its results on the task has to know, a sentence each."""

    @abstractmethod
    def items(self, task: Task, seed: int, n: int) -> tuple[int | str, ...]:
        """The first n items of the task that nothing is calibrated, trained or chosen on."""

    @abstractmethod
    def settings(self, given: Mapping[str, int]) -> Pairs:
        """What a cell says of the settings that were given; nothing of one that is as usual."""

    @abstractmethod
    def file(self, here: Workspace, digest: str) -> Path:
        """Where the subject of that digest is kept in a folder: one file, which may be sent to another machine."""

    @abstractmethod
    def keep(self, subject: Any, here: Workspace) -> None:
        """Writes that file."""

    @abstractmethod
    def read(self, here: Workspace, digest: str) -> Subject:
        """The subject that was kept."""

    @abstractmethod
    def build(self, subject: Any, cell: Cell, here: Workspace, folder: Path, progress: Progress) -> None:
        """Writes the artifact into a new folder, whole or not at all.

        Raises:
            NotApplicable: a step has nothing to do on this subject.
            LilliputError: the recipe cannot be honoured, or the artifact does not do what it should.
        """

    @abstractmethod
    def said(self, subject: Any, folder: Path) -> tuple[str, ...]:
        """What the steps of an artifact's recipe said of it, a sentence each; it stands in the artifact."""

    @abstractmethod
    def is_sound(self, folder: Path) -> bool:
        """Whether an artifact that stands there does what it should."""

    @abstractmethod
    def floor(self, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """How the floor answers the items.

        Raises:
            LilliputError: the task cannot be had.
        """

    @abstractmethod
    def doubts(self, cell: Cell) -> tuple[str, ...]:
        """What the floor's record says of the task itself, a sentence each: that items are not the same to all, say."""

    @abstractmethod
    def can_answer(self, subject: Any) -> bool:
        """Whether the subject itself, without an artifact, answers in bearable time: another arithmetic's baseline."""

    @abstractmethod
    def answer(self, subject: Any, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        """How the subject itself answers the items."""

    @abstractmethod
    def observations(self, subject: Any, cell: Cell) -> np.ndarray:
        """What an artifact decides on where its time, memory and energy are measured."""

    @abstractmethod
    def identity(self, subject: Any, format_: str, folder: Path) -> Path:
        """An artifact of that format with next to nothing in it: what its runtime alone takes."""

    @abstractmethod
    def item_s(self, subject: Any | None, cell: Cell) -> float:
        """Seconds that one item takes, by a few of them; None: of the floor."""

    @abstractmethod
    def build_s(self, cell: Cell) -> float:
        """About the seconds that an artifact takes to build, but for items that it calibrates on."""

    @abstractmethod
    def calibration_items(self, recipe: str) -> int:
        """About how many items a recipe calibrates on."""

    @abstractmethod
    def artifact_bytes(self, subject: Any) -> int:
        """About what an artifact takes on disk."""
