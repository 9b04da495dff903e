"""What the page's script draws from: rows and aggregates as JSON data."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lilliput.foreign_text import printable
from lilliput.report import aggregates, table
from lilliput.report.label import algorithm, labels
from lilliput.report.recipe_text import Curve, calibration, curves, method, undrawn
from lilliput.report.row import Row, verdict_of
from lilliput.report.vocabulary import score_of, words_of
from lilliput.task import RETURN


def of_rows(rows: Sequence[Row], keep: float) -> dict[str, Any]:
    """Rows, performance profiles and probabilities of improvement, as JSON data."""
    names = labels(rows)
    known = curves((row.recipe for row in rows if row.recipe), rows[0].task.score if rows else RETURN)
    lines = [_row(row, names[row.policy, row.environment], known.get(row.recipe, ())) for row in rows]
    more = [list(one) for one in table.columns(rows).items()]
    return _untagged(
        {
            "keep": keep,
            "words": _words(rows),
            "columns": more,
            "rows": lines,
            "profiles": _profiles(rows),
            "improvements": _improvements(rows),
        }
    )


def _words(rows: Sequence[Row]) -> dict[str, str]:
    return {name: value for name, value in vars(words_of(row.task for row in rows)).items() if isinstance(value, str)}


def _row(row: Row, label: str, lines: Sequence[Curve]) -> dict[str, Any]:
    kept, time, score = row.retention, row.latency, score_of(row.task)
    plain = {
        "policy": label,
        "algorithm": algorithm(row),
        "environment": row.environment,
        "recipe": table.name(row),
        "method": method(row.recipe, row.task.score),
        "format": row.format,
        "seed": row.compression_seed,
        "verdict": verdict_of(row) or "baseline",
        "reason": row.reason,
        "n": row.n_episodes,
        "mean": score.of_mean(row.mean_return),
        "score": table.score_text(row),
        "sd": row.sd_return if score.asked is None else None,
        "worst": None if score.name == "accuracy" else score.of_mean(row.worst_decile),
        "early": row.n_terminated,
        "noise": row.noise,
        "baseline": score.of_mean(row.baseline_mean),
        "random": score.of_mean(row.random_mean),
        "retention": kept.estimate if kept else None,
        "low": kept.low if kept else None,
        "high": kept.high if kept else None,
        "needed": row.verdict.episodes_needed if row.verdict else None,
        "bytes": row.model_bytes,
        "smaller": row.smaller,
        "file": row.file_bytes,
        "macs": row.n_macs,
        "latency": time.p50 if time else None,
        "p99": time.p99 if time else None,
        "faster": time.ratio if time else None,
        "memory": row.memory_bytes,
        "energy": row.energy_j,
        "curves": [[line.line, line.parameter, line.value] for line in lines],
        "calibration": calibration(row.recipe, row.task.score),
        "drawn": undrawn(row.recipe),
        "records": list(row.digests),
        "notes": list(row.notes),
        "said": list(row.said),
        "figures": {name: table.figure(name, value) for name, value in row.figures},
        **dict(row.figures),
    }
    return {key: _finite(value) if isinstance(value, float) else value for key, value in plain.items()}


def _untagged(value: Any) -> Any:
    """The data without a `<` in any text: plots take tags in labels for markup."""
    match value:
        case str():
            return printable(value).replace("<", "\u2039")
        case dict():
            return {name: _untagged(one) for name, one in value.items()}
        case list() | tuple():
            return [_untagged(one) for one in value]
        case _:
            return value


def _finite(value: float) -> float | None:
    """A number as 6 digits, which is more than a page shows; None for what is infinite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _profiles(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"method": name, **{key: np.round(value, 4).tolist() for key, value in vars(profile).items()}}
        for name, profile in aggregates.profiles(rows).items()
    ]


def _improvements(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"ours": found.ours, "theirs": found.theirs, "n": found.n_policies}
        | {key: round(value, 4) for key, value in vars(found.interval).items()}
        for found in aggregates.improvements(rows)
    ]
