"""The file of one picture: its pixels, upright as everybody sees them, and its shape without decoding it."""

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from lilliput.errors import LilliputError
from lilliput.models.library import library

MAX_PIXELS = 64_000_000
"""Of one picture; a small file can stand for a picture that fills the memory."""

Pixels = UInt8[np.ndarray, "height width 3"]

_ORIENTATION = 0x0112
_TURNS: Final = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""By EXIF's orientation, what makes a picture upright, as Pillow calls it."""
_SIDEWAYS = 5
"""From this orientation on height and width change places."""


def pixels(path: Path) -> Pixels:
    """The picture as red, green and blue, turned as its EXIF orientation says.

    Raises:
        LilliputError: the file is damaged or too large.
    """
    image = library("PIL.Image", "vision")
    try:
        with image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise LilliputError(
                    f"{path.name!r} has {opened.width} x {opened.height} pixels; at most {MAX_PIXELS:,}"
                )
            if opened.mode in ("I", "F"):
                raise LilliputError(f"{path.name!r} has 32 bits a pixel; save it with 8")
            opened.load()
            turn = _TURNS.get(_orientation(opened))
            upright = opened if turn is None else opened.transpose(image.Transpose[turn])
            if upright.mode.startswith("I;16"):
                # Pillow's own conversion cuts off at 255, and nearly all of the picture becomes white.
                gray = np.asarray(upright).astype(np.uint16) >> 8
                return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
            return np.asarray(upright.convert("RGB"))
    except image.DecompressionBombError as error:
        raise LilliputError(f"{path.name!r} has too many pixels; at most {MAX_PIXELS:,}") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise LilliputError(f"{path.name!r} is no picture, or damaged: {str(error)[:80]}") from error


def shape(path: Path) -> tuple[int, int]:
    """Height and width of the picture as it is seen.

    Raises:
        LilliputError: the file is no picture.
    """
    try:
        with library("PIL.Image", "vision").open(path) as opened:
            if opened.format == "TIFF":
                opened.load()  # which turns it, and forgets that it was turned
            height, width = opened.height, opened.width
            return (width, height) if _orientation(opened) >= _SIDEWAYS else (height, width)
    except (OSError, ValueError, SyntaxError) as error:
        raise LilliputError(f"{path.name!r} is no picture, or damaged: {str(error)[:80]}") from error


def is_turned(path: Path) -> bool:
    """Whether the head of the file says that its pixels lie otherwise than they are seen, which not all follow."""
    status = path.stat()
    return _is_turned(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _is_turned(path: Path, size: int, changed: int) -> bool:
    del size, changed  # what tells whether the file is still the same
    image = library("PIL.Image", "vision")
    try:
        with image.open(path) as opened:
            # Pillow turns TIFF for everybody; a PNG can say it behind its pixels, which are not decoded for that.
            silent = opened.format == "TIFF" or (opened.format == "PNG" and "exif" not in opened.info)
            return not silent and _orientation(opened) in _TURNS
    except (OSError, ValueError, SyntaxError):
        return False  # what reads it says so


def _orientation(opened: Any) -> int:
    """EXIF's orientation; 1, which is upright, where there is none, or a damaged one, which others ignore too."""
    try:
        said = opened.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1
    return said if said in _TURNS else 1
