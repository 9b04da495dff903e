"""Decoders: the boxes in what a detector gives of one picture, by whose head it is, since no file says it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import numpy as np
from jaxtyping import Float64, Int64, Num

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.detection import Boxes, corners_of

Outputs = Sequence[np.ndarray]
"""What a model gives of one picture: its outputs of any shape, in their order, without the axis of pictures."""

Size = tuple[int, int]
"""Height and width of the picture that the model was given."""


@final
@dataclass(frozen=True)
class Decoder:
    """What outputs mean.

    Attributes:
        decode: the boxes, and of how many classes they can be; None where the outputs do not say that.
        several: whether a thing may have several boxes, of which the surest is to be kept.
    """

    decode: Callable[[Outputs, Size], tuple[Boxes, int | None]]
    several: bool


def fastestdet(outputs: Outputs, size: Size) -> tuple[Boxes, int]:
    """FastestDet's: objectness, four of the box, and a number for each class, in every cell of a grid.

    The score is objectness**0.6 times the best class's**0.4; the middle is tanh of its two numbers from the cell's
    corner, width and height are sigmoids (dog-qiuqiu/FastestDet, BSD 3-clause).
    """
    output = outputs[0]
    if output.ndim != 3 or output.shape[0] < 6:
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; FastestDet gives channels (5, and one a class), rows and "
            "columns"
        )
    channels, rows, columns = output.shape
    cells = output.reshape(channels, -1).T.astype(np.float64)
    classes = cells[:, 5:].argmax(axis=1)
    best = np.maximum(cells[np.arange(len(cells)), 5 + classes], 0)
    scores = np.maximum(cells[:, 0], 0) ** 0.6 * best**0.4
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    middle = (np.tanh(cells[:, 1:3]) + grid) / (columns, rows)
    extent = 1 / (1 + np.exp(-cells[:, 3:5]))
    return Boxes(corners_of(middle, extent), classes.astype(np.int64), scores), channels - 5


_UNUSED: Final = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Of COCO's category numbers 0 to 90, those that no category has."""


_CATEGORIES: Final[Int64[np.ndarray, " named"]] = np.delete(np.arange(91), _UNUSED)
"""COCO's category numbers that have a name."""


def yolos(outputs: Outputs, size: Size) -> tuple[Boxes, int]:
    """YOLOS's and DETR's: of each query the logits of the classes and of none, and a box's middle, width and height.

    The score is the softmax of the best class. Of COCO's 91 category numbers the 80 that have a name are counted
    from 0, as labels count them; other numbers of classes are taken as they are.
    """
    logits, boxes = _queries(outputs)
    power = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    likely = (power / power.sum(axis=1, keepdims=True))[:, :-1]
    if likely.shape[1] == 91:
        likely = np.delete(likely, _UNUSED, axis=1)
    return Boxes(boxes, likely.argmax(axis=1), likely.max(axis=1)), likely.shape[1]


def rtdetr(outputs: Outputs, size: Size) -> tuple[Boxes, int]:
    """RT-DETR's, and Deformable and Conditional DETR's: of each query a logit a class, none for nothing, and a box.

    As many boxes as queries: those of the surest sigmoids of all queries and classes, a query with several classes
    too. Of COCO's 91 category numbers the 80 that have a name are counted from 0.
    """
    logits, boxes = _queries(outputs)
    n_classes = logits.shape[1]
    sure = 1 / (1 + np.exp(-logits.astype(np.float64)))
    surest = np.argsort(-sure.ravel(), kind="stable")[: len(sure)]
    queries, classes = np.divmod(surest, n_classes)
    if n_classes == 91:
        named = np.isin(classes, _CATEGORIES)
        queries, classes, surest = queries[named], np.searchsorted(_CATEGORIES, classes[named]), surest[named]
        n_classes = len(_CATEGORIES)
    return Boxes(boxes[queries], classes, sure.ravel()[surest]), n_classes


