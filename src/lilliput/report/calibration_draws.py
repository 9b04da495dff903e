"""What calibration data does to a model: methods that were run on several sources, and on several draws of each.

Draws share nothing, and every model was asked the same items; so the variance of a score splits into sources, draws and
items, with intervals (`statistics.variance_components`), and two sources are compared in pairs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput import paired
from lilliput import recipe as grammar
from lilliput.record import Record
from lilliput.report.printed_table import PrintedTable
from lilliput.report.vocabulary import Score, brief_text, name_of, score_of
from lilliput.statistics import Interval
from lilliput.statistics.variance_components import flips, next_draw, source_differences, split
from lilliput.sums import deviation, mean
from lilliput.task import ITEM_SCORE, Task

_NAMES = {"gptq": "GPTQ", "spqr": "SpQR", "wanda": "Wanda", "sparsegpt": "SparseGPT"}

_UNIT = {"accuracy": ("points", 100.0), "perplexity": ("nats", 1.0)}
"""Of a value's spread, and what a value is multiplied by; others are as they are."""


@final
@dataclass(frozen=True, eq=False)
class Draws:
    """One method on one model and task.

    Attributes:
        model: as people call it.
        method: as papers call it, else the recipe; with what tells it from others of that name.
        samples: of calibration text in a draw, where the recipe says so.
        task: what was asked.
        sources: names, in the order of the values.
        values: of each source, draw and item; more is better.
        baseline: of each item, by the uncompressed model; floor: by chance.
    """

    model: str
    method: str
    samples: int | None
    task: Task
    sources: tuple[str, ...]
    values: Float64[np.ndarray, "sources draws items"]
    baseline: Float64[np.ndarray, " items"]
    floor: Float64[np.ndarray, " items"]

    @property
    def score(self) -> Score:
        """What people call the number that the task gives, and what makes it."""
        return score_of(self.task)

    @property
    def scores(self) -> Float64[np.ndarray, "sources draws"]:
        """Of each model."""
        return np.array([[self.score.of(model) for model in source] for source in self.values])

    @property
    def retention(self) -> Float64[np.ndarray, "sources draws"]:
        """What each model keeps of what the baseline is better than chance."""
        low, high = mean(self.floor), mean(self.baseline)
        return np.array([[paired.share(mean(model), high, low) for model in source] for source in self.values])


def places(groups: Iterable[Draws]) -> dict[tuple[str, Task], str]:
    """A short name for each model and task; of the model alone where there are several."""
    keys = dict.fromkeys((group.model, group.task) for group in groups)
    brief = {task: brief_text(task) for _, task in keys}
    several = len({model for model, _ in keys}) > 1
    found = {}
    for model, task in keys:
        alone = list(brief.values()).count(brief[task]) == 1
        text = brief[task] if alone else str(task)
        found[model, task] = f"{model}: {text}" if several else text
    return found


def draws_of(records: Iterable[Record]) -> list[Draws]:
    """What the records of models hold of recipes that differ in nothing but their source, with as many draws of each.

    Recipes with less than two sources, or two draws of each, are left out.
    """
    found: dict[tuple[str, str, Task, str], dict[str, dict[int, tuple[float, ...]]]]
    found = defaultdict(lambda: defaultdict(dict))
    plain: dict[tuple[str, str, Task], tuple[float, ...]] = {}
    chance: dict[Task, tuple[float, ...]] = {}
    names: dict[str, str] = {}
    for record in records:
        cell, values = record.cell, record.scores
        if record.status != "done" or not values or cell.task.score != ITEM_SCORE:
            continue
        if cell.is_floor:
            chance[cell.task] = values
            continue
        names[cell.subject] = name_of(dict(record.names).get("source") or cell.subject[:8])
        if not cell.recipe:
            plain[cell.subject, cell.format, cell.task] = values
        elif (apart := _source_of(cell.recipe)) is not None:
            source, without = apart
            found[cell.subject, cell.format, cell.task, without][source][cell.compression_seed] = values
    called = _called(without for *_, without in found)
    groups = []
    for (subject, format_, task, recipe), by_source in found.items():
        shared = sorted(set.intersection(*(set(draws) for draws in by_source.values())))
        if len(by_source) < 2 or len(shared) < 2 or (subject, format_, task) not in plain or task not in chance:
            continue
        sources = tuple(sorted(by_source))
        values = np.array([[by_source[source][draw] for draw in shared] for source in sources])
        baseline, floor = np.array(plain[subject, format_, task]), np.array(chance[task])
        groups.append(Draws(names[subject], called[recipe], _samples(recipe), task, sources, values, baseline, floor))
    return groups


