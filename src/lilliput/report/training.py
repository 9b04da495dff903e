"""The curve of a training: returns of the policy at its checkpoints, as a picture and a page."""

import base64
import html
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

from lilliput.files import write_whole
from lilliput.sums import mean

Curve = Sequence[tuple[int, Sequence[float]]]
"""Steps done, and the returns of the episodes played then."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
td, th {{ padding: .1rem .8rem; text-align: right; font-variant-numeric: tabular-nums }}
img {{ max-width: 100% }}</style>
<h1>{title}</h1>
<p><img alt="Return over steps" src="data:image/png;base64,{picture}"></p>
{notes}
<p>Each row: the policy as it would be deployed, on the same episodes. They choose the best checkpoint, so they do not
judge it: other episodes do (<code>lilliput compare</code>).</p>
<table><tr><th>steps<th>mean return<th>lowest<th>highest<th>episodes</tr>
{rows}
</table></html>
"""


def write(folder: Path, title: str, curve: Curve, notes: Sequence[str]) -> tuple[Path, ...]:
    """The files written: curve.png and report.html; none where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return ()
    picture = _picture(curve)
    rows = "\n".join(
        f"<tr><td>{step:,}<td>{mean(returns):,.1f}<td>{min(returns):,.1f}<td>{max(returns):,.1f}<td>{len(returns)}</tr>"
        for step, returns in curve
    )
    said = "\n".join(f"<p>{html.escape(note)}</p>" for note in notes)
    page = _PAGE.format(title=html.escape(title), picture=base64.b64encode(picture).decode(), notes=said, rows=rows)
    return write_whole(folder / "curve.png", picture), write_whole(folder / "report.html", page)


def _picture(curve: Curve) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [step for step, _ in curve]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.fill_between(steps, [min(r) for _, r in curve], [max(r) for _, r in curve], alpha=0.2, linewidth=0)
    axes.plot(steps, [mean(r) for _, r in curve], marker="." if len(steps) < 60 else "")
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return")
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    return data.getvalue()
