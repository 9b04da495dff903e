"""What a torch file holds, flat: every array of the actor by its dotted path, whatever it was wrapped in."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.inert_numpy import array_of, is_numpy
from lilliput.policies.load.inert_pickle import (
    DICT,
    ORDERED_DICT,
    SET,
    Global,
    InertCall,
    Persistent,
    is_call,
    state_of,
)
from lilliput.policies.load.torch_file import Module

MAX_ENTRIES = 20_000
MAX_NAME = 1_000
"""Characters of one name; what looks for words in it takes the square of that in the worst case."""

Path = tuple[str, ...]
"""The keys of the dicts on the way to something; the keys of a state dict have dots inside."""

_CONTENT = np.ndarray | InertCall | Module
_NAMESPACES = (Global("argparse", "Namespace"), Global("types", "SimpleNamespace"))
_HARMLESS = {
    ("collections", "deque"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "Size"),
    ("torch", "device"),
}
"""Classes of what stands in checkpoints and says nothing of the policy."""

_LEARNERS = re.compile(
    r"(?i)(?:critic|privileged|teacher|rnd)\w*|\w*(?:target|optim|scheduler)\w*|values?(?:_\w+)?|qf?[12](?:_\w+)?"
)
"""Members of a checkpoint that are not the policy's, and that a policy does without."""


@final
@dataclass(frozen=True, eq=False)
class Saved:
    """A file's content, without learners and without the prefixes that torch.compile and DataParallel put in.

    Attributes:
        name: the file, for errors.
        arrays: by path, in the file's order. What stands behind the first of a tuple has its number in front:
            [1].fc1.weight.
        values: numbers, texts and lists of them, by path.
        objects: the class of whatever is no data, by path.
        members: the names in the outermost dict.
        module: the pickled module, where the file holds one, alone or first in a list; beside: what follows it there.
    """

    name: str
    arrays: dict[str, np.ndarray]
    values: dict[str, Any]
    objects: dict[str, str]
    members: tuple[str, ...] = ()
    module: Module | None = None
    beside: tuple[Any, ...] = ()


def saved(value: Any, name: str) -> Saved:
    """What `read_torch` gave, flat.

    Raises:
        LilliputError: more things than a checkpoint of a policy has.
    """
    first, *rest = value if isinstance(value, list | tuple) and value else [value]
    if isinstance(first, Module):
        return Saved(name, {}, {}, {}, (), _inside(first), tuple(rest))
    if isinstance(value, dict):  # {"model": the module, "epoch": 3}
        modules = [key for key, item in value.items() if isinstance(item, Module) and not _LEARNERS.fullmatch(str(key))]
        others = {key: item for key, item in value.items() if not isinstance(item, Module)}
        if len(modules) == 1 and not (beside := saved(others, name)).arrays and not beside.objects:
            return dataclasses.replace(beside, module=_inside(value[modules[0]]))
    arrays: dict[Path, np.ndarray] = {}
    values: dict[str, Any] = {}
    objects: dict[str, str] = {}
    for path, leaf in leaves(value, name):
        match leaf:
            case np.ndarray():
                arrays[path] = leaf
            case Global(module=module, name=kind):
                values[".".join(path)] = f"{module}.{kind}"
            case InertCall() | Module() | Persistent():
                objects[".".join(path)] = class_of(leaf)
            case _:
                values[".".join(path)] = leaf
    members = tuple(map(str, value)) if isinstance(value, dict) else ()
    return Saved(name, _named(arrays), values, objects, members)


def _inside(module: Module) -> Module:
    """The module that torch.compile, DataParallel and their like stand around."""
    for kind, key in (("OptimizedModule", "_orig_mod"), ("DataParallel", "module")):
        inner = module.children.get(key)
        if module.kind.startswith("torch.") and module.kind.endswith(kind) and isinstance(inner, Module):
            return _inside(inner)
    return module


def class_of(value: Any) -> str:
    """The class of something that is no data, by its full name."""
    match value:
        case Module(kind=kind):
            return kind
        case InertCall(maker=Global(module=module, name=name)):
            return f"{module}.{name}"
        case _:
            return "an object"


def leaves(value: Any, name: str) -> Iterator[tuple[Path, Any]]:
    """What is no container, with the keys on the way to it, in the file's order; optimizers are left out.

    Raises:
        LilliputError: more things than a checkpoint of a policy has, one of them counted each time that it is met.
    """
    todo: list[tuple[Path, Any]] = [((), value)]
    for _ in range(MAX_ENTRIES):
        if not todo:
            return
        if len(todo) > MAX_ENTRIES:
            break
        path, value = todo.pop()
        if path and len(path[-1]) > MAX_NAME:
            raise LilliputError(f"{name} has a name of {len(path[-1])} characters; at most {MAX_NAME} are read")
        match value:
            case {"state": dict(), "param_groups": list(), **rest} if not rest:
                continue
            case dict():
                todo += [((*path, str(key)), item) for key, item in reversed(value.items())]
            case InertCall() if (state := _settings(value)) is not None:
                todo += [((*path, key), item) for key, item in reversed(state.items())]
            case InertCall() if is_numpy(value):
                todo.append((path, array_of(value, name)))
            case InertCall(members=members) if is_call(value, SET) and members:
                todo.append((path, members))
            case InertCall(maker=Global(module=module, name=kind)) if (module.partition(".")[0], kind) in _HARMLESS:
                continue
            case list() | tuple() if any(isinstance(one, list | tuple | dict | _CONTENT) for one in value):
                parts = [(path if not number else (*path, f"[{number}]"), item) for number, item in enumerate(value)]
                todo += reversed(parts)
            case _:
                yield path, value
    raise LilliputError(f"{name} holds more than {MAX_ENTRIES} things; save the policy's state_dict() alone")


def _settings(value: InertCall) -> dict[str, Any] | None:
    """What a namespace of settings holds, or a dict inside of one; None of anything else."""
    if is_call(value, DICT, ORDERED_DICT, Global("collections", "defaultdict")):
        return {str(key): item for key, item in value.items if isinstance(key, str | int | float)}
    return state_of(value) if is_call(value, *_NAMESPACES) else None


def _named(arrays: dict[Path, np.ndarray]) -> dict[str, np.ndarray]:
    """The actor's arrays by name."""
    own = [path for path in arrays if len(path) < 2 or not _LEARNERS.fullmatch(next(iter(path)))] or list(arrays)
    # {"epoch": 3, "model_state_dict": {...}}: the name of the only member that has names inside says nothing.
    paths = own
    while len(deep := {path[:1] for path in paths if len(path) > 1}) == 1 and "[" not in "".join(*deep):
        paths = [path[1:] if len(path) > 1 else path for path in paths]
    parts = [[part for part in ".".join(path).split(".") if part != "_orig_mod"] for path in paths]
    names = [".".join(name) for name in _without_parallel(parts)]
    if len(set(names)) < len(names):  # they were no prefixes
        names = [".".join(path) for path in own]
    return {name: arrays[path] for name, path in zip(names, own, strict=True)}


def _without_parallel(names: list[list[str]]) -> list[list[str]]:
    """The names without the "module" that DataParallel puts around a module: it has no brothers there."""
    children: dict[Path, set[str]] = {}
    for parts in names:
        for depth, part in enumerate(parts):
            children.setdefault(tuple(parts[:depth]), set()).add(part)
    return [
        [part for depth, part in enumerate(parts) if part != "module" or len(children[tuple(parts[:depth])]) > 1]
        for parts in names
    ]
