"""Boxes: which are there, which of several is kept, and the average precision over images with weights."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lilliput.errors import LilliputError
from lilliput.models.images import SUFFIXES, Part, Pictures, read_pictures
from lilliput.models.location import locate

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
"""Overlaps at which a box counts as found: COCO's."""
RECALLS: Final = np.linspace(0.0, 1.0, 101)
MOST: Final = 100
"""Boxes of a class in an image that count."""


@final
@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one image, as parts of its width and height.

    Attributes:
        corners: left, top, right, bottom.
        classes: of each.
        scores: how sure the detector is; 1 for boxes that are there.
    """

    corners: Float64[np.ndarray, "n 4"]
    classes: Int64[np.ndarray, " n"]
    scores: Float64[np.ndarray, " n"]


NONE: Final = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


@final
@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures with the boxes that are there."""

    pictures: Pictures
    boxes: tuple[Boxes, ...]


def read_scenes(name: str, part: Part = "whole") -> Scenes:
    """The pictures of a folder with `images/` and `labels/`, a text file of boxes for each picture as YOLO has them;
    or of an .npz with `images` and `boxes`, rows with the number of the picture before the same.

    A line is a class and the middle, width and height of a box, as parts of the picture's.

    Raises:
        LilliputError: there is no such thing, or a line that is no box.
    """
    path = locate(name)
    if path.suffix == ".npz":
        return _from_npz(path, name, part)
    files = sorted(one for one in (path / "images").glob("*") if one.suffix.lower() in SUFFIXES)
    if not files:
        raise LilliputError(
            f"{name!r} has no pictures in images/; needed: images/ and labels/ with a text file for each"
        )
    chosen = [file for n, file in enumerate(files) if part == "whole" or (n % 5 == 0) == (part == "calibration")]
    boxes = tuple(_labels(path / "labels" / f"{file.stem}.txt") for file in chosen)
    names = tuple(file.name for file in chosen)
    return Scenes(Pictures(names, np.zeros(len(chosen), np.int64), ("",), name, chosen), boxes)


def _labels(path: Path) -> Boxes:
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            row = [float(part) for part in line.split()]
        except ValueError:
            row = []
        if not line.strip():
            continue
        if len(row) != 5 or not row[0].is_integer() or not 0 <= row[0] < 1e5 or not np.isfinite(row).all():
            raise LilliputError(f"{path.name} line {number} is no box: a class and four numbers are needed")
        rows.append(row)
    return _boxes(np.array(rows, np.float64).reshape(-1, 5))


def _from_npz(path: Path, name: str, part: Part) -> Scenes:
    pictures = read_pictures(name)
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = np.asarray(file["boxes"], np.float64).reshape(-1, 6)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LilliputError(f"{name!r} has no boxes, or damaged ones: {str(error)[:80]}") from error
    whole = (rows[:, :2] == np.floor(rows[:, :2])).all() and (rows[:, :2] >= 0).all()
    if not np.isfinite(rows).all() or not whole or rows[:, 0].max(initial=0) >= len(pictures):
        raise LilliputError(f"{name!r} has boxes that are none: the number of a picture, a class and four numbers")
    chosen = np.array(
        [n for n in range(len(pictures)) if part == "whole" or (n % 5 == 0) == (part == "calibration")], np.int64
    )
    return Scenes(pictures.some(chosen), tuple(_boxes(rows[rows[:, 0] == n, 1:]) for n in chosen))


def _boxes(rows: Float64[np.ndarray, "n 5"]) -> Boxes:
    return Boxes(corners_of(rows[:, 1:3], rows[:, 3:]), rows[:, 0].astype(np.int64), np.ones(len(rows)))


