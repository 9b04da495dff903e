"""The questions of arXiv 2407.15904: what do quantization, pruning and both do to a model of each of four families?

The paper's abstract is public, its tables are not: what it says there is answered by verdicts on paired items.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final, Literal

from lilliput.report import table
from lilliput.report.printed_table import PrintedTable
from lilliput.report.recipe_text import steps
from lilliput.report.row import Row, verdict_of
from lilliput.report.vocabulary import name_of, score_of

Answer = Literal["holds", "does not hold", "undecided"]

FAMILIES: Final = ("classification", "detection", "generation", "language")

_PRUNES = ("prune_weights", "prune_units")


def tables(rows: Sequence[Row]) -> list[PrintedTable]:
    """A table a family and the paper's claims, where the rows are of more than one family."""
    families = [name for name in FAMILIES if any(_family(row) == name for row in rows)]
    if len(families) < 2:
        return []
    return [*(family_table(name, [row for row in rows if _family(row) == name]) for name in families), claims(rows)]


def family_table(family: str, rows: Sequence[Row]) -> PrintedTable:
    """A line a candidate: its score, what it keeps, what it costs."""
    body = []
    for row in rows:
        figures = dict(row.figures)
        time = "-" if row.latency is None or row.latency.ratio is None else f"{row.latency.ratio:.2f}x"
        counted = [
            "-" if number is None else f"{number:,.0f}"
            for number in (row.model_bytes, row.file_bytes, figures.get("zipped_bytes"))
        ]
        shares = [table.figure(name, figures[name]) if name in figures else "-" for name in _SHARES]
        said = {"": "-", **_SAID}.get(verdict_of(row), verdict_of(row))
        kept = table.retention_text(row) or "-"
        body.append((_subject(row), table.name(row), _score(row), kept, said, *counted, *shares, time))
    header = (
        "model, score", "recipe", "score", "retention [95 %]", "verdict", "bytes", "file", "zipped", "still zero",
        "2:4", "flips", "speed",
    )  # fmt: skip
    return PrintedTable(
        f"saxena-{family}", f"{family.capitalize()}: what each recipe keeps and costs", header, tuple(body)
    )


_SHARES = ("pruned_still_zero", "two_in_four", "flips")
_SAID = {"not applicable": "n/a"}


def claims(rows: Sequence[Row]) -> PrintedTable:
    """What the paper's abstract and summary say, answered by these rows, each with what it rests on."""
    own = [row for row in rows if row.recipe and row.status == "done" and row.smaller is not None]
    body = [
        ("quantization after training makes a model 2 to 4 times smaller", *_smaller(own)),
        ("pruning keeps performance up to a threshold of sparsity", *_threshold(own)),
        ("a smaller model need not be faster on a general processor", *_faster(own)),
        ("quantization and pruning together go further than either", *_together(own)),
    ]
    caption = "The claims of arXiv 2407.15904, on these models"
    return PrintedTable("saxena-claims", caption, ("claim", "answer", "on what"), tuple(body), 3)


def _smaller(rows: Sequence[Row]) -> tuple[Answer, str]:
    rounded = [row for row in rows if _only(row, "quantize", "half") and (_bits(row) or 8) >= 8]
    if not rounded:
        return "undecided", "nothing was only quantized to 8 or 16 bits"
    factors = [row.smaller or 0 for row in rounded]
    kept = sum(verdict_of(row) == "kept" for row in rounded)
    lost = sum(verdict_of(row) == "lost" for row in rounded)
    within = all(1.8 <= factor <= 4.2 for factor in factors)
    words = (
        f"{min(factors):.1f} to {max(factors):.1f} times at 8 and 16 bits; {kept} of {len(rounded)} kept, {lost} lost"
    )
    return "holds" if within else "does not hold", words


def _threshold(rows: Sequence[Row]) -> tuple[Answer, str]:
    """Whether a lower sparsity was kept and a higher one lost, of each model and task."""
    found: list[Answer] = []
    words = []
    for key in dict.fromkeys((row.policy, row.environment) for row in rows):
        mine = [row for row in rows if (row.policy, row.environment) == key and _only(row, "prune_weights")]
        at = {float(steps(row.recipe)[0].get("sparsity") or 0): verdict_of(row) for row in mine}
        kept = [sparsity for sparsity, verdict in at.items() if verdict == "kept"]
        lost = [sparsity for sparsity, verdict in at.items() if verdict == "lost"]
        if not at:
            continue
        last = f"{max(kept):.0%}" if kept else "none"
        words.append(f"{_subject(mine[0])}: {last} surely kept{f', {min(lost):.0%} lost' if lost else ''}")
        if kept and lost:
            found.append("holds" if max(kept) < min(lost) else "does not hold")
        else:
            found.append("does not hold" if lost and min(lost) == min(at) else "undecided")
    n = found.count("holds")
    whole: Answer = "undecided"
    if found and len(set(found)) == 1:
        whole = found[0]
    return whole, f"{n} of {len(found)}: {'; '.join(words)}" if words else "nothing was only pruned"


def _faster(rows: Sequence[Row]) -> tuple[Answer, str]:
    timed = [(row, row.latency.ratio) for row in rows if row.latency is not None and row.latency.ratio is not None]
    smaller = [(row, ratio) for row, ratio in timed if (row.smaller or 0) > 1.1]
    if not smaller:
        return "undecided", "no time was measured"
    slower = [ratio for _, ratio in smaller if ratio < 0.98]
    words = f"{len(slower)} of {len(smaller)} smaller ones are slower"
    if slower:
        words += f", the slowest takes {1 / min(slower):.1f} times as long"
    return "holds" if slower else "does not hold", words


def _together(rows: Sequence[Row]) -> tuple[Answer, str]:
    """Whether the smallest surely kept hybrid is smaller than the smallest surely kept of one method alone."""
    wins, words = 0, []
    compared = 0
    for key in dict.fromkeys((row.policy, row.environment) for row in rows):
        mine = [row for row in rows if (row.policy, row.environment) == key and verdict_of(row) == "kept"]
        hybrid = max((row.smaller or 0 for row in mine if _is_hybrid(row)), default=0.0)
        single = max((row.smaller or 0 for row in mine if not _is_hybrid(row)), default=0.0)
        if not hybrid and not single:
            continue
        compared += 1
        wins += hybrid > single
        both = [f"{factor:.1f}x" if factor else "none kept" for factor in (hybrid, single)]
        name = next(_subject(row) for row in rows if (row.policy, row.environment) == key)
        words.append(f"{name}: {both[0]} together, {both[1]} alone")
    if not compared:
        return "undecided", "nothing was surely kept"
    return "holds" if wins == compared else "does not hold" if not wins else "undecided", "; ".join(words)


def _is_hybrid(row: Row) -> bool:
    names = {step.name for step in steps(row.recipe)}
    return bool(names & set(_PRUNES)) and "quantize" in names


def _only(row: Row, *names: str) -> bool:
    found = steps(row.recipe)
    return len(found) == 1 and found[0].name in names


def _bits(row: Row) -> int | None:
    value = steps(row.recipe)[0].get("weight_bits")
    return value if isinstance(value, int) else None


def _family(row: Row) -> str:
    return dict(row.names).get("algorithm", "")


def _subject(row: Row) -> str:
    source = dict(row.names).get("source") or row.policy[:8]
    return f"{PurePath(source).name if PurePath(source).suffix else name_of(source)}, {score_of(row.task).name}"


def _score(row: Row) -> str:
    score = score_of(row.task)
    return score.text(score.of_mean(row.mean_return))
