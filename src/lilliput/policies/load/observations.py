"""Observations that the user has: a log of a robot, as .npy, .npz or .csv."""

import csv
import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import Num

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.load.archive import read_archive
from lilliput.policies.load.npy import read_npy

MAX_BYTES = 1 << 30
NAMES = ("observations", "observation", "obs")
"""Arrays of an .npz that are taken where it has several."""


def read_observations(path: str | os.PathLike[str], space: spaces.ObservationSpace) -> Num[np.ndarray, "n ..."]:
    """The raw observations in the file, a row each, as the first layer of a policy of that space takes them.

    An .npy or .npz holds (n, *shape), or the same flattened; an .npz of a Dict observation may hold an array a key. A
    .csv has a row an observation, its numbers flattened, and maybe a header.

    Raises:
        LilliputError: no such file, none of these kinds, of another shape, or with numbers that are not finite or that
            the space cannot hold.
    """
    path = Path(path)
    name = repr(path.name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LilliputError(f"{name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LilliputError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if data.startswith(b"PK"):
        found = _from_npz(data, name, space)
    elif data.startswith(b"\x93NUMPY"):
        found = read_npy(data, name)
    else:
        found = _from_csv(data, name)
    return _checked(found, name, space)


def _checked(
    found: np.ndarray | dict[str, np.ndarray], name: str, space: spaces.ObservationSpace
) -> Num[np.ndarray, "n ..."]:
    shape = spaces.input_shape(space)
    size = int(np.prod(shape))
    if isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] == size:
        found = found.reshape(len(found), *shape)
    try:
        with np.errstate(all="ignore"):
            observations = spaces.artifact_input(space, found)
    except LilliputError as error:
        raise LilliputError(f"{name}: {error}") from error
    if not len(observations):
        raise LilliputError(f"{name} holds no observation; at least one is needed")
    if observations.dtype.kind == "f" and not np.isfinite(observations).all():
        row, *_ = np.argwhere(~np.isfinite(observations))[0]
        raise LilliputError(f"{name}: observation {row} (counted from 0) is not finite in float32; leave out such rows")
    return observations


def _from_npz(data: bytes, name: str, space: spaces.ObservationSpace) -> np.ndarray | dict[str, np.ndarray]:
    archive = read_archive(data, name)
    entries = {entry.removesuffix(".npy"): entry for entry in archive.sizes if entry.endswith(".npy")}
    keys = [key for key, _ in space.boxes] if isinstance(space, spaces.Dict) else []
    if keys and set(keys) <= set(entries):
        return {key: read_npy(archive.read(entries[key]), f"{name}: array {key[:40]!r}") for key in keys}
    chosen = next((known for known in NAMES if known in entries), None)
    if chosen is None and len(entries) == 1:
        chosen = next(iter(entries))
    if chosen is None:
        listed = ", ".join(entry[:40] for entry in list(entries)[:6]) or "no array"
        wanted = (
            f"an array for each of {', '.join(keys)}, or one named observations" if keys else "one named observations"
        )
        raise LilliputError(f"{name} holds {listed}; it needs {wanted}")
    return read_npy(archive.read(entries[chosen]), f"{name}: array {chosen[:40]!r}")


def _from_csv(data: bytes, name: str) -> np.ndarray:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LilliputError(f"{name} is no .npy, no .npz and no text; allowed: .npz, .npy, .csv") from error
    rows: list[list[float]] = []
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise LilliputError(f"{name} is not readable CSV: {error}") from error
    for number, line in enumerate(lines):
        try:
            rows.append([float(cell) for cell in line])
        except ValueError as error:
            if number == 0:  # a header
                continue
            raise LilliputError(
                f"{name}, row {number + 1}: {str(error)[:60]}; every cell below the header must be a number"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise LilliputError(
                f"{name}, row {number + 1} has {len(rows[-1])} columns, the first {len(rows[0])}; all must be alike"
            )
    return np.array(rows, np.float64) if rows else np.zeros((0, 0))