def corners_of(middle: Float64[np.ndarray, "n 2"], extent: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 4"]:
    """Left, top, right and bottom of boxes with that middle, width and height."""
    return np.concatenate([middle - extent / 2, middle + extent / 2], axis=1)


def suppressed(boxes: Boxes, least: float, overlap: float) -> Boxes:
    """The boxes that are surer than `least`, without those that a surer one of their class overlaps by more."""
    order = np.argsort(-boxes.scores, kind="stable")
    left = order[boxes.scores[order] > least]
    kept: list[int] = []
    while len(left):
        surest, left = int(left[0]), left[1:]
        kept.append(surest)
        apart = overlaps(boxes.corners[[surest]], boxes.corners[left])[0] <= overlap
        left = left[apart | (boxes.classes[left] != boxes.classes[surest])]
    return Boxes(boxes.corners[kept], boxes.classes[kept], boxes.scores[kept])


def overlaps(one: Float64[np.ndarray, "n 4"], other: Float64[np.ndarray, "m 4"]) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of every pair of boxes."""
    (left, top, right, bottom), (lefts, tops, rights, bottoms) = one.T[:, :, None], other.T[:, None]
    width = np.maximum(np.minimum(right, rights) - np.maximum(left, lefts), 0)
    height = np.maximum(np.minimum(bottom, bottoms) - np.maximum(top, tops), 0)
    shared = width * height
    union = (right - left) * (bottom - top) + (rights - lefts) * (bottoms - tops) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def average_precision(
    predicted: Sequence[Boxes], there: Sequence[Boxes], weights: Float64[np.ndarray, "draws images"]
) -> Float64[np.ndarray, " draws"]:
    """COCO's average precision (over overlaps of 0.5 to 0.95 and the classes that are there), for each draw of weights.

    A weight says how often an image counts; with all weights 1 it is what pycocotools gives for boxes of any size.
    """
    classes = np.unique(np.concatenate([boxes.classes for boxes in there]))
    total = np.zeros(len(weights))
    present = np.zeros(len(weights))
    for kind in classes.tolist():
        rows = [_matched(one, other, kind) for one, other in zip(predicted, there, strict=True)]
        n_there = np.array([np.count_nonzero(boxes.classes == kind) for boxes in there], np.float64)
        n_draw = weights @ n_there
        scores = np.concatenate([row[0] for row in rows])
        hits = np.concatenate([row[1] for row in rows])
        image = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
        order = np.argsort(-scores, kind="mergesort")
        precision = _precision(hits[order], weights[:, image[order]], n_draw)
        total += np.where(n_draw > 0, precision, 0)
        present += n_draw > 0
    return np.divide(total, present, out=np.zeros_like(total), where=present > 0)


def _matched(
    predicted: Boxes, there: Boxes, kind: int
) -> tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, "n overlaps"]]:
    """Scores of the found boxes of a class, and at which overlaps each takes a box that is there and still free."""
    mine = np.flatnonzero(predicted.classes == kind)
    mine = mine[np.argsort(-predicted.scores[mine], kind="mergesort")][:MOST]
    truth = there.corners[there.classes == kind]
    hits = np.zeros((len(mine), len(THRESHOLDS)), bool)
    if len(mine) and len(truth):
        shared = overlaps(predicted.corners[mine], truth)
        for column, least in enumerate(THRESHOLDS):
            free = np.ones(len(truth), bool)
            for row in range(len(mine)):
                allowed = np.where(free, shared[row], -1.0)
                # Of equal ones the last, as pycocotools has it.
                best = len(allowed) - 1 - int(np.argmax(allowed[::-1]))
                if allowed[best] >= min(least, 1 - 1e-10):
                    free[best] = False
                    hits[row, column] = True
    return predicted.scores[mine], hits


def _precision(
    hits: Bool[np.ndarray, "n overlaps"], weight: Float64[np.ndarray, "draws n"], n_there: Float64[np.ndarray, " draws"]
) -> Float64[np.ndarray, " draws"]:
    """Mean over overlaps and recalls of the precision at each recall, made to fall."""
    if not len(hits):
        return np.zeros(len(weight))
    result = np.zeros(len(weight))
    for draw, (mine, n) in enumerate(zip(weight, n_there, strict=True)):
        if n <= 0:
            continue
        right = np.cumsum(hits * mine[:, None], axis=0)
        recall = right / n
        precision = right / (np.cumsum(mine)[:, None] + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        sums = 0.0
        for column in range(hits.shape[1]):
            at = np.searchsorted(recall[:, column], RECALLS, side="left")
            inside = at < len(precision)
            sums += float(precision[at[inside], column].sum()) / len(RECALLS)
        result[draw] = sums / hits.shape[1]
    return result
