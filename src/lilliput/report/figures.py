"""Static figures fit for a paper, as PDF and PNG."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.errors import MissingDependency
from lilliput.files import whole
from lilliput.report import aggregates, front
from lilliput.report.label import labels
from lilliput.report.recipe_text import calibration, curves, method, undrawn
from lilliput.report.row import Row
from lilliput.sums import mean
from lilliput.task import RETURN

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
MARKS = "osD^vP*X"
NAMES = {
    "ratio": "units removed", "sparsity": "weights set to zero", "weight_bits": "bits of a weight",
    "activation_bits": "bits of an activation", "samples": "samples of calibration text",
}  # fmt: skip
FLOOR, CEILING = -0.1, 1.25
"""Of the retention axis; what is beyond stands at the edge."""

_PAD_INCHES = 0.1
_PANELS = 12
_LEGIBLE = 300
"""Points of one colour; of more, intervals would cover each other."""


def write(rows: Sequence[Row], keep: float, folder: Path) -> dict[str, Path]:
    """The figures that these rows have something to say in, each as NAME.pdf and NAME.png in `folder`.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    load()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = [row for row in rows if row.recipe and row.retention is not None]
    drawings: list[tuple[str, Callable[..., Any | None]]] = [
        ("frontier", _frontier),
        ("curves", _curves),
        ("profiles", _profiles),
        ("calibration", _calibration),
        ("front", lambda _, __: _front(rows)),
    ]
    written = {}
    own = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    # A user's settings would lay out anew what was measured.
    with rc_context({**own, "figure.autolayout": False, "figure.constrained_layout.use": False}):
        for name, draw in drawings:
            figure = draw(shown, keep)
            if figure is None:
                continue
            canvas = FigureCanvasAgg(figure)
            figure.draw_without_rendering()
            figure.set_layout_engine(None)  # laid out and measured once, not again for each file
            box = figure.get_tightbbox(canvas.get_renderer()).padded(_PAD_INCHES)
            folder.mkdir(parents=True, exist_ok=True)
            for kind in ("pdf", "png"):
                path = written[f"{name}.{kind}"] = folder / f"{name}.{kind}"
                # No date inside: the same records write the same file.
                undated = {"CreationDate": None} if kind == "pdf" else None
                with whole(path) as file:
                    figure.savefig(file, format=kind, dpi=200, bbox_inches=box, metadata=undated)
    return written


