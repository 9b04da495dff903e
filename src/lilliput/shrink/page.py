"""All that was tried as a page: the trials on selection episodes, and what was confirmed on episodes of its own."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.measurement import Measurement
from lilliput.record import Record
from lilliput.report import page
from lilliput.report.row import Row
from lilliput.report.summary import rows as rows_of
from lilliput.shrink.confirm import MOST_EPISODES, seeds_of
from lilliput.shrink.result import Result
from lilliput.shrink.trial import records as records_in
from lilliput.study.replay import clip
from lilliput.study.workspace import Workspace


def write(
    folder: Path, result: Result, keep: float, title: str, caveats: Sequence[str] = (), *, replay: bool = False
) -> Path:
    """The page of that folder's records, on request with a clip; see `report.page` for `caveats`.

    Raises:
        MissingDependency: plotly is not installed.
    """
    best = next((one.digest for one in result.teachers if one.best), "")  # other teachers were only compared with it
    every = records_in(Workspace(folder).records)
    records = [record for record in every if record.cell.is_floor or record.cell.subject.startswith(best)]
    found = rows(records, result, keep)
    clips, without = clips_of(records, result, folder) if replay else ((), ())
    asked = () if result.objective == "model_bytes" else (f"made small: {result.made_small}",)
    notes = (
        result.sentence,
        *asked,
        *without,
        "retention without a verdict is of selection episodes: the best of many looks too good",
    )
    return page.write_rows(
        found, records, keep, Workspace(folder).page, title, notes=(*notes, *result.notes), caveats=caveats, clips=clips
    )


def clips_of(records: Sequence[Record], result: Result, folder: Path) -> tuple[tuple[page.Clip, ...], tuple[str, ...]]:
    """The baseline beside what was confirmed, on an episode that the search never saw, or why there is none."""
    confirmed = [record for record in records if ("role", "confirmation") in record.cell.settings and record.artifact]
    sides = [next((one for one in confirmed if one.cell.recipe == text), None) for text in ("", result.recipe)]
    baseline, small = sides
    if not result.recipe or baseline is None or small is None:
        return (), ("no replay: nothing was confirmed",)
    try:
        return (clip((baseline, small), baseline.cell.task.id, folder),), ()
    except LilliputError as error:
        return (), (f"no replay: {error}",)


def rows(records: Sequence[Record], result: Result, keep: float) -> tuple[Row, ...]:
    """The baseline, every trial against as many of its episodes, and last what was confirmed; only that has a verdict.

    The verdict's bound is that of the confirmation, which holds whenever one stopped and for all finalists together.
    """
    selection = [record for record in records if ("role", "selection") in record.cell.settings]
    trials = {record.cell.recipe: record for record in sorted(selection, key=_n) if not _is_random(record)}
    baseline = trials.pop("", None)
    random = max((record for record in selection if _is_random(record)), key=_n, default=None)
    if baseline is None or random is None:
        return ()
    found = list(rows_of([_cut(baseline, _n(random)), _cut(random, _n(baseline))], keep))
    for trial in trials.values():
        n = _n(trial) or _n(random)  # one that was not made or could not be played still stands there, with its reason
        group = [_cut(baseline, n), _cut(random, n), trial]
        found += [replace(row, verdict=None) for row in rows_of(group, keep)[1:]]
    if result.recipe:
        # One that failed, in other blocks, may stand there from before.
        done = [record for record in records if record.status == "done"]
        played = [record for record in done if ("role", "confirmation") in record.cell.settings]
        confirmed = rows_of(list(_joined(played, result)), keep)
        found += [
            replace(row, verdict=replace(row.verdict, status="kept", retention_low=result.low) if row.verdict else None)
            for row in confirmed[1:]
        ]
    return tuple(found)


def _n(record: Record) -> int:
    return len(record.values("episode_return"))


def _is_random(record: Record) -> bool:
    return record.cell.is_floor


_PLAYED = ("episode_return", "episode_length", "episode_terminated")
"""What has a value an episode."""

_MOST_EPISODES = 5 * MOST_EPISODES
"""Of five finalists one after another."""


def _with_episodes(record: Record, seeds: Sequence[int | str], values: Mapping[str, Sequence[float]]) -> Record:
    """The record as if it were of these episodes; what of them is not known is left out."""
    others = [m for m in record.measurements if m.quantity not in _PLAYED]
    method = next(m for m in record.measurements if m.quantity == "episode_return").method
    played = [Measurement(name, tuple(found), method) for name, found in values.items() if len(found) == len(seeds)]
    cell = replace(record.cell, items=tuple(seeds))
    return replace(record, cell=cell, measurements=(*played, *others))


def _cut(record: Record, n: int) -> Record:
    """The record of the first n episodes."""
    values = {name: record.values(name)[:n] for name in _PLAYED}
    return _with_episodes(record, record.cell.items[:n], values)


def _joined(played: Sequence[Record], result: Result) -> Iterator[Record]:
    """Candidate, baseline and random policy on the episodes that the verdict counts.

    By seed: the baseline and the random policy may have played them in other blocks, for another finalist, and when
    the time was over part of a block may have been played that counts for nothing. In older folders a finalist's begin
    where those of the one before it end.
    """
    three = [
        [record for record in played if record.cell.recipe == recipe and _is_random(record) == of_random]
        for recipe, of_random in ((result.recipe, False), ("", False), ("", True))
    ]
    every = set.intersection(*({seed for record in parts for seed in record.cell.items} for parts in three))
    stream = itertools.islice(seeds_of(played[0].cell.compression_seed), _MOST_EPISODES)
    seeds = list(itertools.islice((seed for seed in stream if seed in every), result.n_episodes))
    for parts in three:
        values: dict[str, list[float]] = {}
        for name in _PLAYED:
            by_seed = {
                seed: value
                for record in parts
                for seed, value in zip(record.cell.items, record.values(name), strict=False)
            }
            values[name] = [by_seed[seed] for seed in seeds if seed in by_seed]
        yield _with_episodes(parts[0], seeds, values)
