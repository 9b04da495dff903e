"""The questions of arXiv 2311.09755: how much does the calibration data decide what is left of a language model?

Each method was run on several sources, and on several draws of each that share nothing; every model was asked the same
items. The paper reports means, standard deviations and ranges; here the variance is split, with intervals, and its
claims are answered by them.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from lilliput import recipe as grammar
from lilliput.record import Record
from lilliput.report.printed_table import PrintedTable
from lilliput.statistics import Interval
from lilliput.statistics.components import flips, next_draw, ratio_of_sensitivity, source_differences, split
from lilliput.sums import deviation, mean

Answer = Literal["holds", "does not hold", "undecided"]

PAPERS = {
    "SpQR": ("0.1-0.2", "0.6-1.0"),
    "GPTQ": ("0.2-0.4", "0.9-1.6"),
    "Wanda": ("0.1-0.4", "0.6-2.9"),
    "SparseGPT": ("0.1-0.6", "2.4-4.8"),
}
"""Over its models of 6.7 to 33 billion weights, in points of mean accuracy: standard deviation over ten draws, and best
minus worst source."""

_QUANTIZES = ("GPTQ", "SpQR")
_PRUNES = ("Wanda", "SparseGPT")


@final
@dataclass(frozen=True, eq=False)
class Draws:
    """One method on one task.

    Attributes:
        method: as the paper calls it, else the recipe without its source.
        task: the task's text; perplexity: whether its score is one (values are then log likelihoods).
        sources: names, in the order of the values.
        values: of each source, draw and item; more is better.
        baseline: of each item, by the uncompressed model; floor: by chance.
    """

    method: str
    task: str
    perplexity: bool
    sources: tuple[str, ...]
    values: Float64[np.ndarray, "sources draws items"]
    baseline: Float64[np.ndarray, " items"]
    floor: Float64[np.ndarray, " items"]

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """What people print: the perplexity, or the accuracy."""
        middle = mean(values)
        return math.exp(-middle) if self.perplexity else middle

    @property
    def scores(self) -> Float64[np.ndarray, "sources draws"]:
        """Of each model."""
        return np.array([[self.score(model) for model in source] for source in self.values])

    @property
    def retention(self) -> Float64[np.ndarray, "sources draws"]:
        """What each model keeps of what the baseline is better than chance."""
        low, high = mean(self.floor), mean(self.baseline)
        return np.array([[(mean(model) - low) / (high - low) for model in source] for source in self.values])


def draws_of(records: Iterable[Record]) -> list[Draws]:
    """What the records hold of recipes that differ in nothing but their source, with as many draws of each.

    Recipes with less than two sources, or two draws of each, are left out.
    """
    models: dict[tuple[str, str, str], dict[str, dict[int, tuple[float, ...]]]] = defaultdict(lambda: defaultdict(dict))
    plain: dict[tuple[str, str], tuple[float, ...]] = {}
    chance: dict[str, tuple[float, ...]] = {}
    for record in records:
        cell, values = record.cell, record.values(record.cell.task.score)
        if record.status != "done" or not values:
            continue
        task = str(cell.task)
        if cell.is_floor:
            chance[task] = values
        elif not cell.recipe:
            plain[cell.subject, task] = values
        elif (found := _source_of(cell.recipe)) is not None:
            source, without = found
            models[cell.subject, task, without][source][cell.compression_seed] = values
    groups = []
    for (subject, task, recipe), by_source in models.items():
        shared = set.intersection(*(set(draws) for draws in by_source.values()))
        if len(by_source) < 2 or len(shared) < 2 or (subject, task) not in plain or task not in chance:
            continue
        sources = tuple(sorted(by_source))
        values = np.array([[by_source[source][draw] for draw in sorted(shared)] for source in sources])
        baseline, floor = np.array(plain[subject, task]), np.array(chance[task])
        perplexity = task.startswith("perplexity")
        groups.append(Draws(method_of(recipe), task, perplexity, sources, values, baseline, floor))
    return groups


def method_of(recipe: str) -> str:
    """The paper's name of a recipe of one step, else the recipe.

    >>> method_of('prune_weights(sparsity=0.5, importance="wanda")'), method_of("half()")
    ('Wanda', 'half()')
    """
    calls = grammar.parse(recipe)
    known = {"gptq": "GPTQ", "spqr": "SpQR", "wanda": "Wanda", "sparsegpt": "SparseGPT"}
    if len(calls) == 1:
        return known.get(str(calls[0].get("method") or calls[0].get("importance")), recipe)
    return recipe


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


def tables(groups: Sequence[Draws], *, rng: np.random.Generator, keep: float = 0.9) -> list[PrintedTable]:
    """All tables, in the order in which one reads them; none where nothing was calibrated on several sources."""
    if not groups:
        return []
    return [
        claims_table(groups, rng=rng),
        spread_table(groups),
        split_table(groups, rng=rng),
        source_table(groups),
        draw_table(groups, keep),
    ]


def spread_table(groups: Sequence[Draws]) -> PrintedTable:
    """Mean, standard deviation and range over the draws, of each method, source and task."""
    body = []
    for group in groups:
        base = _number(group, group.score(group.baseline))
        for source, scores in zip(group.sources, group.scores, strict=True):
            numbers = (mean(scores), deviation(scores), scores.min(), scores.max())
            body.append((group.method, source, group.task, base, *(_number(group, float(one)) for one in numbers)))
    header = ("method", "source", "task", "uncompressed", "mean", "sd", "least", "greatest")
    return PrintedTable("williams-spread", "Scores over draws that share nothing", header, tuple(body), 3)


def split_table(groups: Sequence[Draws], *, rng: np.random.Generator) -> PrintedTable:
    """Where the variance of a score comes from, in the unit of the values, with intervals."""
    body = []
    for group in groups:
        found = split(group.values, rng=rng)
        unit = "nats" if group.perplexity else "points"
        parts = [
            _interval(one, 1.0 if group.perplexity else 100.0) for one in (found.sources, found.draws, found.items)
        ]
        shares = " / ".join(f"{share:.0%}" for share in found.shares)
        body.append((group.method, group.task, unit, *parts, shares))
    header = ("method", "task", "unit", "sources", "draws", "items", "share of variance")
    caption = "Standard deviation of a score by where it comes from (95 % intervals)"
    return PrintedTable("williams-split", caption, header, tuple(body), 3)


def source_table(groups: Sequence[Draws]) -> PrintedTable:
    """Whether one source is better than the others, paired, for new draws and items."""
    body = []
    for group in groups:
        order = np.argsort([-mean(source.ravel()) for source in group.values])
        best, worst = group.sources[order[0]], group.sources[order[-1]]
        decided = [one for one in source_differences(group.values) if one.decided]
        worse = []
        for one in decided:
            better, other = (one.first, one.second) if one.difference.low > 0 else (one.second, one.first)
            worse.append(f"{group.sources[better]} > {group.sources[other]}")
        n = group.values.shape[1]
        said = "; ".join(worse) if worse else f"{n} draws show no difference"
        body.append((group.method, group.task, said, best, worst, _ratio(group)))
    header = ("method", "task", "which is better (95 %, all pairs)", "best", "worst", "worst over best")
    return PrintedTable("williams-sources", "Is one source better for this model?", header, tuple(body), 3)


def draw_table(groups: Sequence[Draws], keep: float) -> PrintedTable:
    """What the next draw will keep, how far draws moved the score beside the paper's, and how many answers flipped."""
    body = []
    for group in groups:
        kept = group.retention
        verdicts = []
        for source, retention in zip(group.sources, kept, strict=True):
            bounds = next_draw(retention) if len(retention) > 2 else None
            verdict = "undecided"
            if bounds is not None and bounds.low >= keep:
                verdict = "kept"
            elif bounds is not None and bounds.high < keep:
                verdict = "lost"
            verdicts.append(f"{source}: {verdict}")
        models = group.values.reshape(-1, group.values.shape[2])
        flipped = "" if group.perplexity else f"{flips(models, group.baseline):.1%}"
        moved, across = "", ""
        if not group.perplexity:
            spreads = [100 * deviation(scores) for scores in group.scores]
            means_ = [mean(scores) for scores in group.scores]
            moved, across = f"{min(spreads):.1f}-{max(spreads):.1f}", f"{100 * (max(means_) - min(means_)):.1f}"
        papers = PAPERS.get(group.method, ("", "")) if not group.perplexity else ("", "")
        body.append((group.method, group.task, ", ".join(verdicts), moved, papers[0], across, papers[1], flipped))
    header = (
        "method", "task", f"the next draw keeps {keep:.0%}", "sd of draws (points)", "paper's", "best - worst source",
        "paper's", "answers flipped",
    )  # fmt: skip
    return PrintedTable("williams-draws", "The next draw, and the paper's sensitivity", header, tuple(body), 3)


