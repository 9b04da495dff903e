"""What the page says of a folder, against the same numbers taken from the returns by hand."""

import numpy as np
import pytest

from lilliput.measurement import Measurement
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.shrink.page import rows
from lilliput.shrink.result import Result
from lilliput.statistics import retention
from lilliput.task import Task

RNG = np.random.default_rng(3)
RECIPE = "quantize()"


def record(policy: str, recipe: str, seeds: range, role: str, mean: float) -> Record:
    played = tuple(float(x) for x in RNG.normal(mean, 5, len(seeds)))
    cell = Cell(policy, recipe, Task("CartPole-v1"), items=tuple(seeds), settings=(("role", role),))
    sizes = (Measurement("model_bytes", (400.0 if recipe else 4_000.0,), "counted"),)
    return Record(cell, "done", measurements=(Measurement("episode_return", played, "measured"), *sizes))


def trio(seeds: range, role: str) -> list[Record]:
    return [
        record("digest", RECIPE, seeds, role, 98),
        record("digest", "", seeds, role, 100),
        record(RANDOM_POLICY, "", seeds, role, 10),
    ]


def test_trials_have_no_verdict_and_what_was_confirmed_has_that_of_its_confirmation() -> None:
    trial = record("digest", "half()", range(16), "selection", 90)
    selection = [trial, *trio(range(64), "selection")[1:]]
    blocks = [trio(range(1_000, 1_100), "confirmation"), trio(range(1_100, 1_200), "confirmation")]
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
