"""A study as its TOML file says it: read, checked, and every error with its line."""

import fnmatch
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError, closest
from lilliput.measure.target import TARGETS
from lilliput.measurement import QUANTITIES
from lilliput.recipe import expand
from lilliput.report.reproduction import PAPERS
from lilliput.study.table import WINGS
from lilliput.study.training import TrainingCell, cells_of
from lilliput.study.wing import Wing
from lilliput.task import Task


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
        wing: of its subjects.
        sources: of the subjects: paths and globs.
        tasks: pattern of a subject's path or of what it was trained on -> what it is judged on; a list of tasks for all
            subjects stands under the pattern "*". Empty: what its source says.
        load: pattern of a subject's path -> what its loader is told of it: bounds, wrappers and the like.
        recipes: expanded and canonical, without the baseline, which is always there.
        n_items: of each task; settings: what else of it is not as usual.
        trainings: of subjects that are trained first where they are not there yet.
        cell_timeout: seconds after which a cell is given up; None: never.
        reproduces: the paper whose tables and claims its report holds its own numbers beside; empty: none.
        file, lines: its path and where each key stands in it, for errors.
    """

    title: str
    folder: Path
    wing: Wing
    sources: tuple[str, ...]
    recipes: tuple[str, ...]
    quantities: tuple[str, ...]
    tasks: tuple[tuple[str, tuple[Task, ...]], ...] = ()
    load: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    formats: tuple[str, ...] = ("c",)
    targets: tuple[str, ...] = ("host",)
    compression_seeds: tuple[int, ...] = (0,)
    n_items: int = 100
    settings: tuple[tuple[str, int], ...] = ()
    seed: int = 0
    keep: float = 0.95
    cell_timeout: float | None = 3600.0
    trainings: tuple[TrainingCell, ...] = ()
    exclude: tuple[Exclusion, ...] = ()
    reproduces: str = ""
    file: str = "study"
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: str) -> str:
        """`study.toml, line 3: key`, as errors about it begin."""
        return f"{self.file}, line {self.lines.get(key, 1)}: {key}"


def read_study(path: Path) -> Study:
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

    @property
    def wing(self) -> Wing:
        """The one whose subjects are listed; policies where none is."""
        return next((wing for name, wing in WINGS.items() if name in self.data), next(iter(WINGS.values())))

    @property
    def keys(self) -> tuple[str, ...]:
        wing = self.wing
        return (
            "title", wing.NAME, wing.TASKS, "load", "recipes", "formats", "targets", "compression_seeds", wing.ITEMS,
            "seed", "keep", "quantities", "cell_timeout", "reproduces", *wing.SETTINGS,
            *(("train",) if wing.TRAINS else ()), "exclude",
        )  # fmt: skip

    @property
    def patterns(self) -> tuple[str, ...]:
        """What an exclusion may name; each is a pattern with * and ?."""
        return (self.wing.SUBJECT, "algorithm", self.wing.TASK, "recipe", "format")

    def study(self) -> Study:
        wing, keys = self.wing, self.keys
        for key in self.data:
            if key not in keys:
                raise self.error(key, f"unknown key {key!r}; {closest(key, keys)}allowed: {', '.join(keys)}")
        trainings = self.trainings()
        for key in ("recipes",) if trainings else (wing.NAME, "recipes"):
            if key not in self.data:
                raise LilliputError(f'{self.path}: {key} is missing; write {key} = ["..."]')
        return Study(
            title=self.of(str, "title", self.path.stem),
            folder=self.path.parent,
            wing=wing,
            sources=self.strings(wing.NAME) if wing.NAME in self.data else (),
            recipes=self.recipes(),
            quantities=self.choices("quantities", wing.QUANTITIES, self.measurable()),
            tasks=self.tasks(),
            load=self.load(),
            formats=self.formats(),
            targets=self.targets(),
            compression_seeds=self.seeds(),
            n_items=self.integer(wing.ITEMS, 100, 1),
            settings=tuple((key, self.integer(key, 0, 1)) for key in wing.SETTINGS if key in self.data),
            seed=self.integer("seed", 0, 0),
            keep=self.share(),
            cell_timeout=self.timeout(),
            trainings=trainings,
            exclude=self.exclusions(),
            reproduces=self.paper(),
            file=str(self.path),
            lines={key: self.line(key) for key in self.data},
        )

    def formats(self) -> tuple[str, ...]:
        """The formats of the artifacts; the last that there is where none is named."""
        return self.choices("formats", self.wing.formats[-1:], self.wing.formats)

    def measurable(self) -> tuple[str, ...]:
        """Every quantity that a meter of the wing gives."""
        given = {name for meter in self.wing.meters for name in meter.QUANTITIES}
        return tuple(name for name in QUANTITIES if name in given)

    def targets(self) -> tuple[str, ...]:
        """The processors to count on, host first: there the items are answered."""
        counting = [meter for meter in self.wing.meters if meter.ON_TARGET]
        targets = self.choices("targets", ("host",), ("host", *(TARGETS if counting else ())))
        emulated = tuple(name for name in targets if name != "host")
        taken = [format_ for meter in counting for format_ in meter.FORMATS]
        if emulated and not set(taken) & set(self.formats()):
            raise self.error(
                "targets", f'targets: {emulated[0]} takes the format {taken[0]}; write formats = ["{taken[0]}"]'
            )
        counted = {name for meter in counting for name in meter.QUANTITIES}
        asked = [name for name in self.choices("quantities", (), self.measurable()) if name in counted]
        if asked and not emulated:
            raise self.error(
                "quantities", f'quantities: {asked[0]} is counted on a target; write targets = ["cortex-m4"]', asked[0]
            )
        return ("host", *emulated)

    def paper(self) -> str:
        """The paper that it reproduces, of those whose tables and claims are known."""
        paper = self.of(str, "reproduces", "")
        if paper and paper not in PAPERS:
            hint = closest(paper, tuple(PAPERS))
            raise self.error("reproduces", f"reproduces: {paper!r}; {hint}allowed: {', '.join(PAPERS)}", paper)
        return paper

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
        texts = self.strings(key)
        for item in texts:
            if item not in allowed:
                raise self.error(key, f"{key}: {item!r}; {closest(item, allowed)}allowed: {', '.join(allowed)}", item)
        return texts

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
        value = self.of(list, "recipes", [])
        recipes: dict[str, None] = {}
        for text in value:
            if not isinstance(text, str):
                raise self.error("recipes", f"recipes holds {text!r}; it must be a list of recipe texts")
            try:
                recipes |= {self.wing.canonical(one): None for one in expand(text)}
            except LilliputError as error:
                raise self.error("recipes", str(error), text) from error
        recipes.pop("", None)
        if not recipes:
            raise self.error("recipes", 'recipes is empty; write recipes = ["quantize()"]')
        return tuple(recipes)

    def tasks(self) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        value = self.data.get(self.wing.TASKS, {})
        if not isinstance(value, dict):
            return (("*", self.places(value, self.wing.TASKS)),)
        return tuple((pattern, self.places(places, pattern)) for pattern, places in value.items())

    def places(self, value: Any, pattern: str) -> tuple[Task, ...]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.error(self.wing.TASKS, f"{self.wing.TASKS}: {pattern!r} names none", pattern)
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
                key = self.wing.TASKS
                shown = f'{key}: {value!r}; write an id such as "Hopper-v4", or {{ id = "...", kwargs = {{ }} }}'
                raise self.error(key, shown, pattern)

    def load(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        value, known = self.of(dict, "load", {}), self.wing.TOLD
        for pattern, told in value.items():
            if not isinstance(told, dict) or not told:
                raise self.error("load", f"load: {pattern!r} is {told!r}; write {{ action_high = 0.4, ... }}", pattern)
            for key in told:
                if key not in known:
                    raise self.error("load", f"load: {key!r}; {closest(key, known)}allowed: {', '.join(known)}", key)
        return tuple(value.items())

    def trainings(self) -> tuple[TrainingCell, ...]:
        trainings: list[TrainingCell] = []
        heads = [n for n, line in enumerate(self.lines, 1) if re.match(r"\s*\[\[\s*train\s*\]\]", line)]
        for i, item in enumerate(self.of(list, "train", [])):
            try:
                trainings += cells_of(item, self.path.parent)
            except LilliputError as error:
                line = heads[i] if i < len(heads) else self.line("train")
                raise LilliputError(f"{self.path}, line {line}: {error}") from error
        folders = [cell.folder for cell in trainings]
        if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
            raise self.error("train", f"train: two trainings have the folder {twice}; give each its own")
        return tuple(trainings)

    def exclusions(self) -> tuple[Exclusion, ...]:
        value = self.of(list, "exclude", [])
        exclusions, known = [], self.patterns
        for item in value:
            valid = isinstance(item, dict) and item and all(isinstance(text, str) for text in item.values())
            if not valid or not set(item) <= set(known):
                unknown = next((key for key in item if key not in known), "") if isinstance(item, dict) else ""
                hint = closest(unknown, known) if unknown else ""
                allowed = ' = "pattern", '.join(known)
                raise self.error("exclude", f'exclude: {item!r}; {hint}allowed: {allowed} = "pattern"', unknown or None)
            exclusions.append(Exclusion(tuple(sorted(item.items()))))
        return tuple(exclusions)


_WORDS: dict[type, str] = {str: "a text", list: "a list", int: "an integer", dict: "a table"}
