"""A study as its TOML file says it: read, checked, and every error with its line."""

import fnmatch
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError, closest
from lilliput.measure import ON_TARGETS, TARGETS
from lilliput.measurement import QUANTITIES
from lilliput.recipe import expand
from lilliput.task import Task

DEFAULT_QUANTITIES = (
    "episode_return", "episode_length", "model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters", "n_macs",
)  # fmt: skip

FORMATS = ("onnx", "c")
PATTERNS = ("policy", "algorithm", "environment", "recipe", "format")
"""What an exclusion may name; each is a pattern with * and ?."""


@final
@dataclass(frozen=True)
class Exclusion:
    """Cells that are left out: those that match all of the patterns."""

    patterns: tuple[tuple[str, str], ...]

    def matches(self, names: Mapping[str, str]) -> bool:
        """Whether a cell of these names is left out."""
        return all(fnmatch.fnmatchcase(names[key].casefold(), pattern.casefold()) for key, pattern in self.patterns)


@final
@dataclass(frozen=True)
class Study:
    """What a study file asks for.

    Attributes:
        folder: what relative paths start from.
        policies: paths and globs.
        environments: pattern of a policy's path or of the environment that it was trained on -> where it plays; a list
            of environments for all policies stands under the pattern "*". Empty: where its source says.
        load: pattern of a policy's path -> what `load_policy` is told of it: bounds, wrappers and the like.
        recipes: expanded and canonical, without the baseline, which is always there.
        max_steps: after which an episode is cut; None: the usual.
        cell_timeout: seconds after which a cell is given up; None: never.
        file, lines: its path and where each key stands in it, for errors.
    """

    title: str
    folder: Path
    policies: tuple[str, ...]
    recipes: tuple[str, ...]
    environments: tuple[tuple[str, tuple[Task, ...]], ...] = ()
    load: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    formats: tuple[str, ...] = ("c",)
    targets: tuple[str, ...] = ("host",)
    compression_seeds: tuple[int, ...] = (0,)
    episodes: int = 100
    seed: int = 0
    keep: float = 0.95
    quantities: tuple[str, ...] = DEFAULT_QUANTITIES
    cell_timeout: float | None = 3600.0
    max_steps: int | None = None
    exclude: tuple[Exclusion, ...] = ()
    file: str = "study"
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: str) -> str:
        """`study.toml, line 3: key`, as errors about it begin."""
        return f"{self.file}, line {self.lines.get(key, 1)}: {key}"


LOAD = (
    "normalizer", "output", "activation", "action", "action_low", "action_high", "environment", "environment_kwargs",
    "wrappers",
)  # fmt: skip
"""What can be told of a policy that is loaded: arguments of `load_policy`."""

KEYS = (
    "title", "policies", "environments", "load", "recipes", "formats", "targets", "compression_seeds", "episodes",
    "seed", "keep", "quantities", "cell_timeout", "max_steps", "exclude",
)  # fmt: skip


