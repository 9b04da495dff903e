"""Tables of what a study found, for its page and for a paper."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lilliput.report import aggregates, disturbances, front, lu2024, saxena2024, table
from lilliput.report.label import labels
from lilliput.report.method_cost import costs
from lilliput.report.printed_table import PrintedTable
from lilliput.report.recipe_text import curves
from lilliput.report.row import Row, by_policy, undisturbed, verdict_of
from lilliput.report.vocabulary import POLICIES, count, words_of
from lilliput.statistics import interquartile_mean
from lilliput.task import RETURN

PARAMETERS = {
    "ratio": "Share of the units removed", "sparsity": "Share of the weights set to zero",
    "weight_bits": "Bits of a weight", "activation_bits": "Bits of an activation", "hidden": "Hidden units",
    "samples": "Samples of calibration text",
}  # fmt: skip
"""What a curve may go along, in words."""


def tables(rows: Sequence[Row], keep: float, reproduces: str = "") -> tuple[PrintedTable, ...]:
    """The tables that these rows fill; those in the layout of a paper where the study reproduces it."""
    found = [
        methods(rows),
        smallest(rows, keep),
        *ranges(rows),
        disturbed(rows, keep),
        spreads(rows),
        on_targets(rows),
        *(lu2024.tables(rows) if reproduces == "lu2024" else ()),
        *(saxena2024.tables(rows) if reproduces == "saxena2024" else ()),
        *front.tables(rows),
        said(rows),
    ]
    return tuple(one for one in found if one.body)


def methods(rows: Sequence[Row]) -> PrintedTable:
    """A line a method: what it kept over all its cells, what it saved, and how often it was decided which way."""
    found = costs(rows)
    timed = any(cost.faster is not None for cost in found)
    body = []
    for cost in found:
        share = cost.retention
        counts = [str(cost.statuses[name]) for name in ("kept", "lost", "undecided", "failed")]
        kept = "-" if share is None else _with_interval(share.estimate, share.low, share.high)
        factors = [table.factor(one) for one in (cost.smaller, cost.faster)[: 1 + timed]]
        body.append((cost.method, kept, *factors, str(cost.n_policies), str(cost.n_cells), *counts))
    factors = ("smaller", "faster")[: 1 + timed]
    many = words_of(row.task for row in rows).subjects
    header = ("method", "retention (IQM) [95 %]", *factors, many, "cells", "kept", "lost", "undecided", "failed")
    caption = f"What each method did: interquartile mean over its cells, the interval over {many}, median factors"
    if len(undisturbed(rows)) < len(rows):
        caption += "; environments without a disturbance"
    return PrintedTable("methods", caption, header, tuple(body), 1)


def _with_interval(estimate: float, low: float, high: float) -> str:
    ends = f" [{low:.1%}, {high:.1%}]" if low < high else ""
    return f"{estimate:.1%}{ends}"


def smallest(rows: Sequence[Row], keep: float) -> PrintedTable:
    """A line a subject and task: the smallest candidate that kept the score."""
    names, words = labels(rows), words_of(row.task for row in rows)
    body = []
    for key, group in by_policy(rows).items():
        kept = [row for row in group if verdict_of(row) == "kept" and row.smaller is not None]
        best = max(kept, key=lambda row: row.smaller or 0, default=None)
        if best is None:
            body.append((names[key], "none surely kept it", "", "", ""))
            continue
        cells = (best.recipe, f"{best.model_bytes:,}", f"{best.smaller or 0:.1f}x", table.retention_text(best))
        body.append((names[key], *cells))
    header = (words.subject, "recipe", "bytes", "smaller", "retention [95 %]")
    caption = f"The smallest of each {words.subject} that kept {keep:.0%} of the {words.score}"
    return PrintedTable("smallest", caption, header, tuple(body))


def ranges(rows: Sequence[Row]) -> list[PrintedTable]:
    """A table a parameter that recipes go along: a line a method, a column a value."""
    own = [row for row in undisturbed(rows) if row.recipe and row.retention is not None]
    lines = curves((row.recipe for row in own), own[0].task.score if own else RETURN)
    cells: dict[str, dict[str, dict[float, list[Row]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in own:
        for curve in lines[row.recipe]:
            if curve.parameter in PARAMETERS:
                cells[curve.parameter][curve.line][curve.value].append(row)
    found = []
    for parameter, methods_ in cells.items():
        values = sorted({value for line in methods_.values() for value in line})
        body = tuple((name, *(_at(line.get(value, ())) for value in values)) for name, line in methods_.items())
        caption = f"{PARAMETERS[parameter]}: retention (IQM over cells), and how many of them surely kept it"
        found.append(PrintedTable(parameter, caption, ("method", *(f"{value:g}" for value in values)), body, 1))
    return found


def said(rows: Sequence[Row]) -> PrintedTable:
    """A line for what steps said of artifacts: of which, and of how many in all."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for sentence in row.said:
            found[sentence].append(row)
    body = []
    for sentence, own in found.items():
        recipes = list(dict.fromkeys(table.name(row) for row in own))
        more = f" and {count(len(recipes) - 1, 'others')}" if len(recipes) > 1 else ""
        body.append((sentence, f"{recipes[0]}{more}", str(len(own))))
    caption = "What steps said of what they made: a note each, and how many candidates it is of"
    return PrintedTable("said", caption, ("said", "of", "candidates"), tuple(body))


