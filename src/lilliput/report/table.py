"""Rows as a table for the terminal (80 columns), as Markdown, and as JSON data."""

import dataclasses
import functools
import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lilliput.foreign_text import in_markdown, printable
from lilliput.measurement import QUANTITIES, Absent, Measurement
from lilliput.record import REFERENCE
from lilliput.report.printed_table import digits, number
from lilliput.report.row import Row
from lilliput.report.vocabulary import POLICIES, Words, score_of, words_of
from lilliput.sums import mean
from lilliput.task import MODEL_SCORES

Cells = tuple[str, ...]

WIDTH = 80
_INDENT = 2
_NAMES = 24
EARLY = "early"
"""Episodes that ended by themselves, as by a fall, before a limit of steps; of how many."""

SCORE = "return"
WORST = "worst 10%"
KEPT: Cells = ("recipe", "bytes", "smaller", SCORE, EARLY, WORST, "retention [95%]", "at least", "verdict")
"""The first table: what a candidate is, and what it kept; the verdict stands on the bound before it."""

COSTS: Cells = ("recipe", "file", "weights", "nonzero", "MACs", "p50", "p95", "p99", "faster", "memory", "energy")
"""The second: what it costs where it runs."""


def text(rows: Sequence[Row]) -> str:
    """Both tables in at most 80 columns; a column of costs that nothing was measured of is left out."""
    shown, words = _shown(rows), words_of(row.task for row in rows)
    tables = [aligned(_of(shown, _headed(words)), [_of(shown, kept_cells(row, words)) for row in rows])]
    measured = [row for row in rows if row.status == "done" and row.model_bytes is not None]
    if measured:
        more = columns(rows)
        header = (*COSTS, *more.values())
        body = [(*cost_cells(row), *figure_cells(row, more)) for row in measured]
        said = tuple(any(line[column] != "-" for line in body) for column in range(len(header)))
        tables.append(aligned(_of(said, header), [_of(said, line) for line in body]))
    return "\n\n".join(tables)