def load() -> None:
    """Load matplotlib, which takes a second.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        from matplotlib.backends import backend_agg, backend_pdf  # noqa: F401
    except ImportError as error:
        raise MissingDependency("figures need matplotlib; install it with: pip install 'lilliput[report]'") from error


def _frontier(rows: Sequence[Row], keep: float) -> Any | None:
    """Model bytes against retention, one panel for all policies, colours for methods."""
    shown = [row for row in rows if row.smaller is not None]
    if not shown:
        return None
    figure, ((axes,),) = _panels(1, 5.5, 3.6)
    names = sorted({method(row.recipe, row.task.score) for row in shown})
    for number, name in enumerate(names):
        own = [row for row in shown if method(row.recipe, row.task.score) == name]
        _points(axes, [row.smaller or 1 for row in own], own, number, name, joined=False)
    axes.set_xscale("log")
    axes.set_xlabel("times smaller (model bytes)")
    _finish(axes, keep)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _curves(rows: Sequence[Row], keep: float) -> Any | None:
    """How far one can go: a panel a policy and parameter, a line a method."""
    names = labels(rows)
    several = len({row.format for row in rows if row.recipe}) > 1
    panels: dict[tuple[str, str], dict[str, list[tuple[float, Row]]]] = defaultdict(lambda: defaultdict(list))
    known = curves((row.recipe for row in rows), rows[0].task.score if rows else RETURN)
    for row in rows:
        for curve in known[row.recipe]:
            line = f"{curve.line}, {row.format}" if several else curve.line
            panels[names[row.policy, row.environment], curve.parameter][line].append((curve.value, row))
    drawn = {
        key: {line: spots for line, spots in lines.items() if len({where for where, _ in spots}) > 1}
        for key, lines in panels.items()
    }
    drawn = {key: lines for key, lines in sorted(drawn.items()) if lines}
    if not drawn:
        return None
    order = sorted({line for lines in drawn.values() for line in lines})
    figure, grid = _panels(min(len(drawn), _PANELS), 2.4, 2.0)
    handles: dict[str, Any] = {}
    for axes, ((policy, parameter), lines) in zip([a for line in grid for a in line], drawn.items(), strict=False):
        for line, spots in sorted(lines.items()):
            ordered = sorted(spots, key=lambda spot: spot[0])
            places, own = [where for where, _ in ordered], [row for _, row in ordered]
            handles[line] = _points(axes, places, own, order.index(line), line, joined=True)
        axes.set_title(policy if len(policy) < 44 else policy[:43] + "…", fontsize=7)
        axes.set_xlabel(NAMES.get(parameter, parameter))
        if parameter == "samples":
            axes.set_xscale("log", base=2)
        _finish(axes, keep)
    for axes in [a for line in grid for a in line][len(drawn) :]:
        axes.set_axis_off()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _profiles(rows: Sequence[Row], keep: float) -> Any | None:
    profiles = aggregates.profiles(rows)
    if not profiles:
        return None
    figure, ((axes,),) = _panels(1, 5.0, 3.2)
    for number, (name, profile) in enumerate(profiles.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(100 * profile.thresholds, profile.estimate, color=colour, label=name)
        axes.fill_between(100 * profile.thresholds, profile.low, profile.high, color=colour, alpha=0.15, linewidth=0)
    axes.axvline(100 * keep, linestyle="--", linewidth=0.7, color="0.5")
    axes.set_xlabel("retention, %")
    axes.set_ylabel("share of cells above")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _calibration(rows: Sequence[Row], keep: float) -> Any | None:
    """The spread over draws of the calibration data, each less the mean of its policy: a panel a method."""
    draws: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        kind = calibration(row.recipe, row.task.score)
        if kind is not None and row.retention is not None:
            same = (row.policy, row.environment, row.format, undrawn(row.recipe))
            draws[(kind[0], f"{kind[1]}, {kind[2]}", *same)].append(100 * row.retention.estimate)
    kinds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (name, source, *_), values in draws.items():
        if len(values) > 1:
            kinds[name][source] += [float(np.clip(value - mean(values), -60, 60)) for value in values]
    kinds = {name: sources for name, sources in kinds.items() if len(sources) > 1}
    if not kinds:
        return None
    figure, grid = _panels(min(len(kinds), _PANELS), 3.2, 2.6)
    for axes, (name, sources) in zip([a for line in grid for a in line], sorted(kinds.items()), strict=False):
        ordered = sorted(sources)
        axes.boxplot([sources[source] for source in ordered], tick_labels=ordered, sym=".", widths=0.6)
        axes.tick_params(axis="x", rotation=60)
        axes.set_title(name, fontsize=7)
        axes.set_ylabel("retention less its mean, points")
    for axes in [a for line in grid for a in line][len(kinds) :]:
        axes.set_axis_off()
    return figure


def _front(rows: Sequence[Row]) -> Any | None:
    """Return against bytes, a panel an environment, colours for teachers, crosses for what was published."""
    fronts = front.fronts(rows)
    if not fronts:
        return None
    figure, grid = _panels(len(fronts), 3.4, 2.8)
    every = [axes for line in grid for axes in line]
    for axes, (name, points) in zip(every, fronts.items(), strict=False):
        teachers = list(dict.fromkeys(point.row.policy for point in points))
        for number, teacher in enumerate(teachers):
            own = [point for point in points if point.row.policy == teacher]
            half = [[point.value - point.low for point in own], [point.high - point.value for point in own]]
            axes.errorbar(
                [point.bytes for point in own],
                [point.value for point in own],
                yerr=half if np.isfinite(half).all() else None,
                fmt=MARKS[number % len(MARKS)],
                color=COLOURS[number % len(COLOURS)],
                markersize=3,
                elinewidth=0.5,
                label=dict(own[0].row.names).get("source", teacher[:8]),
            )
        leading = [point for point in points if point.leads]
        axes.plot(
            [point.bytes for point in leading], [point.value for point in leading],
            drawstyle="steps-post", color="0.4", linewidth=0.7,
        )  # fmt: skip
        if name in front.PUBLISHED:
            sizes, values = zip(*front.PUBLISHED[name], strict=True)
            axes.plot(sizes, values, "x", color="black", markersize=5, label="arXiv 2512.01467")
        axes.set_xscale("log")
        axes.set_xlabel("model bytes")
        axes.set_ylabel("return")
        axes.set_title(name, fontsize=7)
        axes.legend(fontsize=6, frameon=False)
    for axes in every[len(fronts) :]:
        axes.set_axis_off()
    return figure


def _panels(n: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    columns = min(n, 3)
    lines = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * lines + 0.6), layout="constrained")
    return figure, figure.subplots(lines, columns, squeeze=False)


def _points(axes: Any, places: Sequence[float], rows: Sequence[Row], number: int, label: str, *, joined: bool) -> Any:
    """Retentions with their intervals at `places`."""
    kept = [row.retention for row in rows if row.retention is not None]
    middle = np.array([_clipped(k.estimate) for k in kept])
    ends = np.array([[_clipped(k.low) for k in kept], [_clipped(k.high) for k in kept]])
    return axes.errorbar(
        places,
        100 * middle,
        yerr=100 * np.abs(ends - middle) if len(rows) <= _LEGIBLE else None,
        fmt=MARKS[number % len(MARKS)] + ("-" if joined else ""),
        color=COLOURS[number % len(COLOURS)],
        markersize=3,
        linewidth=1 if joined else 0,
        elinewidth=0.5,
        label=label,
        rasterized=len(rows) > _LEGIBLE,
    )


def _clipped(value: float) -> float:
    return min(max(value, FLOOR), CEILING)


def _finish(axes: Any, keep: float) -> None:
    axes.axhline(100 * keep, linestyle="--", linewidth=0.7, color="0.5")
    axes.set_ylabel("retention, %")
    axes.set_ylim(100 * FLOOR - 2, 100 * CEILING)