def _queries(outputs: Outputs) -> tuple[np.ndarray, Float64[np.ndarray, "n 4"]]:
    """The logits and the corners of each query."""
    found = [one for one in outputs if one.ndim == 2 and one.shape[1] == 4]
    if len(found) > 1:  # the logits of four classes, say: boxes are parts of the picture, which those are not
        found = [one for one in found if ((one >= -0.01) & (one <= 1.01)).all()]
    boxes = found[0] if len(found) == 1 else None
    logits = next((one for one in outputs if one.ndim == 2 and one is not boxes), None)
    if boxes is None or logits is None or len(boxes) != len(logits):
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; YOLOS and DETRs give the logits and the box of each query"
        )
    return logits, corners_of(boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64))


def yolov8(outputs: Outputs, size: Size) -> tuple[Boxes, int]:
    """Ultralytics' of YOLOv8 to v11: of each place a column of middle, width and height in pixels and class scores."""
    output = outputs[0]
    if len(outputs) != 1 or output.ndim != 2 or not 4 < output.shape[0] < output.shape[1]:
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; YOLOv8 gives one: 4 numbers and one a class, by box"
        )
    return _surest(output[:4].T, output[4:].T.astype(np.float64), size), output.shape[0] - 4


def yolov5(outputs: Outputs, size: Size) -> tuple[Boxes, int]:
    """YOLOv5's to v7's: a row a box of middle, width and height in pixels, objectness, and class scores.

    The score is objectness times that of the best class. Outputs behind the first are the grids that it is made of.
    """
    output = outputs[0]
    if output.ndim != 2 or not 5 < output.shape[1] < output.shape[0]:
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; YOLOv5 gives boxes, by 5 numbers and one a class"
        )
    scores = output[:, 4:5].astype(np.float64) * output[:, 5:]
    return _surest(output[:, :4], scores, size), output.shape[1] - 5


def end2end(outputs: Outputs, size: Size) -> tuple[Boxes, None]:
    """YOLOv10's, and exports' with suppression inside: a row a box of its corners in pixels, its score and class."""
    output = outputs[0]
    if len(outputs) != 1 or output.ndim != 2 or output.shape[1] != 6 or (output[:, 5] % 1).any():
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; end-to-end exports give one output, rows of six: corners, "
            "score and a whole class"
        )
    return Boxes(_parts(output[:, :4], size), output[:, 5].astype(np.int64), output[:, 4].astype(np.float64)), None


def yolov7(outputs: Outputs, size: Size) -> tuple[Boxes, None]:
    """YOLOv7's with suppression inside: a row a box of its picture's number, corners in pixels, class and score."""
    output = outputs[0]
    if len(outputs) != 1 or output.ndim != 2 or output.shape[1] != 7 or output[:, 0].any() or (output[:, 5] % 1).any():
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; YOLOv7's end-to-end export gives one output, rows of "
            "seven: 0 (the first picture), corners, a whole class and score"
        )
    return Boxes(_parts(output[:, 1:5], size), output[:, 5].astype(np.int64), output[:, 6].astype(np.float64)), None


def torchvision(outputs: Outputs, size: Size, *, coco: bool) -> tuple[Boxes, int | None]:
    """torchvision's: corners in pixels, scores (real) and labels (whole) of the boxes that its suppression left.

    Labels count from 1, 0 being the background; of COCO's numbers the 80 that have a name are counted from 0.
    """
    corners = next((one for one in outputs if one.ndim == 2 and one.shape[1] == 4), None)
    scores = next((one for one in outputs if one.ndim == 1 and one.dtype.kind == "f"), None)
    labels = next((one for one in outputs if one.ndim == 1 and one.dtype.kind == "i"), None)
    if corners is None or scores is None or labels is None or not len(corners) == len(scores) == len(labels):
        raise NotApplicable(
            f"the model gives {_shapes(outputs)} a picture; torchvision gives boxes, labels and scores of as many"
        )
    if len(labels) and (labels.min() < 1 or (coco and not np.isin(labels, _CATEGORIES).all())):
        wanted = "COCO's categories, of 1 to 90" if coco else "counted from 1"
        raise LilliputError(f"the model gives labels from {labels.min()} to {labels.max()}; torchvision's are {wanted}")
    classes = np.searchsorted(_CATEGORIES, labels) if coco else labels.astype(np.int64) - 1
    return Boxes(_parts(corners, size), classes, scores.astype(np.float64)), len(_CATEGORIES) if coco else None


