"""What a task is: the items that a model answers, a value an item, and what chance would give."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.diffusion import predicted
from lilliput.models.images import Part, Pictures, read_pictures
from lilliput.models.model import Family, Model
from lilliput.models.picture import batch_of, picture_of, size_of
from lilliput.models.session import Session
from lilliput.parameter import check_integer

MAX_SHARED = 0.05
"""Of the pictures that judge: data sets hold some twice."""


@final
@dataclass(frozen=True, eq=False)
class Answers:
    """How a model did.

    Attributes:
        values: one an item, in the items' order, or one a shared bootstrap weight where the metric is no mean of items
            (mAP, Frechet distance: value 0 is the metric itself). More is better, always.
        items: the names of what was asked: two models are paired where these are equal.
    """

    values: Float64[np.ndarray, " items"]
    items: tuple[str, ...]


class Task(ABC):
    """One thing to be good at. A task is a frozen dataclass whose fields are its literal parameters.

    Attributes:
        NAME: as studies and the command line spell it.
        VERSION: raised whenever the meaning of the values changes.
        SCORE: what people call the number that `score` gives.
        FAMILY: whose task it is.
        DRAWN: whether values are the metric and its draws under shared weights, instead of one an item.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    SCORE: ClassVar[str]
    FAMILY: ClassVar[Family]
    DRAWN: ClassVar[bool] = False

    @abstractmethod
    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The value of every item.

        Args:
            model: whose tokenizer, ports or labels say how to ask.
            session: what answers: the model itself, or an artifact of it.
            progress: called with how many items are answered and of how many.

        Raises:
            LilliputError: the items cannot be had, or the model is not one that can answer.
        """

    @abstractmethod
    def check(self, model: Model, session: Session) -> None:
        """Check that the model can be asked, before it is compressed: by its ports, and by its answer to one item.

        Raises:
            NotApplicable: it is none that the task is for.
            LilliputError: the items cannot be had.
        """

    def guesses(self, model: Model) -> tuple[str, ...]:
        """What is taken for granted when the model is asked, a sentence each.

        Raises:
            LilliputError: it cannot be asked.
        """
        return ()

    @abstractmethod
    def floor(self, n_tokens: int = 0) -> Answers:
        """The same of an answer by chance, for the same items; `n_tokens`: of a language model's vocabulary."""

    @abstractmethod
    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """What papers print of these values, such as the perplexity or the accuracy."""

    @abstractmethod
    def check_source(self, source: str) -> None:
        """Check that a model that was calibrated on that source may be judged by this task.

        Raises:
            LilliputError: what is asked stands in what calibrates.
        """

    @property
    @abstractmethod
    def data_digest(self) -> str:
        """sha256 of the files that the items come from: part of what is asked."""


def check_part(task: Task, part: Part, n: int | None) -> None:
    """Check that pictures of that part, and so many of them, may judge.

    Raises:
        LilliputError: they may not.
    """
    if part == "calibration":
        raise LilliputError(f"{task.NAME}: part 'calibration' calibrates; judge on 'held_out' or 'whole'")
    if n is not None:
        check_integer(task, "n", n, 2, 1 << 30)


def check_apart(task: Task, judging: Pictures, source: str) -> None:
    """Check that the calibration pictures of a source are others than those that judge, wherever their files lie.

    Raises:
        LilliputError: too many are the same: byte by byte, or pixel by pixel where one file holds all of one side.
    """
    calibrating = read_pictures(source, "calibration")
    known = set(calibrating.digests(judging))
    share = sum(digest in known for digest in judging.digests(calibrating)) / max(len(judging), 1)
    if share > MAX_SHARED:
        raise LilliputError(
            f"{task.NAME}: {share:.0%} of the pictures of {judging.source!r} also stand in the calibration source "
            f"{source!r}: a model would be judged on what it was calibrated on; judge on part='held_out', or calibrate "
            "on other pictures"
        )


def check_denoises(task: Task, model: Model, session: Session, pictures: Pictures) -> None:
    """Check that the model finds noise in such pictures: what it is asked first.

    Raises:
        NotApplicable: it does not.
    """
    check_pictures(task, pictures, size_of(model))
    (one,) = pictures.some(np.arange(1)).inputs(picture_of(model), size_of(model), 1)
    predicted(model, session, one, 0, batch_of(model))


def check_pictures(task: Task, pictures: Pictures, size: tuple[int, int]) -> None:
    """Check that the model takes the pictures as they are: what is resized is explained by other numbers.

    Raises:
        NotApplicable: it does not.
    """
    there = pictures.pixels(0).shape[:2]
    if there != size:
        raise NotApplicable(
            f"{task.NAME}: the pictures of {pictures.source!r} are {there[0]} x {there[1]} and the model takes "
            f"{size[0]} x {size[1]}; they must be the same"
        )
