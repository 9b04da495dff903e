"""Pictures with their labels, from a folder or an .npz file; and how a model wants to see them."""

import gzip
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from lilliput import recipe
from lilliput.errors import LilliputError
from lilliput.models import picture_file
from lilliput.models.library import library
from lilliput.models.location import locate, sha256
from lilliput.models.picture_file import Pixels
from lilliput.parameter import called, check_fields, check_integer

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_VALUES = 1 << 30
"""Of all pictures in one file."""

_BARS = 114
"""The gray beside a letterboxed picture."""

_IDX = "-images-idx3-ubyte.gz"

Part = Literal["whole", "calibration", "held_out"]
"""Which pictures: of every five neighbours of a class one calibrates, and four are held out from it."""


@final
@dataclass(frozen=True)
class Picture:
    """How a picture becomes an input: resized and cropped, scaled to [0, 1], standardized, put in the model's order.

    Attributes:
        size: height and width that the model takes; None: those of its input.
        fit: `crop` keeps the shape of things and cuts out the middle; `stretch` shows all of the picture; `letterbox`
            does both, and fills what is left on two sides with gray, as YOLO's own tools do.
        resize: for `crop`, the shorter edge before that, over `size`: 1 cuts nothing of a square picture.
        filter: how it is resized.
        mean: subtracted from red, green and blue, each in [0, 1]; one number is for all, of a gray picture the first.
        std: divides them.
        order: of the channels; `gray` is one channel, the brightness.
        layout: channels before height and width, or behind.
    """

    NAME: ClassVar[str] = "picture"

    size: int | None = None
    fit: Literal["crop", "stretch", "letterbox"] = "crop"
    resize: float = 1.0
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    order: Literal["rgb", "bgr", "gray"] = "rgb"
    layout: Literal["channels_first", "channels_last"] = "channels_first"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size is not None:
            check_integer(self, "size", self.size, 1, 4096)
        if not 1 <= self.resize <= 4:
            raise LilliputError(f"picture: resize is {self.resize:g}; it must be from 1 to 4")
        if not {len(self.mean), len(self.std)} <= {1, 3} or not all(part > 0 for part in self.std):
            raise LilliputError("picture: mean and std are one or three numbers each, those of std above 0")

    def seen(self, pixels: Pixels, size: tuple[int, int]) -> Float32[np.ndarray, "..."]:
        """The input that a picture becomes, without a batch axis."""
        match self.fit:
            case "letterbox":
                fitted = _letterboxed(pixels, size, self.filter)
            case "stretch":
                fitted = _fitted(pixels, size, None, self.filter)
            case "crop":
                fitted = _fitted(pixels, size, self.resize, self.filter)
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        if self.order == "gray":
            fitted, mean, std = _gray(fitted), mean[:1], std[:1]
        x = (fitted.astype(np.float32) / np.float32(255) - mean) / std
        x = x[..., ::-1] if self.order == "bgr" else x
        return np.ascontiguousarray(x.transpose(2, 0, 1) if self.layout == "channels_first" else x)

    def place(self, shape: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a picture of that shape in the input, as parts of it."""
        if self.fit != "letterbox":
            return 0.0, 0.0, 1.0, 1.0
        top, left, tall, wide = _inside(shape, size)
        return left / size[1], top / size[0], (left + wide) / size[1], (top + tall) / size[0]

    def shown(self, x: Float32[np.ndarray, "n channels height width"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The pictures that inputs stand for, channels first; a gray one has three equal channels."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        y = x.transpose(0, 2, 3, 1)
        y = y[..., ::-1] if self.order == "bgr" else y
        y = y * std[: y.shape[3]] + mean[: y.shape[3]]
        pixels = np.rint(np.clip(y, 0, 1) * np.float32(255)).astype(np.uint8)
        return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def picture_from(data: Mapping[str, Any] | None) -> Picture | None:
    """The picture in JSON data; None where there is none."""
    if data is None:
        return None
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Picture(**fields)


def parse_picture(text: str) -> Picture:
    """The picture that a text calls: `picture(size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))`.

    Raises:
        LilliputError: it is no such call.
    """
    calls = recipe.parse(text)
    if len(calls) != 1:
        raise LilliputError(f"{text[:60]!r} is no picture; write picture(size=224), say")
    return called(calls[0], {Picture.NAME: Picture}, "picture")


@final
@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in an order of their own, each read when it is asked for.

    Attributes:
        names: of each, unique.
        labels: the class of each.
        classes: the names of the classes, in the order of the labels.
        source: where they are.
        sources: a file each, or the one array that holds all.
    """

    names: tuple[str, ...]
    labels: Int64[np.ndarray, " pictures"]
    classes: tuple[str, ...]
    source: str
    sources: Sequence[Path] | UInt8[np.ndarray, "pictures height width 3"]

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, index: int) -> Pixels:
        """The picture as red, green and blue.

        Raises:
            LilliputError: its file is damaged or too large.
        """
        if isinstance(self.sources, np.ndarray):
            return self.sources[index]
        return picture_file.pixels(self.sources[index])

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of the picture, which is not decoded for that."""
        if isinstance(self.sources, np.ndarray):
            return self.sources.shape[1], self.sources.shape[2]
        return picture_file.shape(self.sources[index])

    def turned(self) -> tuple[str, ...]:
        """A sentence that counts those whose file says that they lie otherwise than they are seen; none: nothing."""
        files = () if isinstance(self.sources, np.ndarray) else self.sources
        n = sum(map(picture_file.is_turned, files))
        if not n:
            return ()
        said = (
            f"{n} of the {len(self)} pictures of {self.source!r} are turned upright, as EXIF says and "
            "OpenCV and transformers read them; torchvision's ImageFolder and timm leave them as they lie"
        )
        return (said,)

    def digests(self, others: "Pictures") -> Iterator[str]:
        """sha256 of each that could be one of the others: of its file, or of its pixels where either is one file."""
        packed = [one.sources for one in (self, others) if isinstance(one.sources, np.ndarray)]
        if not packed:
            return (sha256(path) for path in self.sources)
        like = (index for index in range(len(self)) if all(self.shape(index) == one.shape[1:3] for one in packed))
        return (hashlib.sha256(np.ascontiguousarray(self.pixels(index)).tobytes()).hexdigest() for index in like)

    def inputs(self, picture: Picture, size: tuple[int, int], at_once: int) -> Iterator[Float32[np.ndarray, "n ..."]]:
        """What a model sees, in batches."""
        for start in range(0, len(self), at_once):
            stop = min(start + at_once, len(self))
            yield np.stack([picture.seen(self.pixels(index), size) for index in range(start, stop)])

    def some(self, indices: Int64[np.ndarray, " n"]) -> "Pictures":
        """The pictures at those places, in that order."""
        sources = self.sources[indices] if isinstance(self.sources, np.ndarray) else [self.sources[i] for i in indices]
        names = tuple(self.names[i] for i in indices)
        return Pictures(names, self.labels[indices], self.classes, self.source, sources)


def read_pictures(name: str, part: Part = "whole") -> Pictures:
    """The pictures of a folder with a folder for each class, of an .npz file with `images`, `labels` and `names`, or of
    a file `...-images-idx3-ubyte.gz` (or a folder with one) as MNIST's, with its labels beside it.

    Raises:
        LilliputError: there is no such thing, or it holds no labelled pictures.
    """
    path = locate(name)
    packed = sorted(path.glob("*" + _IDX)) if path.is_dir() else [path] if path.name.endswith(_IDX) else []
    if packed:
        found = _from_idx(packed[0], name)
    else:
        found = _from_folder(path, name) if path.is_dir() else _from_npz(path, name)
    if part == "whole":
        return found
    # The position within a class decides, so that both parts have every class alike.
    place = np.zeros(len(found), np.int64)
    for label in range(len(found.classes)):
        mine = np.flatnonzero(found.labels == label)
        place[mine] = np.arange(len(mine))
    calibrates = place % 5 == 0
    return found.some(np.flatnonzero(calibrates if part == "calibration" else ~calibrates))


def spread(pictures: Pictures, n: int | None) -> Pictures:
    """That many of them, evenly spread over all; all for None.

    Raises:
        LilliputError: there are fewer.
    """
    if n is None or n == len(pictures):
        return pictures
    if n > len(pictures):
        raise LilliputError(f"{pictures.source!r} has {len(pictures)} pictures; {n} were asked for")
    return pictures.some((np.arange(n) * len(pictures)) // n)


def _from_folder(path: Path, name: str) -> Pictures:
    classes = sorted(one.name for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    files: list[Path] = []
    labels: list[int] = []
    for label, kind in enumerate(classes):
        mine = sorted(one for one in (path / kind).iterdir() if one.suffix.lower() in SUFFIXES)
        files += mine
        labels += [label] * len(mine)
    if not classes or not files:
        # Pictures without a class calibrate; no classifier has a single one.
        loose = sorted(one for one in (*path.glob("*"), *path.glob("images/*")) if one.suffix.lower() in SUFFIXES)
        if loose:
            shown = tuple(str(file.relative_to(path)) for file in loose)
            return Pictures(shown, np.zeros(len(loose), np.int64), ("",), name, loose)
        raise LilliputError(
            f"{name!r} has no folder with pictures ({', '.join(SUFFIXES)}) in it: one folder for each class is needed"
        )
    names = tuple(str(file.relative_to(path)) for file in files)
    return Pictures(names, np.array(labels, np.int64), tuple(classes), name, files)


def _from_npz(path: Path, name: str) -> Pictures:
    status = path.stat()
    return _arrays(path, name, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _arrays(path: Path, name: str, size: int, changed: int) -> Pictures:
    del size, changed  # what tells whether the file is still the same
    if not zipfile.is_zipfile(path):
        raise LilliputError(f"{name!r} is no folder of pictures and no .npz with images (labels and names)")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            images = file["images"]
            # Without labels they calibrate, and are judged by what is not a class.
            labels = file["labels"] if "labels" in file else np.zeros(len(images), np.int64)
            classes = tuple(str(one) for one in file["names"]) if "names" in file else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LilliputError(
            f"{name!r} is no .npz with images (labels and names), or a damaged one: {str(error)[:80]}"
        ) from error
    if images.ndim == 3:
        images = images[..., None]
    if (
        images.ndim != 4
        or images.dtype != np.uint8
        or images.shape[3] not in (1, 3)
        or labels.shape != images.shape[:1]
    ):
        raise LilliputError(
            f"{name!r} has images {images.dtype}{list(images.shape)} and labels {list(labels.shape)}; needed: uint8 "
            "images (pictures, height, width, 3) and a label each"
        )
    if labels.dtype.kind not in "iu" or int(labels.min(initial=0)) < 0:
        raise LilliputError(f"{name!r} has labels of {labels.dtype}; they must be whole numbers from 0")
    images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
    classes = classes or (tuple(str(n) for n in range(int(labels.max(initial=0)) + 1)) if labels.any() else ("",))
    if int(labels.max(initial=0)) >= len(classes):
        raise LilliputError(f"{name!r} has the label {int(labels.max())} and {len(classes)} names")
    images.flags.writeable = False
    return Pictures(tuple(str(n) for n in range(len(images))), labels.astype(np.int64), classes, name, images)


def _from_idx(path: Path, name: str) -> Pictures:
    status = path.stat()
    return _idx(path, name, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _idx(path: Path, name: str, size: int, changed: int) -> Pictures:
    """Yann LeCun's format: two bytes of 0, the type (8: uint8), how many axes, each axis as four bytes, the values."""
    del size, changed  # what tells whether the file is still the same
    images = _idx_array(path, 3)
    labels = _idx_array(path.with_name(path.name.removesuffix(_IDX) + "-labels-idx1-ubyte.gz"), 1).astype(np.int64)
    if len(images) != len(labels) or not len(images):
        raise LilliputError(f"{name!r} has {len(images)} pictures and {len(labels)} labels")
    images = np.repeat(images[..., None], 3, axis=3)
    images.flags.writeable = False
    classes = tuple(str(n) for n in range(int(labels.max()) + 1))
    return Pictures(tuple(str(n) for n in range(len(images))), labels, classes, name, images)