def _at(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    shares = np.array([row.retention.estimate for row in rows if row.retention is not None])
    kept = sum(verdict_of(row) == "kept" for row in rows)
    return f"{float(interquartile_mean(shares)):.0%} ({kept}/{len(rows)})"


def disturbed(rows: Sequence[Row], keep: float) -> PrintedTable:
    """A line a recipe and disturbance: whether the compressed policy stands less of it than its baseline."""
    body = []
    for one in disturbances.effects(rows, keep):
        shares = [f"{share:.0%}" for share in (one.baseline_left, one.before, one.under)]
        more = one.lost_more
        points = [] if more is None else [f"{100 * value:+z.1f}" for value in (more.estimate, more.low, more.high)]
        interval = f"{points[0]} [{points[1]}, {points[2]}]" if points else "-"
        body.append((one.recipe, one.disturbance, one.answer, *shares, interval, str(one.n_policies)))
    header = (
        "recipe", "disturbance", "the compressed policy", "baseline left", "retention before", "retention under it",
        "lost more, points [95 %]", "policies",
    )  # fmt: skip
    caption = (
        f"Disturbances, of candidates whose mean keeps {keep:.0%} without: medians over policies; lost more: what "
        "compression costs under the disturbance less what it costs without, in points of the undisturbed baseline's "
        f"return above random; no less: surely at most {100 * (1 - keep):.0f} points more"
    )
    return PrintedTable("disturbances", caption, header, tuple(body), 3)


def on_targets(rows: Sequence[Row]) -> PrintedTable:
    """A line a candidate and processor: what its C takes there, beside the baseline's instructions."""
    names = labels(rows)
    baselines = {
        (row.policy, row.environment, row.format, one.target): one.instructions
        for row in rows
        if not row.recipe
        for one in row.on_targets
    }
    body = []
    for row in rows:
        kept = f"{row.retention.estimate:.1%}" if row.retention is not None else "-"
        for one in row.on_targets:
            before = baselines.get((row.policy, row.environment, row.format, one.target))
            fewer = table.times(before / one.instructions, "fewer", "more") if before and row.recipe else "-"
            counts = (f"{n:,}" for n in (one.flash_bytes, one.ram_bytes, one.instructions))
            body.append(
                (names[row.policy, row.environment], row.recipe or "baseline", one.target, *counts, fewer, kept)
            )
    header = (
        "policy",
        "recipe",
        "target",
        "flash, bytes",
        "RAM, bytes",
        "instructions",
        "of them, against the baseline",
        "retention",
    )
    caption = "On processors: code and constants, static data and stack, instructions of a decision in an emulator"
    return PrintedTable("targets", caption, header, tuple(body), 3)


def spreads(rows: Sequence[Row]) -> PrintedTable:
    """A line a kind of calibration data: what its draws alone do to the retention."""
    words = words_of(row.task for row in rows)
    what = "observations" if words is POLICIES else "samples"
    body = tuple(
        (
            *(spread.method, spread.source, spread.observations),
            *(f"{value:.1%}" for value in (spread.mean, spread.sd, spread.widest)),
            *(str(spread.n_policies), str(spread.n_draws)),
        )
        for spread in aggregates.spreads(rows)
    )
    header = ("method", "source", what, "retention", "sd over draws", "widest range", words.subjects, "draws")
    return PrintedTable(
        "calibration", "What the draw of the calibration data does, the steadiest first", header, body, 3
    )
