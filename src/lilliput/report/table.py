"""Rows as a table for the terminal (100 columns), as Markdown, and as JSON data."""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lilliput.measurement import QUANTITIES, Absent, Measurement
from lilliput.report.summary import Row

Cells = tuple[str, ...]

HEADER: Cells = ("recipe", "bytes", "smaller", "return", "worst 10 %", "retention [95 %]", "verdict", "p50", "faster")
_RECIPE_WIDTH = 26


def text(rows: Sequence[Row]) -> str:
    """The table in at most 100 columns; a long recipe takes several lines."""
    blocks = [[HEADER]]
    for row in rows:
        first, *rest = cells(row)
        folded = textwrap.wrap(first, _RECIPE_WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]
        blocks.append([(folded[0], *rest), *((line, *("",) * len(rest)) for line in folded[1:])])
    widths = [max(len(line[i]) for block in blocks for line in block) for i in range(len(HEADER))]
    lines = []
    for block in blocks:
        for line in block:
            padded = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
            lines.append(" ".join(padded).rstrip())
        if block is blocks[0]:
            lines.append(" ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """The table in GitHub's Markdown."""
    lines = [HEADER, ("---", *("---:" for _ in HEADER[1:])), *(cells(row) for row in rows)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON data; what is infinite or not measured is null."""
    return [_plain(dataclasses.asdict(row)) for row in rows]


def notes(rows: Sequence[Row]) -> list[str]:
    """What was not measured, and why; each reason once."""
    return list({note: None for row in rows for note in row.notes})


def cells(row: Row) -> Cells:
    """A row as text, in the order of HEADER; what is not there is a dash."""
    recipe = row.recipe or "(baseline)"
    if row.status != "done":
        return (recipe, "-", "-", "-", "-", "-", row.status.replace("_", " "), "-", "-")
    return (
        recipe,
        _or_dash(row.model_bytes, "{:,}"),
        _or_dash(row.smaller, "{:.1f}x"),
        _mean(row),
        number(row.worst_decile),
        _retention(row),
        verdict_text(row),
        seconds(row.latency.p50 if row.latency else None),
        _or_dash(row.latency.ratio if row.latency else None, "{:.2f}x"),
    )


def verdict_text(row: Row) -> str:
    """The verdict in a word or two."""
    if not row.recipe:
        return ""
    if row.verdict is None:
        return "-"
    return {"baseline not better than random": "no baseline"}.get(row.verdict.status, row.verdict.status)


def number(value: float | None) -> str:
    """A return with as many digits as are worth reading.

    >>> number(5877.7), number(-170.42), number(0.51234), number(None)
    ('5,878', '-170.4', '0.512', '-')
    """
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}"


def seconds(value: float | None) -> str:
    """A time with a prefix.

    >>> seconds(5.61e-07), seconds(0.0123), seconds(None)
    ('0.56 us', '12.3 ms', '-')
    """
    if value is None:
        return "-"
    for unit, factor, digits in (("us", 1e6, 2), ("ms", 1e3, 1)):
        if value * factor < 1000:
            return f"{value * factor:.{digits if value * factor < 10 else 1}f} {unit}"
    return f"{value:.2f} s"


def _mean(row: Row) -> str:
    return number(row.mean_return) + (f"±{number(row.sd_return)}" if row.sd_return is not None else "")


def _retention(row: Row) -> str:
    kept = row.retention
    if kept is None:
        return "" if not row.recipe else "-"
    low, high = (f"{100 * bound:.0f}" if math.isfinite(bound) else "inf" for bound in (kept.low, kept.high))
    return f"{100 * kept.estimate:.1f} % [{low}, {high}]"


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


def measurement_line(measurement: Measurement | Absent) -> str:
    """One quantity of one artifact in a line: median, spread and how it was measured, or why it is not there."""
    if isinstance(measurement, Absent):
        return f"{measurement.quantity:<24} not measured: {measurement.reason}"
    values = np.array(measurement.values)
    unit = QUANTITIES[measurement.quantity].unit
    show: Callable[[float], str] = {"s": seconds, "byte": "{:,.0f}".format, "1": "{:,.0f}".format}.get(unit, number)
    if len(values) == 1:
        shown = show(float(values[0]))
    elif unit == "s":
        shown = ", ".join(f"{name} {show(float(np.quantile(values, q)))}" for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)))
    else:
        shown = f"mean {show(float(values.mean()))}, from {show(float(values.min()))} to {show(float(values.max()))}"
    return f"{measurement.quantity:<24} {shown}  ({len(values)} values; {measurement.method})"
