"""Observations of images in little memory: stacked frames that overlap are kept once."""

from typing import final

import numpy as np
from jaxtyping import Int64, UInt8


@final
class Frames:
    """Every observation of several rows that go on, as the planes (channels) that it is made of.

    Most of a frame stack was in the observation before, one place further: only what is new of it is kept. A plane of
    zeros is kept once.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._planes = np.zeros((1, *shape[1:]), np.uint8)
        self._used = 1
        self._of = np.zeros((0, shape[0]), np.int64)
        self._n = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._n

    def add(self, observations: UInt8[np.ndarray, "rows c h w"]) -> None:
        """Keep the next observation of each row; the rows are the same each time."""
        found = np.empty((len(observations), self._shape[0]), np.int64)
        for row, observation in enumerate(observations):
            known = 0
            if self._last is not None and len(self._last[0]) == len(observations):
                before, planes = self._last[0][row], self._last[1][row]
                if np.array_equal(observation[:-1], before[1:]):
                    known = self._shape[0] - 1
                    found[row, :known] = planes[1:]
            for channel in range(known, self._shape[0]):
                found[row, channel] = self._plane(observation[channel])
        self._last = (observations.copy(), found)
        end = self._n + len(found)
        self._of = _room(self._of, self._n, end)
        self._of[self._n : end] = found
        self._n = end

    def rows(self, which: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        """Those observations."""
        return self._planes[self._of[which]]

    def _plane(self, plane: UInt8[np.ndarray, "h w"]) -> int:
        if not plane.any():
            return 0
        self._planes = _room(self._planes, self._used, self._used + 1)
        self._planes[self._used] = plane
        self._used += 1
        return self._used - 1


def _room(array: np.ndarray, used: int, n: int) -> np.ndarray:
    """The array with room for n along its first axis."""
    if n <= len(array):
        return array
    larger = np.empty((max(n, len(array) + len(array) // 2 + 64), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger
