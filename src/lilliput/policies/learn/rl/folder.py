"""The folder of a training: what it holds, and of which training it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lilliput.errors import LilliputError
from lilliput.files import LOCK
from lilliput.policies.learn import curve
from lilliput.policies.learn.rl import checkpoint
from lilliput.policies.learn.rl.training import FILE, NAME, Training

THEIRS: Final = ("model.zip", "vecnormalize.pkl")
"""Files that the framework reads."""


def check_ours(folder: Path, *, force: bool) -> None:
    """Checks that the folder is empty or a training's, and leaves nothing in it.

    Raises:
        LilliputError: it holds something else, and `force` is not given.
    """
    if force or (folder / NAME).exists():
        return
    if any(file.name != LOCK for file in folder.iterdir()):
        raise LilliputError(f"{folder} holds something else; choose another folder, or --force")


def enter(folder: Path, training: Training, *, force: bool) -> None:
    """Makes the folder that of the training: what it holds of it stays, to be gone on from, and of another one goes.

    Raises:
        LilliputError: it holds another training, and `force` is not given.
    """
    asked = training.to_json()
    path = folder / NAME
    # Without a checkpoint nothing is lost by another training.
    if path.exists() and not force and (folder / checkpoint.NAME).exists():
        found = FILE.read(path)
        # More steps of the same training go on from what is there: all else has to be the same.
        if {**found, "steps": 0} != {**plain(asked), "steps": 0}:
            differing = [key for key in asked if found.get(key) != plain(asked)[key]]
            raise LilliputError(
                f"{folder} holds another training ({', '.join(differing)} differ); choose another folder, or --force "
                "to begin anew"
            )
        if found["steps"] != training.steps:
            raise LilliputError(
                f"{folder} holds a training of {found['steps']} steps, and {training.steps} were asked for: schedules "
                "depend on the number; choose another folder, or --force to begin anew"
            )
        return
    for name in (checkpoint.NAME, curve.NAME, "policy.lilliput", "best.lilliput", *THEIRS):
        (folder / name).unlink(missing_ok=True)
    for file in (folder / "replay").glob("*.npy"):
        file.unlink()
    FILE.write(path, asked)


def plain(data: Any) -> Any:
    """JSON data as it is read again."""
    if isinstance(data, Mapping):
        return {key: plain(value) for key, value in data.items()}
    return [plain(value) for value in data] if isinstance(data, list | tuple) else data