def _idx_array(path: Path, n_axes: int) -> UInt8[np.ndarray, "..."]:
    try:
        with gzip.open(path) as file:
            kind, axes = file.read(4), np.frombuffer(file.read(4 * n_axes), ">u4").astype(np.int64)
            n = math.prod(axes.tolist())
            if kind != bytes((0, 0, 8, n_axes)) or len(axes) != n_axes or n > MAX_VALUES:
                raise LilliputError(f"{path.name!r} is no idx file of uint8 with {n_axes} axes")
            data = file.read(n + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise LilliputError(f"{path.name!r} cannot be read: {str(error)[:80]}") from error
    if len(data) != n:
        raise LilliputError(f"{path.name!r} holds other than the {n:,} values that it says")
    return np.frombuffer(data, np.uint8).reshape(axes)


def _gray(pixels: Pixels) -> UInt8[np.ndarray, "height width 1"]:
    """The brightness (ITU-R 601), which is the value itself where red, green and blue are equal."""
    weighted = pixels.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)[..., None]


def _fitted(
    pixels: Pixels, size: tuple[int, int], resize: float | None, kind: str
) -> UInt8[np.ndarray, "rows columns 3"]:
    height, width = size
    if pixels.shape[:2] == (height, width) and resize in (1, None):
        return pixels
    image = library("PIL.Image", "vision")
    filters = image.Resampling
    chosen = filters.BICUBIC if kind == "bicubic" else filters.BILINEAR
    if resize is None:
        return np.asarray(image.fromarray(pixels).resize((width, height), chosen))
    scale = max(height * resize / pixels.shape[0], width * resize / pixels.shape[1])
    tall, wide = (max(round(edge * scale), least) for edge, least in zip(pixels.shape[:2], size, strict=True))
    resized = image.fromarray(pixels).resize((wide, tall), chosen)
    top, left = math.floor((tall - height) / 2), math.floor((wide - width) / 2)
    return np.asarray(resized)[top : top + height, left : left + width]


def _inside(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a picture that is scaled to fit whole into the middle, as Ultralytics rounds."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    tall, wide = max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
    return round((size[0] - tall) / 2 - 0.1), round((size[1] - wide) / 2 - 0.1), tall, wide


def _letterboxed(pixels: Pixels, size: tuple[int, int], kind: str) -> UInt8[np.ndarray, "rows columns 3"]:
    top, left, tall, wide = _inside(pixels.shape[:2], size)
    whole = np.full((*size, 3), _BARS, np.uint8)
    whole[top : top + tall, left : left + wide] = _fitted(pixels, (tall, wide), None, kind)
    return whole
