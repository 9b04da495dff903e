"""Everything that a study's folder gets when its report is written."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lilliput.errors import MissingDependency
from lilliput.record import Record
from lilliput.report import guidelines, page, summary
from lilliput.report.answers import labels, verdict_of
from lilliput.report.decisions import Decisions
from lilliput.report.recipe_text import method
from lilliput.report.summary import Row

DECISIONS = "decisions.json"
"""What later reports and `study status` need not compute again."""


@final
@dataclass(frozen=True)
class Written:
    """The files of a report by kind (csv, guidelines, html), and what could not be written."""

    files: dict[str, Path]
    left_out: tuple[str, ...]


def write_all(
    records: Sequence[Record], keep: float, folder: Path, title: str, *, study: str = "", notes: Sequence[str] = ()
) -> Written:
    """The files of the report; the page is left out where plotly is not installed."""
    decisions = Decisions(folder / DECISIONS)
    rows = summary.rows(records, keep, decisions)
    decisions.save()
    written = {"csv": folder / "report.csv", "guidelines": folder / "guidelines.md"}
    written["csv"].write_text(csv_text(rows), encoding="utf-8")
    written["guidelines"].write_text(guidelines.markdown(rows, keep), encoding="utf-8")
    try:
        written["html"] = page.write_rows(rows, records, keep, folder / "report.html", title, study=study, notes=notes)
    except MissingDependency as error:
        return Written(written, (str(error),))
    return Written(written, ())


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as CSV, one line a candidate, numbers in SI units; what was not measured is empty."""
    names = labels(rows)
    lines = [_flat(row, names[row.policy, row.environment]) for row in rows]
    buffer = io.StringIO()
    header = list(dict.fromkeys(key for line in lines for key in line)) or ["policy"]
    writer = csv.DictWriter(buffer, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _flat(row: Row, label: str) -> dict[str, Any]:
    plain = {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(row)
        if field.name not in ("names", "retention", "verdict", "latency", "notes", "digests", "policy")
    }
    kept, decided, time = row.retention, row.verdict, row.latency
    return {
        "policy": label,
        "policy_digest": row.policy,
        **dict(row.names),
        "method": method(row.recipe),
        **plain,
        "retention": kept.estimate if kept else None,
        "retention_low": kept.low if kept else None,
        "retention_high": kept.high if kept else None,
        "verdict": verdict_of(row),
        "episodes_needed": decided.episodes_needed if decided else None,
        "latency_p50_s": time.p50 if time else None,
        "latency_p95_s": time.p95 if time else None,
        "latency_p99_s": time.p99 if time else None,
        "faster": time.ratio if time else None,
        "record": row.digests[0] if row.digests else None,
        "notes": "; ".join(row.notes),
    }
