"""How far a training is, in a file that whoever waits for it can read without its frameworks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from lilliput.errors import LilliputError
from lilliput.files import Format

FILE: Final = Format("curve", 1)
"""1: steps and returns of each checkpoint."""
NAME: Final = "curve.json"


def write(folder: Path, points: Iterable[tuple[int, Sequence[float]]]) -> None:
    """Keep the returns after so many steps, one point a checkpoint."""
    FILE.write(folder / NAME, {"points": [[step, list(returns)] for step, returns in points]})


def steps(folder: Path) -> int:
    """Steps up to the last checkpoint of the training in the folder; 0 where there is none yet."""
    try:
        points = FILE.read(folder / NAME)["points"]
        return int(points[-1][0])
    except (LilliputError, OSError, LookupError, TypeError, ValueError):
        return 0
