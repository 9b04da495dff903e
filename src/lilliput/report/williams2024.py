"""The claims of Williams & Aletras 2024 (arXiv 2311.09755), and its ranges beside those found here.

The paper reports standard deviations and ranges of mean accuracies; its claims are answered by the split of the
variance, paired, with intervals.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from lilliput.report.calibration_draws import Draws, places
from lilliput.report.printed_table import PrintedTable
from lilliput.statistics.variance_components import ratio_of_sensitivity, source_differences, split
from lilliput.sums import deviation, mean

Answer = Literal["holds", "does not hold", "undecided"]

PUBLISHED = {
    "SpQR": ("0.1-0.2", "0.6-1.0"),
    "GPTQ": ("0.2-0.4", "0.9-1.6"),
    "Wanda": ("0.1-0.4", "0.6-2.9"),
    "SparseGPT": ("0.1-0.6", "2.4-4.8"),
}
"""Over its models of 6.7 to 33 billion weights, in points of mean accuracy: standard deviation over ten draws, and best
minus worst source."""

_QUANTIZES = ("GPTQ", "SpQR")
_PRUNES = ("Wanda", "SparseGPT")


def tables(groups: Sequence[Draws], *, rng: np.random.Generator) -> list[PrintedTable]:
    """Its claims with their answers, and its ranges; none where nothing was calibrated on several sources."""
    return [claims_table(groups, rng=rng), ranges_table(groups)] if groups else []


def ranges_table(groups: Sequence[Draws]) -> PrintedTable:
    """How far draws and sources moved the accuracy of each method, beside the paper's ranges."""
    body, named = [], places(groups)
    for group in groups:
        if group.score.name != "accuracy":
            continue
        spreads = [100 * deviation(scores) for scores in group.scores]
        middles = [100 * mean(scores) for scores in group.scores]
        widest = 100 * max(float(np.ptp(scores)) for scores in group.scores)
        moved, across = f"{min(spreads):.1f}-{max(spreads):.1f}", f"{max(middles) - min(middles):.1f}"
        published = PUBLISHED.get(_name(group), ("-", "-"))
        body.append(
            (named[group.model, group.task], group.method, moved, published[0], across, published[1], f"{widest:.1f}")
        )
    header = (
        "task", "method", "sd of draws, by source", "paper's", "best - worst source", "paper's",
        "widest range of draws",
    )  # fmt: skip
    caption = "Sensitivity in points of accuracy, beside arXiv 2311.09755 (its models: 6.7 to 33 billion weights)"
    return PrintedTable("williams-ranges", caption, header, tuple(body), 2)


def claims_table(groups: Sequence[Draws], *, rng: np.random.Generator) -> PrintedTable:
    """The paper's claims, answered on each model, task and number of samples."""
    apart: dict[str, dict[str, Draws]] = defaultdict(dict)
    several, named = len({group.samples for group in groups}) > 1, places(groups)
    for group in groups:
        samples = f", {group.samples} samples" if several and group.samples else ""
        apart[f"{named[group.model, group.task]}{samples}"][_name(group)] = group
    body = [
        (claim, where, answer)
        for where, by_method in apart.items()
        for claim, answer in claims(by_method, rng=rng).items()
    ]
    caption = "The claims of arXiv 2311.09755, on these models"
    return PrintedTable("williams-claims", caption, ("claim", "task", "here it"), tuple(sorted(body)), 3)


def claims(by_method: Mapping[str, Draws], *, rng: np.random.Generator) -> dict[str, Answer]:
    """The answer to each claim that these methods can answer, on one task."""
    found: dict[str, Answer] = {}
    moving = [split(group.values, rng=rng).calibration for group in by_method.values()]
    if moving:
        found["the calibration data changes what is left"] = "holds" if any(m.low > 0 for m in moving) else "undecided"
    quantizes = [by_method[name] for name in _QUANTIZES if name in by_method]
    prunes = [by_method[name] for name in _PRUNES if name in by_method]
    if quantizes and prunes:
        found["pruning depends more on it than quantization"] = _more(itertools.product(prunes, quantizes), rng)
    others = [group for name, group in by_method.items() if name != "SpQR" and name in PUBLISHED]
    if "SpQR" in by_method and others:
        found["SpQR depends least on it"] = _more(((other, by_method["SpQR"]) for other in others), rng)
    random = [group for group in by_method.values() if "random" in group.sources]
    if random:
        found["random tokens are the worst source"] = _random_worst(random)
    return found


def _name(group: Draws) -> str:
    """The method without what tells it from others of its name."""
    return group.method.partition(",")[0]


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
