"""What the tables of a report leave out, a line each, and which of their numbers are to be taken with care."""

from collections.abc import Sequence

from lilliput.foreign_text import printable
from lilliput.record import REFERENCE
from lilliput.report.label import labels
from lilliput.report.printed_table import number
from lilliput.report.row import Row, by_policy
from lilliput.report.table import name
from lilliput.report.vocabulary import count, words_of
from lilliput.task import DRAWN_SCORE, MODEL_SCORES

_SMALLER = 1.02
"""Below it, a file is as large as it was."""
_TOO_FEW = "two arithmetics were run on too few of the same items to tell"
_SLOWER = 0.95
"""Of the baseline's speed: a model timed twice differs by up to 4 %."""


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the tables leave out, a line each: why a candidate is not there, and how many items would decide."""
    found, words = [], words_of(row.task for row in rows)
    for row in rows:
        if row.status != "done":
            found.append(f"{name(row)}: {row.status.replace('_', ' ')}: {row.reason}")
        elif row.verdict is not None and row.verdict.status == "undecided":
            needed = row.verdict.episodes_needed
            if row.task.score == DRAWN_SCORE:
                found.append(f"{name(row)}: undecided; more pictures may decide, more draws of these do not")
                continue
            enough = f"about {count(needed, words.items)} would decide" if needed else ""
            plan = enough or f"no number of {words.items} decides"
            found.append(f"{name(row)}: undecided after {row.n_episodes}; {plan}")
    if any(row.verdict is not None and row.verdict.status == "undecided" for row in rows):
        found.append(
            f'verdicts stand on "at least", a bound for any shape of {words.values}; the bracket takes means as normal'
        )
    said = dict.fromkeys(f"{name(row)}: {sentence}" for row in rows for sentence in row.said)
    lines = (*found, *said, *warnings(rows), *(f"not measured: {note}" for note in notes(rows)))
    return [printable(line) for line in lines]


def warnings(rows: Sequence[Row]) -> list[str]:
    """What numbers in the tables are to be taken with care, a line each, with its subject where there are several."""
    groups, known = by_policy(rows), labels(rows)
    found, alone, short = [], [], []
    for subject, own in groups.items():
        who = f"{known[subject]}: " if len(groups) > 1 else ""
        found += [f"{who}{line}" for line in (*_episodes(own), *_costs(own), *_noise(own))]
        if any(baseline.noise is None for baseline in _baselines(own)):
            twice = any(not row.recipe and row.format == REFERENCE and row.mean_return is not None for row in own)
            (short if twice else alone).append(known[subject])
    for subjects, why in ((alone, "one arithmetic alone was run"), (short, _TOO_FEW)):
        of = f" of {', '.join(subjects)}" if len(groups) > 1 else ""
        found += [f"no floor of noise is known{of}: {why}"] if subjects else []
    return found


def _episodes(rows: Sequence[Row]) -> list[str]:
    found = list(dict.fromkeys(doubt for row in rows for doubt in row.doubts))
    for row in rows:
        if row.n_cut:
            found.append(
                f"{name(row)}: {row.n_cut} of {count(row.n_episodes, 'episodes')} did not end and were "
                "cut (--max-steps)"
            )
        if row.other_versions:
            found.append(f"{name(row)}: other versions are another task: {row.other_versions}")
    if any(row.n_terminated is not None and row.n_terminated == row.n_episodes for row in _baselines(rows)):
        found.append(
            "early: as loaded all episodes end before the limit of steps already; a landing or a goal reached counts "
            "there as a fall does"
        )
    return found


def _costs(rows: Sequence[Row]) -> list[str]:
    """Of models, what a number in a column does not say aloud: slower than uncompressed, smaller but not on disk."""
    slower, larger, unpacked, found = [], [], [], []
    for row in rows:
        if row.task.score not in MODEL_SCORES or not row.recipe or row.status != "done":
            continue
        if row.latency is not None and row.latency.ratio is not None and row.latency.ratio < _SLOWER:
            slower.append(f"{1 / row.latency.ratio:.1f}x as long with {name(row)}")
        figures = dict(row.figures)
        if row.file_smaller is not None and row.file_smaller < _SMALLER:
            if "pruned_still_zero" in figures:
                larger.append(name(row))
            elif row.smaller is not None and row.smaller > _SMALLER:
                unpacked.append(name(row))
        if figures.get("pruned_still_zero", 1.0) < 1:
            found.append(f"{name(row)}: {1 - figures['pruned_still_zero']:.1%} of what was pruned is no longer zero")
    if slower:
        found.append(f"slower than uncompressed: an answer takes {', '.join(dict.fromkeys(slower))}")
    if larger:
        recipes = ", ".join(dict.fromkeys(larger))
        found.append(f"pruned, and the file is not smaller, since zeros take as much as other numbers: {recipes}")
    if unpacked:
        recipes = ", ".join(dict.fromkeys(unpacked))
        found.append(
            f"fewer bytes are counted, and the file is not smaller, since its format packs no such codes: {recipes}"
        )
    return found


def _noise(rows: Sequence[Row]) -> list[str]:
    """What the floor of the noise is, and which differences are none."""
    found = []
    for baseline in _baselines(rows):
        if baseline.noise is None or baseline.doubts:  # luck is no rounding
            continue
        same = [row for row in rows if row.format == baseline.format]
        within = ", ".join(dict.fromkeys(row.recipe for row in same if row.within_noise))
        moved = f"up to {number(baseline.noise)} more or less" if baseline.noise else "the same"
        found.append(
            f"{name(baseline)} in {baseline.format}: summed in another order the same weights return {moved}"
            f"{within and f'; a difference no larger is none: {within}'}"
        )
    return found


def _baselines(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.recipe and row.mean_return is not None and row.format != REFERENCE]


def notes(rows: Sequence[Row]) -> list[str]:
    """What was not measured, and why; each reason once."""
    return list({note: None for row in rows for note in row.notes})