def claims_table(groups: Sequence[Draws], *, rng: np.random.Generator) -> PrintedTable:
    """The paper's claims, answered on each task."""
    body = []
    for task in dict.fromkeys(group.task for group in groups):
        here = {group.method: group for group in groups if group.task == task}
        for claim, answer in claims(here, rng=rng).items():
            body.append((claim, task, answer))
    caption = "The claims of arXiv 2311.09755, on these models"
    return PrintedTable("williams-claims", caption, ("claim", "task", "answer"), tuple(body), 3)


def claims(by_method: dict[str, Draws], *, rng: np.random.Generator) -> dict[str, Answer]:
    """The answer to each claim that these methods can answer, on one task."""
    found: dict[str, Answer] = {}
    moving = [split(group.values, rng=rng).calibration for group in by_method.values()]
    if moving:
        found["the calibration data changes what is left"] = "holds" if any(m.low > 0 for m in moving) else "undecided"
    quantizes = [by_method[name] for name in _QUANTIZES if name in by_method]
    prunes = [by_method[name] for name in _PRUNES if name in by_method]
    if quantizes and prunes:
        found["pruning depends more on it than quantization"] = _more(itertools.product(prunes, quantizes), rng)
    others = [group for name, group in by_method.items() if name != "SpQR" and name in PAPERS]
    if "SpQR" in by_method and others:
        found["SpQR depends least on it"] = _more(((other, by_method["SpQR"]) for other in others), rng)
    random = [group for group in by_method.values() if "random" in group.sources]
    if random:
        found["random tokens are the worst source"] = _random_worst(random)
    return found