def method_of(recipe: str) -> str:
    """The name that papers have for a recipe of one step, else the recipe.

    >>> method_of('prune_weights(sparsity=0.5, importance="wanda")'), method_of("half()")
    ('Wanda', 'half()')
    """
    calls = grammar.parse(recipe)
    return _NAMES.get(_choice(calls[0]), recipe) if len(calls) == 1 else recipe


def _choice(call: grammar.Call) -> str:
    return str(call.get("method") or call.get("importance"))


def _called(recipes: Iterable[str]) -> dict[str, str]:
    """A name for each recipe: that of its method, and the parameters in which it differs from others of that method."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for recipe in dict.fromkeys(recipes):
        by_name[method_of(recipe)].append(recipe)
    found = {}
    for name, alike in by_name.items():
        pairs = {recipe: {pair for call in grammar.parse(recipe) for pair in call.named} for recipe in alike}
        common = set.intersection(*pairs.values())
        for recipe in alike:
            own = [f"{key}={value}" for key, value in sorted(pairs[recipe] - common)]
            found[recipe] = ", ".join([name, *own]) if name != recipe else name
    return found


def _samples(recipe: str) -> int | None:
    found = [call.get("samples") for call in grammar.parse(recipe)]
    return next((int(one) for one in found if isinstance(one, int)), None)


def _source_of(recipe: str) -> tuple[str, str] | None:
    """The one source of a recipe, and the recipe without it; None where there is none, or more than one."""
    calls = grammar.parse(recipe)
    sources = {str(call.get("source")) for call in calls if call.get("source") is not None}
    if len(sources) != 1:
        return None
    bare = [
        grammar.Call(call.name, tuple(pair for pair in call.named if pair[0] != "source"), call.positional)
        for call in calls
    ]
    return sources.pop(), grammar.format_calls(bare)


def tables(groups: Sequence[Draws], *, rng: np.random.Generator, keep: float) -> list[PrintedTable]:
    """All tables, in the order in which one reads them; none where nothing was calibrated on several sources."""
    if not groups:
        return []
    return [source_table(groups), next_table(groups, keep), split_table(groups, rng=rng), spread_table(groups)]


def source_table(groups: Sequence[Draws]) -> PrintedTable:
    """Whether one source is better than the others, paired, for new draws and items."""
    body, named = [], places(groups)
    for group in groups:
        order = np.argsort([-mean(source.ravel()) for source in group.values])
        best, worst = group.sources[order[0]], group.sources[order[-1]]
        better: dict[str, list[str]] = defaultdict(list)
        for one in source_differences(group.values):
            if one.decided:
                first, second = (one.first, one.second) if one.difference.low > 0 else (one.second, one.first)
                better[group.sources[first]].append(group.sources[second])
        said = "; ".join(f"{first} > {', '.join(seconds)}" for first, seconds in better.items())
        n = group.values.shape[1]
        said = said or f"{n} draws show no difference"
        body.append((named[group.model, group.task], group.method, said, best, worst, _apart(group)))
    header = ("task", "method", "surely better (95 %, all pairs)", "best mean", "worst", "worst against best")
    return PrintedTable("draws-sources", "Is one calibration source better for this model?", header, tuple(body), 5)


def next_table(groups: Sequence[Draws], keep: float) -> PrintedTable:
    """What the next draw of each source will keep, with 95 % confidence."""
    body, named = [], places(groups)
    for group in groups:
        for source, retention in zip(group.sources, group.retention, strict=True):
            bounds = next_draw(retention) if len(retention) > 2 else None
            verdict = "undecided"
            if bounds is not None and bounds.low >= keep:
                verdict = "kept"
            elif bounds is not None and bounds.high < keep:
                verdict = "lost"
            span = "-" if bounds is None else f"{bounds.low:.1%} to {bounds.high:.1%}"
            body.append((named[group.model, group.task], group.method, source, verdict, span))
    header = ("task", "method", "source", f"keeps {keep:.0%}", "retention of the next draw")
    return PrintedTable("draws-next", "What one more draw of the calibration data would keep", header, tuple(body), 4)


def split_table(groups: Sequence[Draws], *, rng: np.random.Generator) -> PrintedTable:
    """Where the variance of a score comes from, in the unit of the values, with intervals; and flipped answers."""
    body, named = [], places(groups)
    for group in groups:
        found = split(group.values, rng=rng)
        unit, scale = _UNIT.get(group.score.name, ("", 1.0))
        parts = [_interval(one, scale) for one in (found.sources, found.draws, found.items)]
        shares = " / ".join(f"{100 * share:.0f}" for share in found.shares)
        body.append((named[group.model, group.task], group.method, unit, *parts, shares, _flipped(group)))
    header = ("task", "method", "unit", "sources", "draws", "items", "% of the variance", "answers flipped")
    caption = "How far a score moves with the source, the draw and the items: standard deviations [95 %]"
    return PrintedTable("draws-split", caption, header, tuple(body), 3)


def spread_table(groups: Sequence[Draws]) -> PrintedTable:
    """Mean, standard deviation and range over the draws, of each method, source and task."""
    body, named = [], places(groups)
    for group in groups:
        base = group.score.text(group.score.of(group.baseline))
        for source, scores in zip(group.sources, group.scores, strict=True):
            numbers = [group.score.text(float(one)) for one in (mean(scores), scores.min(), scores.max())]
            sd = group.score.text(deviation(scores))
            body.append(
                (
                    named[group.model, group.task],
                    group.method,
                    source,
                    group.score.name,
                    base,
                    numbers[0],
                    sd,
                    *numbers[1:],
                )
            )
    header = ("task", "method", "source", "score", "uncompressed", "mean", "sd", "least", "greatest")
    return PrintedTable("draws-spread", "Scores over draws that share nothing", header, tuple(body), 4)


def to_json(groups: Sequence[Draws], *, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The numbers of the tables as JSON data."""
    found = []
    for group in groups:
        parts = split(group.values, rng=rng)
        found.append(
            {
                "model": group.model,
                "task": str(group.task),
                "method": group.method,
                "samples": group.samples,
                "score": group.score.name,
                "uncompressed": group.score.of(group.baseline),
                "chance": group.score.of(group.floor),
                "sources": _sources(group),
                "sd": {name: vars(getattr(parts, name)) for name in ("sources", "draws", "items", "calibration")},
                "shares_of_variance": dict(zip(("sources", "draws", "items"), parts.shares, strict=True)),
                "answers_flipped": _flips(group),
                "differences": [
                    {"first": group.sources[one.first], "second": group.sources[one.second], **vars(one.difference)}
                    for one in source_differences(group.values)
                ],
            }
        )
    return found


def _sources(group: Draws) -> Mapping[str, Any]:
    kept = group.retention
    return {
        source: {
            "scores": group.scores[at].tolist(),
            "retention": kept[at].tolist(),
            "next_retention": vars(next_draw(kept[at])) if kept.shape[1] > 2 else None,
        }
        for at, source in enumerate(group.sources)
    }


def _interval(one: Interval, scale: float) -> str:
    return f"{scale * one.estimate:.2g} [{scale * one.low:.2g}, {scale * one.high:.2g}]"


def _apart(group: Draws) -> str:
    """How far the mean of the worst source is from that of the best."""
    scores = [mean(source) for source in group.scores]
    if group.score.name == "accuracy":
        return f"{100 * (min(scores) - max(scores)):.1f} points"
    return f"{max(scores) / min(scores):.2f}x" if min(scores) > 0 else "-"


def _flips(group: Draws) -> float | None:
    """The share of answers that are right in one and wrong in the other; None where no answer is."""
    if group.score.name != "accuracy":
        return None
    return flips(group.values.reshape(-1, group.values.shape[2]), group.baseline)


def _flipped(group: Draws) -> str:
    share = _flips(group)
    return "-" if share is None else f"{share:.1%}"
