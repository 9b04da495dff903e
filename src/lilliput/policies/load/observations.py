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
SEPARATORS = (",", ";", "\t", " ")


def read_observations(
    path: str | os.PathLike[str], space: spaces.ObservationSpace
) -> tuple[Num[np.ndarray, "n ..."], tuple[str, ...]]:
    """The raw observations in the file, a row each, as the first layer takes them, and what their reader has to know.

    An .npy or .npz holds (n, *shape), or the same flattened; an .npz of a Dict observation may hold an array a key. A
    .csv has a row an observation, its numbers flattened, and maybe a header: names, or the columns counted.

    Raises:
        LilliputError: no such file, none of these kinds, of another shape, or with numbers that are not finite, that
            the space cannot hold or most of which are far out of its bounds.
    """
    path = Path(path)
    name = repr(path.name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LilliputError(f"{name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LilliputError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    notes: tuple[str, ...] = ()
    if data.startswith(b"PK"):
        found = _from_npz(data, name, space)
    elif data.startswith(b"\x93NUMPY"):
        found = read_npy(data, name)
    else:
        found, notes = _from_csv(data, name)
    observations = _checked(found, name, space)
    return observations, (*notes, *_beyond(observations, name, space))


def _checked(
    given: np.ndarray | dict[str, np.ndarray], name: str, space: spaces.ObservationSpace
) -> Num[np.ndarray, "n ..."]:
    shape = spaces.input_shape(space)
    size = int(np.prod(shape))
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.shape[1] == size:
        given = given.reshape(len(given), *shape)
    try:
        with np.errstate(all="ignore"):
            observations = spaces.artifact_input(space, given)
    except LilliputError as error:
        raise LilliputError(f"{name}: {error}") from error
    if not len(observations):
        raise LilliputError(f"{name} holds no observation; at least one is needed")
    if observations.dtype.kind == "f" and not np.isfinite(observations).all():
        row, *_ = np.argwhere(~np.isfinite(observations))[0]
        raise LilliputError(f"{name}: observation {row} (counted from 0) is not finite in float32; leave out such rows")
    return observations


def _beyond(observations: np.ndarray, name: str, space: spaces.ObservationSpace) -> tuple[str, ...]:
    """A sentence where observations lie outside of the space's finite bounds.

    Raises:
        LilliputError: most have a number that is farther outside than the bounds are apart: another unit or order.
    """
    low, high = spaces.network_bounds(space)
    bounded = np.flatnonzero(np.isfinite(high - low) & (high > low))
    if observations.dtype == np.uint8 or not bounded.size:
        return ()
    flat, low, high = observations.reshape(len(observations), -1)[:, bounded], low[bounded], high[bounded]
    outside = np.maximum(low - flat, flat - high) / (high - low)
    near, far = (int((outside > apart).any(axis=1).sum()) for apart in (1e-3, 1.0))
    if not near:
        return ()
    row, at = np.unravel_index(outside.argmax(), outside.shape)
    said = (
        f"{near} of {len(flat)} observations in {name} are outside of the policy's bounds (number {bounded[at]}, "
        f"counted from 0, is {flat[row, at]:g}; the policy takes {low[at]:g} to {high[at]:g})"
    )
    if 2 * far > len(flat):
        raise LilliputError(f"{said}; give raw observations, in the units and the order of the environment")
    return (f"{said}: are they raw, in its units and order?",)


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


def _from_csv(data: bytes, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rows of numbers, and what was taken for granted."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LilliputError(f"{name} is no .npy, no .npz and no text; allowed: .npz, .npy, .csv") from error
    try:
        lines = _cells(text)
    except csv.Error as error:
        raise LilliputError(f"{name} is not readable CSV: {error}") from error
    rows: list[list[float]] = []
    notes: tuple[str, ...] = ()
    for number, line in enumerate(lines):
        if number == 0 and _counts(line, lines[1:]):
            notes = (f"row 1 of {name} counts {line[0]}, {line[1]}, ... {line[-1]}: taken as a header",)
            continue
        try:
            rows.append([float(cell) for cell in line])
        except ValueError as error:
            if number == 0:  # a header
                notes = (f"row 1 of {name} is taken as a header",) if any(map(_is_number, line)) else ()
                continue
            raise LilliputError(
                f"{name}, row {number + 1}: {str(error)[:60]}; every cell below the header must be a number, with a "
                "decimal point, and commas, semicolons, tabs or spaces between"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise LilliputError(
                f"{name}, row {number + 1} has {len(rows[-1])} columns, the first {len(rows[0])}; all must be alike"
            )
    if not rows:
        raise LilliputError(f"{name} holds no observation: no row of it is numbers; at least one is needed")
    return np.array(rows, np.float64), notes


def _cells(text: str) -> list[list[str]]:
    """The cells of each row that has any, by the first separator that makes numbers of the last row."""
    for separator in SEPARATORS:
        plain = "\n".join(" ".join(row.split()) for row in text.splitlines()) if separator == " " else text
        reader = csv.reader(io.StringIO(plain), delimiter=separator, strict=True)
        lines = [line for line in reader if any(cell.strip() for cell in line)]
        if lines and all(map(_is_number, lines[-1])):
            return lines
    return [line for line in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in line)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _counts(line: list[str], below: list[list[str]]) -> bool:
    """Whether a first row counts the columns, as pandas names them; one of two columns only above fractions."""
    counted = any([cell.strip() for cell in line] == [str(start + i) for i in range(len(line))] for start in (0, 1))
    return (
        counted
        and bool(below)
        and (len(line) > 2 or (len(line) == 2 and any(not cell.strip().isdecimal() for row in below for cell in row)))
    )
