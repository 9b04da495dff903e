"""What the page says of a folder, against the same numbers taken from the returns by hand."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lilliput.measurement import Measurement
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.shrink.confirm import seeds_of
from lilliput.shrink.page import rows
from lilliput.shrink.result import Result
from lilliput.statistics import retention
from lilliput.task import Task

RNG = np.random.default_rng(3)
RECIPE = "quantize()"


def record(policy: str, recipe: str, seeds: Sequence[int], role: str, mean: float) -> Record:
    played = tuple(float(x) for x in RNG.normal(mean, 5, len(seeds)))
    cell = Cell(policy, recipe, Task("CartPole-v1"), items=tuple(seeds), settings=(("role", role),))
    sizes = (Measurement("model_bytes", (400.0 if recipe else 4_000.0,), "counted"),)
    return Record(cell, "done", measurements=(Measurement("episode_return", played, "measured"), *sizes))


def trio(seeds: Sequence[int], role: str) -> list[Record]:
    return [
        record("digest", RECIPE, seeds, role, 98),
        record("digest", "", seeds, role, 100),
        record(RANDOM_POLICY, "", seeds, role, 10),
    ]


def test_trials_have_no_verdict_and_what_was_confirmed_has_that_of_its_confirmation() -> None:
    trial = record("digest", "half()", range(16), "selection", 90)
    selection = [trial, *trio(range(64), "selection")[1:]]
    stream = list(itertools.islice(seeds_of(0), 200))
    blocks = [trio(stream[:100], "confirmation"), trio(stream[100:], "confirmation")]
    result = Result(4_000, 400, 0.98, 0.961, 1.0, RECIPE, 0.0, 0.0, 200, 1, 1.0, (), ())
    found = rows([*selection, *blocks[1], *blocks[0]], result, 0.95)
    assert [row.recipe for row in found] == ["", "half()", RECIPE]
    assert [row.n_episodes for row in found] == [64, 16, 200]
    baseline, random = (np.array(r.values("episode_return"))[:16] for r in selection[1:])
    kept = retention(np.array(trial.values("episode_return")), baseline, random, rng=np.random.default_rng(0))
    assert kept is not None
    assert found[1].retention is not None
    assert found[1].retention.estimate == pytest.approx(kept.estimate)
    assert found[1].verdict is None
    assert found[2].verdict is not None
    assert (found[2].verdict.status, found[2].verdict.retention_low) == ("kept", 0.961)
    returns = [value for block in blocks for value in block[0].values("episode_return")]
    assert found[2].mean_return == pytest.approx(np.mean(returns))
    assert found[2].smaller == 10


def test_what_was_confirmed_is_shown_on_the_episodes_that_its_verdict_counts_however_they_were_played() -> None:
    # The baseline played for a finalist before it, in other blocks; and the time ended within the last block.
    stream = list(itertools.islice(seeds_of(0), 60))
    own = [record("digest", RECIPE, seeds, "confirmation", 98) for seeds in (stream[20:40], stream[:20], stream[40:50])]
    baseline = [record("digest", "", seeds, "confirmation", 100) for seeds in (stream[:32], stream[32:44])]
    random = [record(RANDOM_POLICY, "", seeds, "confirmation", 10) for seeds in (stream[:32], stream[32:60])]
    # A block that failed before, with other workers, stands there still.
    failed = [
        replace(one, status="failed", measurements=(), cell=replace(one.cell, items=tuple(stream[:10])))
        for one in (own[0], baseline[0], random[0])
    ]
    result = Result(4_000, 400, 0.98, 0.961, 1.0, RECIPE, 0.0, 0.0, 40, 1, 1.0, (), ())
    found = rows([*failed, *trio(range(64), "selection")[1:], *own, *random, *baseline], result, 0.95)[-1]
    assert (found.recipe, found.n_episodes) == (RECIPE, 40)

    def played(records: list[Record]) -> np.ndarray:
        every = {s: v for r in records for s, v in zip(r.cell.items, r.values("episode_return"), strict=True)}
        return np.array([every[seed] for seed in stream[:40]])

    returns = [played(records) for records in (own, baseline, random)]
    assert found.mean_return == pytest.approx(returns[0].mean())
    kept = retention(*returns, rng=np.random.default_rng(0))
    assert kept is not None
    assert found.retention is not None
    assert found.retention.estimate == pytest.approx(kept.estimate)


def test_without_a_confirmed_candidate_no_row_has_a_verdict() -> None:
    result = Result(4_000, 4_000, 1.0, 1.0, 1.0, "", 0.0, 0.0, 0, 1, 1.0, (), ())
    found = rows(trio(range(64), "selection"), result, 0.95)
    assert [row.recipe for row in found] == ["", RECIPE]
    assert all(row.verdict is None for row in found)


def test_a_trial_that_was_not_made_stands_there_with_its_reason() -> None:
    failed = Record(
        Cell("digest", "prune_units(ratio=0.5)", Task("CartPole-v1"), items=(0,), settings=(("role", "selection"),)),
        "not_applicable",
        "prune_units: the policy has no hidden units",
    )
    result = Result(4_000, 4_000, 1.0, 1.0, 1.0, "", 0.0, 0.0, 0, 1, 1.0, (), ())
    found = rows([failed, *trio(range(64), "selection")], result, 0.95)
    assert [row.recipe for row in found] == ["", "prune_units(ratio=0.5)", RECIPE]
    assert (found[1].status, found[1].reason) == ("not_applicable", "prune_units: the policy has no hidden units")
    assert found[1].retention is None