def read(path: Path) -> Study:
    """The study in a TOML file.

    Raises:
        LilliputError: it is not TOML, or asks for something that there is not; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LilliputError(f"{path}: not TOML: {error}") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise LilliputError(f"{path} is not a study file: {error}") from error
    return _Reader(path, text, data).study()


class _Reader:
    """The file under way: its text, to find lines in, beside its data."""

    def __init__(self, path: Path, text: str, data: dict[str, Any]) -> None:
        self.path, self.data = path, data
        self.lines = text.splitlines()

    def study(self) -> Study:
        for key in self.data:
            if key not in KEYS:
                raise self.error(key, f"unknown key {key!r}; {closest(key, KEYS)}allowed: {', '.join(KEYS)}")
        for key in ("policies", "recipes"):
            if key not in self.data:
                raise LilliputError(f'{self.path}: {key} is missing; write {key} = ["..."]')
        return Study(
            title=self.of(str, "title", self.path.stem),
            folder=self.path.parent,
            policies=self.strings("policies"),
            recipes=self.recipes(),
            environments=self.environments(),
            load=self.load(),
            formats=self.choices("formats", ("c",), FORMATS),
            targets=self.targets(),
            compression_seeds=self.seeds(),
            episodes=self.integer("episodes", 100, 1),
            seed=self.integer("seed", 0, 0),
            keep=self.share(),
            quantities=self.choices("quantities", DEFAULT_QUANTITIES, tuple(QUANTITIES)),
            cell_timeout=self.timeout(),
            max_steps=self.integer("max_steps", 0, 1) if "max_steps" in self.data else None,
            exclude=self.exclusions(),
            file=str(self.path),
            lines={key: self.line(key) for key in self.data},
        )

    def targets(self) -> tuple[str, ...]:
        """The processors to count on, host first: there the returns are played."""
        found = self.choices("targets", ("host",), ("host", *TARGETS))
        emulated = tuple(name for name in found if name != "host")
        if emulated and "c" not in self.choices("formats", ("c",), FORMATS):
            raise self.error("targets", f'targets: {emulated[0]} takes the format c; write formats = ["c"]')
        asked = [name for name in self.choices("quantities", (), tuple(QUANTITIES)) if name in ON_TARGETS]
        if asked and not emulated:
            raise self.error(
                "quantities", f'quantities: {asked[0]} is counted on a target; write targets = ["cortex-m4"]', asked[0]
            )
        return ("host", *emulated)

    def line(self, key: str, within: str | None = None) -> int:
        """The line of a key; of the first string like `within` from there on, where one is there."""
        name = rf"(?:{re.escape(key)}|\"{re.escape(key)}\")"
        start = re.compile(rf"\s*(?:{name}\s*[.=]|\[+\s*{name}\s*[\].])")
        first = next((n for n, line in enumerate(self.lines, 1) if start.match(line)), 1)
        if within is None:
            return first
        escaped = within.replace("\\", "\\\\").replace('"', '\\"')
        after = enumerate(self.lines[first - 1 :], first)
        return next((n for n, line in after if within in line or escaped in line), first)

    def error(self, key: str, what: str, within: str | None = None) -> LilliputError:
        return LilliputError(f"{self.path}, line {self.line(key, within)}: {what}")

    def of(self, kind: type, key: str, default: Any) -> Any:
        value = self.data.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"{key} is {value!r}; it must be {_WORDS[kind]}")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.of(list, key, [])
        for item in value:
            if not isinstance(item, str) or not item.strip():
                raise self.error(key, f"{key} holds {item!r}; it must be a list of texts")
        if not value:
            raise self.error(key, f'{key} is empty; write {key} = ["..."]')
        return tuple(dict.fromkeys(value))

    def choices(self, key: str, default: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
        if key not in self.data:
            return default
        found = self.strings(key)
        for item in found:
            if item not in allowed:
                raise self.error(key, f"{key}: {item!r}; {closest(item, allowed)}allowed: {', '.join(allowed)}", item)
        return found

    def integer(self, key: str, default: int, low: int) -> int:
        value = self.of(int, key, default)
        if value < low:
            raise self.error(key, f"{key} is {value}; it must be an integer from {low}")
        return value

    def real(self, key: str, default: float) -> float:
        value = self.data.get(key, default)
        if type(value) not in (int, float):
            raise self.error(key, f"{key} is {value!r}; it must be a number")
        return float(value)

    def share(self) -> float:
        value = self.real("keep", 0.95)
        if not 0 < value <= 1:
            raise self.error("keep", f"keep is {value:g}; it must be in (0, 1]")
        return value

    def timeout(self) -> float | None:
        value = self.real("cell_timeout", 3600.0)
        if value < 0:
            raise self.error("cell_timeout", f"cell_timeout is {value:g}; it must be seconds above 0, or 0 for none")
        return value or None

    def seeds(self) -> tuple[int, ...]:
        value = self.of(list, "compression_seeds", [0])
        if not value or not all(type(item) is int and item >= 0 for item in value):
            raise self.error("compression_seeds", f"compression_seeds is {value}; it must be a list of integers from 0")
        return tuple(dict.fromkeys(value))

    def recipes(self) -> tuple[str, ...]:
        from lilliput.policies.compress import format_recipe, parse

        value = self.of(list, "recipes", [])
        found: dict[str, None] = {}
        for text in value:
            if not isinstance(text, str):
                raise self.error("recipes", f"recipes holds {text!r}; it must be a list of recipe texts")
            try:
                found |= {format_recipe(parse(one)): None for one in expand(text)}
            except LilliputError as error:
                raise self.error("recipes", str(error), text) from error
        found.pop("", None)
        if not found:
            raise self.error("recipes", 'recipes is empty; write recipes = ["quantize()"]')
        return tuple(found)

    def environments(self) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        value = self.data.get("environments", {})
        if not isinstance(value, dict):
            return (("*", self.places(value, "environments")),)
        return tuple((pattern, self.places(places, pattern)) for pattern, places in value.items())

    def places(self, value: Any, pattern: str) -> tuple[Task, ...]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.error("environments", f"environments: {pattern!r} names none", pattern)
        return tuple(self.place(item, pattern) for item in items)

    def place(self, value: Any, pattern: str) -> Task:
        match value:
            case str() if value:
                return Task(value)
            case {"id": str(id_), "kwargs": dict(kwargs), **rest} if not rest:
                return Task.of(id_, kwargs)
            case {"id": str(id_), **rest} if not rest:
                return Task(id_)
            case _:
                shown = f'environments: {value!r}; write an id such as "Hopper-v4", or {{ id = "...", kwargs = {{ }} }}'
                raise self.error("environments", shown, pattern)

    def load(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        value = self.of(dict, "load", {})
        for pattern, told in value.items():
            if not isinstance(told, dict) or not told:
                raise self.error("load", f"load: {pattern!r} is {told!r}; write {{ action_high = 0.4, ... }}", pattern)
            for key in told:
                if key not in LOAD:
                    raise self.error("load", f"load: {key!r}; {closest(key, LOAD)}allowed: {', '.join(LOAD)}", key)
        return tuple(value.items())

    def exclusions(self) -> tuple[Exclusion, ...]:
        value = self.of(list, "exclude", [])
        found = []
        for item in value:
            valid = isinstance(item, dict) and item and all(isinstance(text, str) for text in item.values())
            if not valid or not set(item) <= set(PATTERNS):
                unknown = next((key for key in item if key not in PATTERNS), "") if isinstance(item, dict) else ""
                hint = closest(unknown, PATTERNS) if unknown else ""
                allowed = ' = "pattern", '.join(PATTERNS)
                raise self.error("exclude", f'exclude: {item!r}; {hint}allowed: {allowed} = "pattern"', unknown or None)
            found.append(Exclusion(tuple(sorted(item.items()))))
        return tuple(found)


_WORDS: dict[type, str] = {str: "a text", list: "a list", int: "an integer", dict: "a table"}