def markdown(rows: Sequence[Row]) -> str:
    """Both tables as one in GitHub's Markdown."""
    more = columns(rows)
    words = words_of(row.task for row in rows)
    header = (*_headed(words), *COSTS[1:], *more.values())
    lines = [
        header,
        ("---", *("---:" for _ in header[1:])),
        *((*kept_cells(row, words), *cost_cells(row)[1:], *figure_cells(row, more)) for row in rows),
    ]
    escaped = [[in_markdown(cell) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def _shown(rows: Sequence[Row]) -> tuple[bool, ...]:
    """Which columns of KEPT are shown: that of early ends where an episode had one, of the worst where there is one."""
    shown = {EARLY: any(row.n_terminated for row in rows), WORST: any(_worst(row) != "-" for row in rows)}
    return tuple(shown.get(column, True) for column in KEPT)


def _headed(words: Words) -> Cells:
    return tuple(words.score if column == SCORE else column for column in KEPT)


def _of(shown: Sequence[bool], cells: Cells) -> Cells:
    return tuple(itertools.compress(cells, shown))


def aligned(header: Cells, body: Sequence[Cells]) -> str:
    """The table as text in at most 80 columns: columns that do not fit make a table of their own, below.

    What a row is called stands before its numbers where there is room, else above them.
    """
    widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]
    return "\n\n".join(_part(header, body, widths, columns) for columns in _fitting(widths))


def _fitting(widths: Sequence[int]) -> list[list[int]]:
    """The columns after the first, in order, in as few groups as fit in a line beside an indent."""
    groups: list[list[int]] = []
    taken = WIDTH
    for column, width in enumerate(widths[1:], start=1):
        if taken + 1 + width > WIDTH:
            groups.append([])
            taken = _INDENT
        groups[-1].append(column)
        taken += 1 + width
    return groups


def _part(header: Cells, body: Sequence[Cells], widths: Sequence[int], columns: Sequence[int]) -> str:
    room = WIDTH - sum(1 + widths[column] for column in columns)
    left = max((len(line[0]) for line in (header, *body) if len(line[0]) <= room), default=_INDENT)
    lines = []
    for line in (header, ("-" * left, *("-" * width for width in widths[1:])), *body):
        inside = line[0] if len(line[0]) <= left else ""
        above = [] if inside or not line[0] else _folded(line[0])
        lines += [*above, " ".join([inside.ljust(left), *(line[i].rjust(widths[i]) for i in columns)])]
    return "\n".join(line.rstrip() for line in lines)


def _folded(text: str) -> list[str]:
    """Lines of at most 80 columns, broken between words.

    >>> _folded("prune_units(ratio=0.5, importance='activation') | quantize(scheme='weight_only', weight_bits=4)")[1]
    '  weight_bits=4)'
    """
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON data; what is infinite or not measured is null."""
    return [_plain(renamed(row, {**dataclasses.asdict(row), **scores(row)})) for row in rows]


def renamed(row: Row, line: dict[str, Any]) -> dict[str, Any]:
    """The line with its keys in the words for the row's kind of subject."""
    words = words_of([row.task])
    if words is POLICIES:
        return line
    keys = dict(words.keys)
    return {
        keys.get(key, key): renamed(row, value) if isinstance(value, dict) else value
        for key, value in line.items()
        if key not in words.without
    }


def scores(row: Row) -> dict[str, Any]:
    """Of a model: what people call its score, and the scores of the model, its baseline and chance."""
    if row.task.score not in MODEL_SCORES:
        return {}
    score = score_of(row.task)
    means = {"score": row.mean_return, "baseline_score": row.baseline_mean, "chance_score": row.random_mean}
    return {"score_name": score.name, **{key: score.of_mean(value) for key, value in means.items()}}


def kept_cells(row: Row, words: Words) -> Cells:
    """A row as text, in the order of KEPT; what is not there is a dash."""
    if row.status != "done":
        return (name(row), *("-" for _ in KEPT[2:]), {"not_applicable": "n/a"}.get(row.status, row.status))
    return (
        name(row),
        _or_dash(row.model_bytes, "{:,}"),
        factor(row.smaller),
        _mean(row, words),
        early_text(row),
        _worst(row),
        retention_text(row),
        _at_least(row),
        verdict_text(row),
    )


def cost_cells(row: Row) -> Cells:
    """A row as text, in the order of COSTS; what was not measured is a dash."""
    time = row.latency
    return (
        name(row),
        _or_dash(row.file_bytes, "{:,}"),
        _or_dash(row.n_parameters, "{:,}"),
        _or_dash(row.n_nonzero_parameters, "{:,}"),
        _or_dash(row.n_macs, "{:,}"),
        *(seconds(value) for value in ((time.p50, time.p95, time.p99) if time else (None, None, None))),
        factor(time.ratio if time else None),
        "-" if row.memory_bytes is None else f"{row.memory_bytes / 2**20:+z.1f} MiB",
        "-" if row.energy_j is None else f"{row.energy_j * 1e6:.3g} uJ",
    )


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """The heading of each quantity that has a column of its own and was measured, by its name."""
    return {name: QUANTITIES[name].column for name in sorted({name for row in rows for name, _ in row.figures})}


def figure_cells(row: Row, more: Iterable[str]) -> Cells:
    """A row's values of these quantities as text; what was not measured is a dash."""
    figures = dict(row.figures)
    return tuple(figure(name, figures[name]) if name in figures else "-" for name in more)


def figure(name: str, value: float) -> str:
    """A value of a quantity in its unit."""
    show: Callable[[float], str] = {
        "s": seconds,
        "byte": "{:,.0f}".format,
        "1": "{:,.0f}".format,
        "share": "{:.1%}".format,
    }.get(QUANTITIES[name].unit, number)
    return show(value)


def name(row: Row) -> str:
    """The recipe, or which baseline it is."""
    return row.recipe or ("(baseline, by the reference)" if row.format == REFERENCE else "(baseline)")


def verdict_text(row: Row) -> str:
    """The verdict in a word or two."""
    if not row.recipe:
        return ""
    if row.verdict is None:
        return "-"
    if row.verdict.status == "lost" and row.within_noise:
        return "in noise"
    return {"baseline not better than random": "no baseline"}.get(row.verdict.status, row.verdict.status)


def early_text(row: Row) -> str:
    """How many episodes ended by themselves, of all."""
    return "-" if row.n_terminated is None else f"{row.n_terminated}/{row.n_episodes}"


def seconds(value: float | None) -> str:
    """A time with a prefix.

    >>> seconds(5.61e-07), seconds(0.0123), seconds(None)
    ('0.56us', '12.3ms', '-')
    """
    if value is None:
        return "-"
    for unit, factor, fine in (("us", 1e6, 2), ("ms", 1e3, 1)):
        if value * factor < 1000:
            return f"{value * factor:.{fine if value * factor < 10 else 1}f}{unit}"
    return f"{value:.2f}s"


def factor(value: float | None) -> str:
    """A factor that never reads as nothing.

    >>> factor(3.96), factor(0.65), factor(0.049), factor(None)
    ('4.0x', '0.65x', '0.05x', '-')
    """
    return _or_dash(value, "{:.2f}x" if value is not None and value < 0.95 else "{:.1f}x")


def times(factor: float, more: str, less: str) -> str:
    """A factor in words that are true on both sides of 1.

    >>> times(3.0, "faster", "slower"), times(0.6, "faster", "slower")
    ('3.0x faster', '1.7x slower')
    """
    return f"{factor:.1f}x {more}" if factor >= 1 else f"{1 / factor:.1f}x {less}"


def _mean(row: Row, words: Words) -> str:
    if row.task.score in MODEL_SCORES:
        shown = score_text(row)
        return shown if words.score == score_of(row.task).name or shown == "-" else f"{score_of(row.task).name} {shown}"
    if row.mean_return is None or row.sd_return is None:
        return number(row.mean_return)
    return f"{number(row.mean_return)}±{row.sd_return:,.{digits(row.mean_return)}f}"


def score_text(row: Row) -> str:
    """The score of a row as people print it."""
    score = score_of(row.task)
    return score.text(score.of_mean(row.mean_return))


def baseline_text(row: Row) -> str:
    """The score of its baseline."""
    score = score_of(row.task)
    return score.text(score.of_mean(row.baseline_mean))


def _worst(row: Row) -> str:
    """The worst tenth of the items; a dash where an item is right or wrong and nothing between."""
    score = score_of(row.task)
    return "-" if score.name == "accuracy" else score.text(score.of_mean(row.worst_decile))


def retention_text(row: Row) -> str:
    """The estimate with its interval."""
    kept = row.retention
    if kept is None:
        return "" if not row.recipe else "-"
    low, high = (f"{100 * bound:.0f}" for bound in (kept.low, kept.high))
    return f"{100 * kept.estimate:.1f}% [{low}, {high}]"


def _at_least(row: Row) -> str:
    if row.verdict is None:
        return "" if not row.recipe else "-"
    low = row.verdict.retention_low
    return f"{100 * low:.1f}%" if math.isfinite(low) else "-"


def _or_dash(value: float | int | None, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(v) for key, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def measurement_line(measurement: Measurement | Absent, width: int | None = None) -> str:
    """One quantity of one artifact in a line: median, spread and how it was measured, or why it is not there.

    What is longer than `width` goes on in further lines, behind the names.
    """
    line = f"{measurement.quantity:<{_NAMES}} {_measured(measurement)}"
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(line, width, subsequent_indent=" " * (_NAMES + 1), break_long_words=False)


def _measured(measurement: Measurement | Absent) -> str:
    if isinstance(measurement, Absent):
        return f"not measured: {printable(measurement.reason)}"
    values = np.array(measurement.values)
    unit = QUANTITIES[measurement.quantity].unit
    show = functools.partial(figure, measurement.quantity)
    if len(values) == 1:
        shown = show(float(values[0]))
    elif unit == "s":
        shown = ", ".join(
            f"{name} {show(float(np.quantile(values, q)))}" for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        )
    else:
        middle = mean(values)
        centre = show(middle) if middle.is_integer() else number(middle)
        shown = f"mean {centre}, from {show(float(values.min()))} to {show(float(values.max()))}"
    count = f"{len(values)} values; " if len(values) > 1 else ""
    return f"{shown}  ({count}{measurement.method})"
