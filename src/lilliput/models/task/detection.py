"""Where things are in a picture: average precision, with the weights of a bootstrap that all models share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError, NotApplicable, closest
from lilliput.models import location
from lilliput.models.decoders import DECODERS, Outputs, check_values, guessed, is_silent
from lilliput.models.detection import NONE, Boxes, Scenes, average_precision, read_scenes, suppressed
from lilliput.models.images import Pictures
from lilliput.models.model import Family, Model
from lilliput.models.picture import batch_of, feeds_of, inputs_of, only_port, picture_of, size_of
from lilliput.models.session import Session, open_session
from lilliput.models.task.task import Answers, Task, check_apart
from lilliput.parameter import check_fields, check_integer, check_ratio

_TRIED = 32
"""Pictures in which something has to be found, where that tells what the outputs mean."""


@final
@dataclass(frozen=True)
class Detection(Task):
    """COCO's average precision of all images, then of as many draws of them with replacement: the same for all models.

    Attributes:
        images: a folder with images/ and labels/ (YOLO's text files).
        decoder: what the model's outputs mean; empty: what its source says, or their shape beyond doubt.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
        draws: of the bootstrap.
        least: the score below which a box is none.
        overlap: of two boxes of a class of which the less sure is dropped, where a thing may have several.
    """

    NAME: ClassVar[str] = "detection"
    VERSION: ClassVar[int] = 3
    SCORE: ClassVar[str] = "average precision"
    FAMILY: ClassVar[Family] = "detection"
    DRAWN: ClassVar[bool] = True

    images: str
    decoder: str = ""
    part: Literal["whole", "held_out"] = "held_out"
    draws: int = 200
    least: float = 0.001
    overlap: float = 0.45

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "draws", self.draws, 0, 10_000)
        check_ratio(self, "least", self.least)
        check_ratio(self, "overlap", self.overlap)
        if self.decoder and self.decoder not in DECODERS:
            near = closest(self.decoder, DECODERS)
            raise LilliputError(
                f"detection: decoder {self.decoder[:40]!r} is not known; {near}allowed: {', '.join(DECODERS)}"
            )

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The average precision of all images, and of each draw."""
        scenes = read_scenes(self.images, self.part)
        named = self.decoder or model.decoder
        found = detected(model, session, scenes, named, self.least, self.overlap, progress)
        return Answers(average_precision(found, scenes.boxes, self._weights(len(scenes.boxes))), self._names())

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`; labels have no more classes than the model can find."""
        scenes = read_scenes(self.images, self.part)
        if picture_of(model).fit == "crop" and not _fits(scenes.pictures, size_of(model)):
            raise LilliputError(
                "detection: picture(fit='crop') cuts pictures, and boxes are parts of whole ones; add fit='stretch' or "
                "fit='letterbox' to --picture"
            )
        answer = _telling(model, session, scenes)
        boxes, n_classes = DECODERS[self._named(answer, model)].decode(answer, size_of(model))
        if self.decoder or not model.decoder:  # what a model's own source says is no guess
            check_values(boxes, size_of(model))
        highest = max((int(boxes.classes.max(initial=-1)) for boxes in scenes.boxes), default=-1)
        if n_classes is not None and highest >= n_classes:
            raise NotApplicable(
                f"the model finds {n_classes} classes, counted from 0, and {self.images!r} has boxes of class {highest}"
            )

    def guesses(self, model: Model) -> tuple[str, ...]:
        """See `Task.guesses`: that pictures are turned; the decoder, where neither task nor model names one."""
        if model.family != self.FAMILY:
            return ()
        scenes = read_scenes(self.images, self.part)
        turned = scenes.pictures.turned()
        if self.decoder or model.decoder:
            return turned
        answer = _telling(model, open_session(model), scenes)
        shapes = ", ".join(str(list(one.shape)) for one in answer)
        name = self._named(answer, model)
        return (*turned, f"the outputs, {shapes} a picture, are read as decoder={name!r} (decoder=... names another)")

    def floor(self, n_tokens: int = 0) -> Answers:
        """The values of a model that finds nothing."""
        return Answers(np.zeros(1 + self.draws), self._names())

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """Of all images."""
        return float(values[0])

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        check_apart(self, read_scenes(self.images, self.part).pictures, source)

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures and their boxes."""
        return location.digest(self.images)

    def _named(self, answer: Outputs, model: Model) -> str:
        """The decoder that is named, or the model's own, or that the answer tells.

        Raises:
            NotApplicable: it does not.
        """
        if self.decoder or model.decoder:
            return self.decoder or model.decoder
        if is_silent(answer):
            raise NotApplicable(
                f"the model finds nothing in {_TRIED} pictures of {self.images!r}, or in all that there are: what its "
                f"outputs mean cannot be told; name one of: {', '.join(f'decoder={name!r}' for name in DECODERS)}"
            )
        return guessed(answer, size_of(model))

    def _weights(self, n: int) -> Float64[np.ndarray, "draws images"]:
        rng = np.random.default_rng(0)
        drawn = rng.multinomial(n, np.full(n, 1 / n), self.draws).astype(np.float64)
        return np.concatenate([np.ones((1, n)), drawn.reshape(self.draws, n)])

    def _names(self) -> tuple[str, ...]:
        return ("all", *(f"draw {n}" for n in range(self.draws)))


def detected(
    model: Model,
    session: Session,
    scenes: Scenes,
    decoder: str,
    least: float,
    overlap: float,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Boxes, ...]:
    """The boxes that the model finds in each picture."""
    found, picture = list[Boxes](), picture_of(model)
    for answer in _answers(model, session, scenes.pictures):
        if not decoder and is_silent(answer):  # what any decoder makes of it; which one it is, another picture tells
            found.append(NONE)
        else:
            decoder = decoder or guessed(answer, size_of(model))
            row = DECODERS[decoder]
            boxes, _ = row.decode(answer, size_of(model))
            boxes = suppressed(boxes, least, overlap if row.several else np.inf)
            found.append(_of_picture(boxes, picture.place(scenes.pictures.shape(len(found)), size_of(model))))
        if progress is not None:
            progress(len(found), len(scenes.boxes))
    return tuple(found)


def _answers(model: Model, session: Session, pictures: Pictures) -> Iterator[list[np.ndarray]]:
    """What the model gives of each picture: its outputs, in their order.

    Where an output has one axis, that one counts boxes, and so does the first of rows of seven: then none has an axis
    of pictures, and one is asked at once.
    """
    only_port(model)
    axes = [one.axes for one in model.outputs]
    rows = len(axes) == 1 and len(axes[0]) == 2 and (axes[0][1] == 7 or isinstance(axes[0][1], str))
    apart = rows or any(len(one) < 2 for one in axes)
    at_once = 1 if apart else batch_of(model)
    for batch in inputs_of(model, pictures, at_once):
        answers = session.answer(feeds_of(model, batch))
        given = [answers[port.name] for port in model.outputs]
        if at_once == 1 and (any(one.ndim == 1 for one in given) or (rows and given[0].shape[-1] == 7)):
            yield given
            continue
        if any(one.shape[:1] != (len(batch),) for one in given):
            shapes = ", ".join(str(list(one.shape)) for one in given)
            raise NotApplicable(f"the model gives {shapes} for {len(batch)} pictures; the first axis must count them")
        yield from ([one[n] for one in given] for n in range(len(batch)))


def _of_picture(boxes: Boxes, place: tuple[float, float, float, float]) -> Boxes:
    """The boxes as parts of the picture, which has that place in the input."""
    if place == (0.0, 0.0, 1.0, 1.0):
        return boxes
    left, top, right, bottom = place
    corners = (boxes.corners - (left, top, left, top)) / (right - left, bottom - top, right - left, bottom - top)
    return Boxes(np.clip(corners, 0, 1), boxes.classes, boxes.scores)


def _telling(model: Model, session: Session, scenes: Scenes) -> list[np.ndarray]:
    """What the model gives of the first picture in which it finds something; in none of the first: of the first."""
    answers = []
    for n in range(min(_TRIED, len(scenes.pictures))):
        answers += _answers(model, session, scenes.pictures.some(np.array([n])))
        if not is_silent(answers[-1]):
            return answers[-1]
    return answers[0]


def _fits(pictures: Pictures, size: tuple[int, int]) -> bool:
    """Whether nothing of the pictures is cut off to fit: all are of one shape, which is the input's."""
    if not isinstance(pictures.sources, np.ndarray):
        return False
    height, width = pictures.sources.shape[1:3]
    return height * size[1] == width * size[0]
