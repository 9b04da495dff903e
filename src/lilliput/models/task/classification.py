"""Which class a picture is of: right or wrong, one value a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64, Int64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models import location
from lilliput.models.images import Part, Pictures, read_pictures, spread
from lilliput.models.model import Family, Model
from lilliput.models.picture import batch_of, inputs_of, only_port
from lilliput.models.session import Session
from lilliput.models.task.task import Answers, Task, check_apart
from lilliput.parameter import check_fields, check_integer


@final
@dataclass(frozen=True)
class Classification(Task):
    """1 for a picture whose class the model names, 0 for another; the score is the share of those that are right.

    Attributes:
        images: a folder with a folder for each class, or an .npz file.
        n: how many, evenly spread; None: all.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
    """

    NAME: ClassVar[str] = "classification"
    VERSION: ClassVar[int] = 2
    SCORE: ClassVar[str] = "accuracy"
    FAMILY: ClassVar[Family] = "classification"

    images: str
    n: int | None = None
    part: Part = "held_out"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n is not None:
            check_integer(self, "n", self.n, 2, 1 << 30)
        if self.part == "calibration":
            raise LilliputError("classification: part 'calibration' calibrates; judge on 'held_out' or 'whole'")

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """Whether each picture's class was named."""
        pictures = self._pictures()
        chosen = choices(model, session, pictures, progress)
        return Answers((chosen == pictures.labels).astype(np.float64), pictures.names)

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        choices(model, session, self._pictures().some(np.arange(1)))

    def guesses(self, model: Model) -> tuple[str, ...]:
        """See `Task.guesses`: that pictures are turned."""
        return self._pictures().turned()

    def floor(self, n_tokens: int = 0) -> Answers:
        """Every class alike."""
        pictures = self._pictures()
        return Answers(np.full(len(pictures), 1 / len(pictures.classes)), pictures.names)

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """The share that is right."""
        return float(np.mean(values))

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        check_apart(self, self._pictures(), source)

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures and their labels."""
        return location.digest(self.images)

    def _pictures(self) -> Pictures:
        pictures = read_pictures(self.images, self.part)
        if all(name.isdecimal() for name in pictures.classes) and list(map(int, pictures.classes)) != sorted(
            map(int, pictures.classes)
        ):
            raise LilliputError(
                f"{self.images!r} has classes by numbers of unlike length, whose order by name is another than by "
                "number; rename its folders so that they stand in the order of the model's outputs: 02 before 10"
            )
        return spread(pictures, self.n)


def choices(
    model: Model, session: Session, pictures: Pictures, progress: Callable[[int, int], None] | None = None
) -> Int64[np.ndarray, " pictures"]:
    """The class that the model names for each picture: the largest of its outputs.

    Raises:
        NotApplicable: its outputs are not one number a class of these pictures.
    """
    port, scored = only_port(model), _scores(model, len(pictures.classes))
    found: list[np.ndarray] = []
    done = 0
    for batch in inputs_of(model, pictures, batch_of(model)):
        output = session.answer({port.name: batch})[scored]
        scores = output.reshape(len(batch), -1)
        if max(output.shape[2:], default=1) > 1:
            shape = " x ".join(map(str, output.shape[1:]))
            raise NotApplicable(
                f"the model gives {shape} numbers a picture ({scored}); a classifier gives one number a class"
            )
        if scores.shape[1] != len(pictures.classes):
            raise NotApplicable(
                f"the model has {scores.shape[1]} outputs and {pictures.source!r} {len(pictures.classes)} classes; "
                "they must be the same, in the same order: a class without pictures is an empty folder"
            )
        found.append(scores.argmax(axis=1))
        done += len(batch)
        if progress is not None:
            progress(done, len(pictures))
    return np.concatenate(found)


def _scores(model: Model, n_classes: int) -> str:
    """The output that has a number a class: the only one with so many, else the first of real numbers.

    Raises:
        NotApplicable: no output is of real numbers.
    """
    real = [port for port in model.outputs if np.dtype(port.dtype).kind == "f"]
    fitting = [port for port in real if port.axes[-1:] == (n_classes,)]
    if not real:
        raise NotApplicable("the model's outputs are whole numbers or names; a classifier gives a number a class")
    return (fitting if len(fitting) == 1 else real)[0].name
