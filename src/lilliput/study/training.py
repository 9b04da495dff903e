"""Policies that a study trains itself where they are not there yet, one for each training seed."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError, closest
from lilliput.files import Format
from lilliput.parameter import checked_arguments
from lilliput.policies import file as policy_file
from lilliput.policies import learn
from lilliput.policies.learn.rl.algorithm import algorithm
from lilliput.policies.learn.rl.hyperparameters import ACTIVATIONS
from lilliput.policies.learn.rl.setting import check as check_setting
from lilliput.policies.learn.rl.training import FILE, NAME, Pruning, Quantization, Training

DONE = Format("trained", 1)
"""Of the file that says that a training came to its end. 1: what was asked."""
DONE_NAME = "trained.json"

_NEEDED = ("folder", "algorithm", "environment", "steps")
KEYS: Mapping[str, type | tuple[type, ...]] = {
    "folder": str, "algorithm": str, "environment": str, "steps": int, "seeds": list, "environment_kwargs": dict,
    "wrappers": list, "hidden": list, "activation": str, "normalize": bool, "settings": dict, "quantization": dict,
    "pruning": dict, "segment": int, "episodes": int,
}  # fmt: skip
"""What a [[train]] of a study file may say: the arguments of `lilliput.train`, its seeds and where they stand."""

_PARTS: Mapping[str, type[Any]] = {"quantization": Quantization, "pruning": Pruning}
"""The two tables; of their keys the first is needed."""
_LISTS: Mapping[str, type] = {"hidden": int, "wrappers": str}


@final
@dataclass(frozen=True)
class TrainingCell:
    """One training of one seed.

    Attributes:
        folder: for all that it keeps: an interrupted one goes on there.
        asked: arguments of `lilliput.train`, as JSON data.
    """

    folder: Path
    asked: Mapping[str, Any]

    @property
    def policy(self) -> Path:
        """The file of what was learned."""
        return self.folder / f"policy{policy_file.SUFFIX}"

    @property
    def is_there(self) -> bool:
        """Whether it came to its end. A policy that was put there without a training is taken as it is.

        Raises:
            LilliputError: what stands there was trained otherwise.
        """
        done = self.folder / DONE_NAME
        if not done.exists():
            return self.policy.exists() and not (self.folder / NAME).exists()
        found, asked = DONE.read(done).get("asked") or {}, self.asked
        if found == asked and (self.folder / NAME).exists():  # which may have been begun anew by hand since then
            found = FILE.read(self.folder / NAME)
            asked = json.loads(json.dumps(Training(**_arguments(asked)).to_json()))
        if found != asked:
            different = [key for key in sorted({*found, *asked}) if found.get(key) != asked.get(key)]
            raise LilliputError(
                f"{self.folder} holds another training ({', '.join(different)} differ); name another folder, or "
                "remove it"
            )
        return True

    def train(self) -> str:
        """Why it failed, in a line; empty where the policy is there, trained now or before."""
        try:
            if not self.is_there:
                self._train()
        except LilliputError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or self.folder}: {error.strerror}"
        return ""

    def _train(self) -> None:
        algorithm(self.asked["algorithm"]).load()  # says what is missing before anything of it is imported
        trained = learn.train(out=self.folder, **_arguments(self.asked))
        if trained.steps >= self.asked["steps"]:
            DONE.write(self.folder / DONE_NAME, {"asked": dict(self.asked)})


def cells_of(item: Any, base: Path) -> tuple[TrainingCell, ...]:
    """The trainings that a [[train]] of a study file in the folder `base` asks for, one for each of its seeds.

    Raises:
        LilliputError: a key is missing, unknown or of another type.
    """
    if not isinstance(item, dict):
        raise LilliputError(f"train: {item!r}; write [[train]] with {', '.join(_NEEDED)} under it")
    for key, value in item.items():
        if key not in KEYS:
            raise LilliputError(f"train: unknown key {key!r}; {closest(key, KEYS)}allowed: {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or (KEYS[key] is int and isinstance(value, bool)):
            raise LilliputError(f"train: {key} is {value!r}; it must be of the kind of {KEYS[key].__name__}")  # type: ignore[union-attr]
    missing = [key for key in _NEEDED if key not in item]
    if missing:
        raise LilliputError(f"train: {missing[0]} is missing; needed are {', '.join(_NEEDED)}")
    for key, kind in _PARTS.items():
        known = [field.name for field in dataclasses.fields(kind)]
        if key in item and known[0] not in item[key]:
            raise LilliputError(f"train: {key} names no {known[0]}; write {key} = {{ {known[0]} = ... }}")
        unknown = next((name for name in item.get(key, ()) if name not in known), None)
        if unknown is not None:
            raise LilliputError(f"train: {key}: {unknown!r}; {closest(unknown, known)}allowed: {', '.join(known)}")
    seeds = item.get("seeds", [0])
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise LilliputError(f"train: seeds is {seeds!r}; it must be a list of integers from 0")
    asked = {key: value for key, value in item.items() if key not in ("folder", "seeds")}
    try:
        _check(asked)
    except LilliputError as error:
        raise LilliputError(f"train: {error}") from error
    if not item["folder"]:
        raise LilliputError('train: folder is empty; write folder = "runs/name"')
    folder = base / Path(item["folder"]).expanduser()
    return tuple(TrainingCell(folder / f"seed-{seed}", {**asked, "seed": seed}) for seed in dict.fromkeys(seeds))


def _arguments(asked: Mapping[str, Any]) -> dict[str, Any]:
    """JSON data as arguments of `lilliput.train`."""
    parts = {key: kind(**checked_arguments(kind, asked[key])) for key, kind in _PARTS.items() if key in asked}
    return {**asked, **parts, **{key: tuple(asked[key]) for key in _LISTS if key in asked}}


def _check(asked: Mapping[str, Any]) -> None:
    """Checks all that can be known before the frameworks and the environment are there.

    Raises:
        LilliputError: an unknown algorithm, a wrapper that there is not, a number out of its range and the like.
    """
    for key, kind in _LISTS.items():
        if not all(type(one) is kind for one in asked.get(key, ())):
            what = {int: "integers", str: "texts"}[kind]
            raise LilliputError(f"{key} is {asked[key]!r}; it must be a list of {what}")
    Training(**_arguments(asked))
    activation = asked.get("activation", "relu")
    if activation not in ACTIVATIONS:
        near = closest(activation, ACTIVATIONS)
        raise LilliputError(f"activation is {activation!r}; {near}allowed: {', '.join(ACTIVATIONS)}")
    for name, value in asked.get("settings", {}).items():
        check_setting(name, value)


def waiting(cells: Iterable[TrainingCell]) -> tuple[TrainingCell, ...]:
    """Those whose policies are not there yet."""
    return tuple(cell for cell in cells if not cell.is_there)
