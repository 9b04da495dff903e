"""The smallest candidate of each policy that kept the return, or that looks as if it did."""

from collections.abc import Sequence

from lilliput.report.row import Row, by_policy, verdict_of


def smallest(rows: Sequence[Row]) -> list[Row | None]:
    """Of each policy the candidate of the fewest model bytes whose verdict is kept; None where there is none."""
    found: list[Row | None] = []
    for group in by_policy(rows).values():
        kept = [row for row in group if verdict_of(row) == "kept" and row.model_bytes is not None]
        found.append(min(kept, key=lambda row: row.model_bytes or 0, default=None))
    return found


def promising(group: Sequence[Row], keep: float) -> Row | None:
    """The smallest undecided candidate that looks as if it kept the return and that more episodes would decide."""
    found = [
        row
        for row in group
        if verdict_of(row) == "undecided"
        and row.retention is not None
        and row.retention.estimate >= keep
        and row.verdict is not None
        and row.verdict.episodes_needed
    ]
    return min(found, key=lambda row: row.model_bytes or 0, default=None)