def _more(pairs: Iterable[tuple[Draws, Draws]], rng: np.random.Generator) -> Answer:
    """Whether the first of every pair depends more on its calibration data than the second."""
    pairs = list(pairs)
    # Each at a level that holds for all together.
    confidence = 1 - 0.05 / len(pairs)
    ratios = [ratio_of_sensitivity(one.values, other.values, rng=rng, confidence=confidence) for one, other in pairs]
    if all(ratio.low > 1 for ratio in ratios):
        return "holds"
    return "does not hold" if any(ratio.high < 1 for ratio in ratios) else "undecided"


def _random_worst(groups: Sequence[Draws]) -> Answer:
    """Whether every other source is better than random tokens, for every method."""
    answers: list[Answer] = []
    for group in groups:
        at = group.sources.index("random")
        pairs = [one for one in source_differences(group.values) if at in (one.first, one.second)]
        gains = [(d.low, d.high) if one.second == at else (-d.high, -d.low) for one in pairs for d in (one.difference,)]
        if all(low > 0 for low, _ in gains):
            answers.append("holds")
        else:
            answers.append("does not hold" if any(high < 0 for _, high in gains) else "undecided")
    if "does not hold" in answers:
        return "does not hold"
    return "holds" if set(answers) == {"holds"} else "undecided"


def _number(group: Draws, value: float) -> str:
    return f"{value:.2f}" if group.perplexity else f"{100 * value:.1f}"


def _interval(one: Interval, scale: float) -> str:
    return f"{scale * one.estimate:.2g} ({scale * one.low:.2g} to {scale * one.high:.2g})"


def _ratio(group: Draws) -> str:
    scores = [mean(source) for source in group.scores]
    if group.perplexity:
        return f"{max(scores) / min(scores):.2f}"
    return f"{100 * (min(scores) - max(scores)):.1f} points"
