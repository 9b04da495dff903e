"""Observations that the user gave for calibration, kept under their digest in the folder that works with them."""

import hashlib
import io
from pathlib import Path

import numpy as np

from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.policies.load.npy import read_npy
from lilliput.record import Cell
from lilliput.study.workspace import Workspace

SETTING = "observations"
"""Of a cell: the digest of the observations that its recipe calibrates on; without it, it plays for them."""


def digest_of(observations: np.ndarray) -> str:
    """The name of these observations."""
    described = f"{observations.dtype.str}{observations.shape}".encode()
    return hashlib.sha256(described + observations.tobytes()).hexdigest()


def keep_observations(folder: Path, observations: np.ndarray) -> str:
    """The digest under which the observations stand in the folder."""
    digest = digest_of(observations)
    path = Workspace(folder).observations(digest)
    if not path.exists():
        buffer = io.BytesIO()
        np.save(buffer, observations, allow_pickle=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    return digest


def kept_observations(folder: Path, digest: str) -> np.ndarray | None:
    """The observations of that digest; None where it is empty.

    Raises:
        LilliputError: they are gone, or are not what was kept.
    """
    if not digest:
        return None
    path = Workspace(folder).observations(digest)
    if not path.is_file():
        raise LilliputError(f"{path} is gone; run the same command again")
    found = read_npy(path.read_bytes(), repr(path.name))
    if digest_of(found) != digest:
        raise LilliputError(f"{path} was changed; remove it and run the same command again")
    return found


def observations_of(cell: Cell, folder: Path) -> np.ndarray | None:
    """What the cell's recipe calibrates on, where that was given."""
    return kept_observations(folder, dict(cell.settings).get(SETTING, ""))
