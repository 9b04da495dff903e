"""Prints the section of docs/results-models.md on saxena2024 from the folder of that study: every table is computed.

python docs/results_models.py RESULTS/saxena2024
"""

import sys
from pathlib import Path

from lilliput.report import saxena2024, summary
from lilliput.report.row import verdict_of
from lilliput.study.conduct import read_plan, records


def text(folder: Path) -> str:
    """The section."""
    plan, found = read_plan(folder), list(records(folder))
    missing = len(plan["cells"]) + len(plan["timings"]) - len(found)
    rows = summary.rows(found, plan["keep"])
    here = next(m.conditions for record in found for m in record.measurements)
    counts = {status: sum(r.status == status for r in found) for status in ("done", "failed", "not_applicable")}
    left = f"; {missing} of the study are not run yet" if missing > 0 else ""
    said = (
        f"{len(found)} cells: {counts['done']} done, {counts['failed']} failed, {counts['not_applicable']} without "
        f"effect{left}; keep {plan['keep']:g}; seed 0. {here.processor}, {here.n_cores} cores, Python {here.python}."
    )
    failed = [
        f"- {row.recipe} on {row.environment}: {row.reason}"
        for row in rows
        if row.status == "failed" and verdict_of(row) == "failed"
    ]
    *families, claims = saxena2024.tables(rows)
    parts = ["## saxena2024", said, claims.markdown().strip(), *(one.markdown().strip() for one in families)]
    return "\n\n".join([*parts, *(["\n".join(failed)] if failed else [])]) + "\n"


if __name__ == "__main__":
    print(text(Path(sys.argv[1])), end="")