DECODERS: Final[dict[str, Decoder]] = {
    "fastestdet": Decoder(fastestdet, several=True),
    "yolos": Decoder(yolos, several=False),
    "rtdetr": Decoder(rtdetr, several=False),
    "yolov8": Decoder(yolov8, several=True),
    "yolov5": Decoder(yolov5, several=True),
    "end2end": Decoder(end2end, several=False),
    "yolov7": Decoder(yolov7, several=False),
    "torchvision": Decoder(partial(torchvision, coco=False), several=False),
    "torchvision_coco": Decoder(partial(torchvision, coco=True), several=False),
}
"""What outputs mean, by name."""

_STRIDES: Final = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Pixels from cell to cell of the grids of YOLO's heads."""


_RTDETR_QUERIES: Final = 300
"""DETR and YOLOS, whose logits have one of nothing, ask 100."""


def guessed(outputs: Outputs, size: Size) -> str:
    """The decoder whose outputs a picture's are beyond doubt: by the number of places, or by what only one gives.

    Raises:
        NotApplicable: there is doubt; those that can read them are named.
    """
    places = {sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides) for strides in _STRIDES}
    reading = [name for name, one in DECODERS.items() if _reads(one, outputs, size)]
    first, anchors = outputs[0], {3 * n for n in places}
    queries = sorted(one.shape[-1] for one in outputs if one.ndim == 2)
    certain = {
        "yolov8": first.shape[-1] in places,
        "yolov5": first.shape[0] in anchors,
        "end2end": first.shape[0] not in places | anchors,
        "yolov7": first.shape[0] not in anchors,
        "yolos": queries == [4, 92],
        "rtdetr": queries in ([4, 80], [4, 91]) and len(first) == _RTDETR_QUERIES,
    }
    sure = [name for name in reading if certain.get(name, False)]
    if len(sure) == 1:
        return sure[0]
    named = " or ".join(f"decoder={name!r}" for name in reading) or f"none of {', '.join(DECODERS)}"
    doubt = "; the outputs do not say whether they are that: name it if they are" if reading else ""
    raise NotApplicable(f"the model gives {_shapes(outputs)} a picture, which can be read by {named}{doubt}")


def is_silent(outputs: Outputs) -> bool:
    """Whether nothing was found, as exports with suppression inside say it: no row, or rows of zeros alone."""
    return not any(one.any() for one in outputs)


def check_values(boxes: Boxes, size: Size) -> None:
    """Check that scores and boxes are numbers as detectors give them: another head's may have the same shape.

    Raises:
        NotApplicable: they are none.
    """
    if not len(boxes.scores):
        return
    low, high = float(boxes.scores.min()), float(boxes.scores.max())
    if not -0.01 <= low <= high <= 1.01:
        raise NotApplicable(f"read so, scores go from {low:.3g} to {high:.3g}, not from 0 to 1: another decoder's")
    corners = boxes.corners[boxes.scores > 0]  # Ultralytics' suppression inside fills up with zeros
    if not len(corners):
        return
    extent = float(np.median((corners[:, 2:] - corners[:, :2]) * size[::-1]))
    if not 2 <= extent <= 2 * max(size):
        raise NotApplicable(
            f"read so, boxes are {extent:.3g} pixels wide and high (the median): other units (YOLOX: export it "
            "with --decode_in_inference), or another decoder's"
        )


def _surest(boxes: Num[np.ndarray, "n 4"], scores: Num[np.ndarray, "n classes"], size: Size) -> Boxes:
    """A box a place, with its best class; what lies outside of the picture is cut off."""
    corners = corners_of(boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64))
    return Boxes(np.clip(_parts(corners, size), 0, 1), scores.argmax(axis=1), scores.max(axis=1))


def _parts(pixels: Num[np.ndarray, "n 4"], size: Size) -> Float64[np.ndarray, "n 4"]:
    return pixels.astype(np.float64) / (size[1], size[0], size[1], size[0])


def _reads(decoder: Decoder, outputs: Outputs, size: Size) -> bool:
    try:
        decoder.decode(outputs, size)
    except LilliputError:
        return False
    return True


def _shapes(outputs: Outputs) -> str:
    return ", ".join(str(list(one.shape)) for one in outputs)
