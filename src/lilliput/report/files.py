"""Everything that a study's folder gets when its report is written."""

import csv
import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.errors import MissingDependency
from lilliput.files import whole, write_whole
from lilliput.foreign_text import in_spreadsheet
from lilliput.record import Record
from lilliput.report import calibration_draws, figures, guidelines, page, study_tables, summary, table, williams2024
from lilliput.report.label import labels
from lilliput.report.printed_table import PrintedTable
from lilliput.report.recipe_text import method
from lilliput.report.row import Row, verdict_of

Replay = Callable[[Sequence[Row]], tuple[list[page.Clip], list[str]]]
"""Clips of some rows, and why others have none."""


@final
@dataclass(frozen=True)
class Written:
    """The files of a report by kind (csv, guidelines, html, figures...), what could not be written, and the tables."""

    files: dict[str, Path]
    left_out: tuple[str, ...]
    tables: tuple[PrintedTable, ...] = ()


def write_all(
    records: Sequence[Record],
    keep: float,
    folder: Path,
    title: str,
    *,
    study: str = "",
    notes: Sequence[str] = (),
    caveats: Sequence[str] = (),
    reproduces: str = "",
    replay: Replay | None = None,
    second: Executor | None = None,
) -> Written:
    """The files of the report; the page is left out where plotly is not installed."""
    rows = summary.rows(records, keep, second)
    plain = second.submit(_plain, rows, keep, folder) if second else None
    written = {"csv": folder / "report.csv", "guidelines": folder / "guidelines.md"}
    advice = guidelines.guidelines(rows, reproduces)
    write_whole(written["guidelines"], guidelines.markdown(advice, keep))
    calibrated = calibration_draws.draws_of(records)
    tables = (*_of_draws(calibrated, keep, reproduces), *study_tables.tables(rows, keep, reproduces))
    if calibrated:
        numbers = calibration_draws.to_json(calibrated, rng=np.random.default_rng(0))
        written["draws"] = write_whole(folder / "draws.json", json.dumps(numbers, indent=1) + "\n")
    for kind, text in (("md", PrintedTable.markdown), ("tex", PrintedTable.latex)):
        written[f"tables.{kind}"] = write_whole(folder / f"tables.{kind}", "\n".join(map(text, tables)))
    clips, left_out = replay(rows) if replay is not None else ([], [])
    try:
        path = folder / "report.html"
        written["html"] = page.write_rows(
            rows,
            records,
            keep,
            path,
            title,
            tables=tables,
            advice=advice,
            study=study,
            notes=notes,
            caveats=caveats,
            clips=clips,
        )
    except MissingDependency as error:
        left_out.append(str(error))
    drawn = plain.result() if plain else _plain(rows, keep, folder)
    return Written({**written, **drawn.files}, (*left_out, *drawn.left_out), tables)


def write_table(rows: Sequence[Row], remarks: Sequence[str], folder: Path) -> None:
    """Write the table of a few rows as table.md, with the remarks below it, table.json and report.csv."""
    below = "".join(f"\n- {remark}" for remark in remarks)
    write_whole(folder / "table.md", f"{table.markdown(rows)}{below}\n")
    write_whole(folder / "table.json", json.dumps(table.to_json(rows), indent=1) + "\n")
    write_whole(folder / "report.csv", csv_text(rows))


def _plain(rows: Sequence[Row], keep: float, folder: Path) -> Written:
    """What of the report is made of the rows alone: figures, the CSV, the same as parquet."""
    columns = _columns(rows)
    written, left_out = {"csv": write_whole(folder / "report.csv", _csv(columns))}, []
    try:
        written["parquet"] = _write_parquet(columns, folder / "report.parquet")
    except MissingDependency as error:
        left_out.append(str(error))
    try:
        written |= figures.write(rows, keep, folder / "figures")
    except MissingDependency as error:
        left_out.append(str(error))
    return Written(written, tuple(left_out))


def _of_draws(groups: Sequence[calibration_draws.Draws], keep: float, reproduces: str) -> list[PrintedTable]:
    """What draws of calibration data did, and what the paper says of it where the study reproduces it."""
    rng = np.random.default_rng(0)
    published = williams2024.tables(groups, rng=rng) if reproduces == "williams2024" else []
    return [*published, *calibration_draws.tables(groups, rng=rng, keep=keep)]


def _write_parquet(columns: dict[str, list[Any]], path: Path) -> Path:
    """The file that the columns of the CSV were written to.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency(
            "report.parquet needs pyarrow; install it with: pip install 'lilliput[report]'"
        ) from error
    with whole(path) as file:
        parquet.write_table(pyarrow.table(columns), file)
    return path


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as CSV, one line a candidate, numbers in SI units; what was not measured is empty."""
    return _csv(_columns(rows))


def _csv(columns: Mapping[str, Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    cell = functools.lru_cache(maxsize=4096)(in_spreadsheet)
    cells = [[cell(one) if isinstance(one, str) else one for one in column] for column in columns.values()]
    writer.writerows(zip(*cells, strict=True))
    return buffer.getvalue()


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The columns of the CSV by name, a value a row, None where a row has none."""
    lines = _lines(rows)
    names: dict[str, None] = {}
    for line in lines:
        if not line.keys() <= names.keys():
            names |= dict.fromkeys(line)
    return {name: [line.get(name) for line in lines] for name in names or ["policy"]}


_TOLD_OTHERWISE = {
    "names",
    "retention",
    "verdict",
    "latency",
    "notes",
    "said",
    "digests",
    "policy",
    "task",
    "on_targets",
    "figures",
}


def _lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = labels(rows)
    return [_flat(row, names[row.policy, row.environment]) for row in rows]


def _flat(row: Row, label: str) -> dict[str, Any]:
    plain = {name: value for name, value in vars(row).items() if name not in _TOLD_OTHERWISE}
    kept, decided, time = row.retention, row.verdict, row.latency
    line = {
        "policy": label,
        "policy_digest": row.policy,
        **dict(row.names),
        "method": method(row.recipe, row.task.score),
        **table.scores(row),
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
        **{
            f"{one.target}_{name}": getattr(one, name)
            for one in row.on_targets
            for name in ("flash_bytes", "ram_bytes", "instructions")
        },
        **dict(row.figures),
        "record": row.digests[0] if row.digests else None,
        "notes": "; ".join(row.notes),
        "said": "; ".join(row.said),
    }
    return table.renamed(row, line)
