import dataclasses
import json

import numpy as np
import pytest
from tests.report.rows import study

from lilliput.report import disturbances, guidelines, summary
from lilliput.report.disturbances import effects
from lilliput.report.method_cost import costs
from lilliput.report.row import undisturbed
from lilliput.report.study_tables import tables
from lilliput.task import Task

PLAIN = {"half()": (0.98, 2000), "quantize()": (0.95, 1000)}
UNDER = {"half()": (0.98, 2000), "quantize()": (0.45, 1000)}


def disturbed(shares, level):
    """The same policies in a disturbed environment, where the baseline returns `level`."""
    kwargs = json.dumps({"mass": 1.3, "of": "Env-v0"})
    for record in study(shares, level=level):
        cell = dataclasses.replace(record.cell, task=Task("a:Perturbed-v0", kwargs))
        yield dataclasses.replace(record, cell=cell)


@pytest.fixture
def rows():
    return summary.rows([*study(PLAIN), *disturbed(UNDER, 500.0)], 0.9)


def test_what_is_lost_more_is_in_points_of_the_undisturbed_return(rows):
    *together, half, quantized = effects(rows, 0.9)
    assert (quantized.recipe, quantized.disturbance, quantized.n_policies) == ("quantize()", "mass=1.3", 3)
    # Policies keep 0, 1 and 2 % more than the share: without they lose 5, 4, 3 of 100; under it 55, 54, 53 % of 50.
    values = [0.5 * (0.55 - 0.01 * n) - (0.05 - 0.01 * n) for n in range(3)]
    assert quantized.lost_more.estimate == pytest.approx(np.mean(values), abs=0.01)
    assert quantized.answer == "stands less"
    assert (quantized.baseline_left, quantized.under) == pytest.approx((0.5, 0.46), abs=0.01)
    assert half.answer == "no less"
    assert [one.recipe for one in together] == [disturbances.EVERY]
    assert together[0].lost_more.estimate == pytest.approx((half.lost_more.estimate + np.mean(values)) / 2, abs=0.01)


def test_what_was_lost_without_a_disturbance_already_is_not_held_against_it(rows):
    assert {one.recipe for one in effects(rows, 0.975)} == {disturbances.EVERY, "half()"}
    assert effects(rows, 1.2) == ()


def test_two_policies_decide_nothing():
    records = [*study(PLAIN, policies=("A", "B")), *disturbed(UNDER, 500.0)]
    assert {one.answer for one in effects(summary.rows(records, 0.9), 0.9)} == {"undecided"}


def test_what_is_disturbed_speaks_of_no_method_and_no_claim(rows):
    assert {row.environment for row in rows} == {"Env-v0", "Env-v0 mass=1.3"}
    assert {row.environment for row in undisturbed(rows)} == {"Env-v0"}
    (worse,) = [cost for cost in costs(rows) if cost.method == "quantize dynamic"]
    assert (worse.n_policies, worse.n_cells) == (3, 3)
    assert worse.retention.estimate == pytest.approx(0.96, abs=0.01)
    assert worse.retention.low < worse.retention.estimate < worse.retention.high
    memory = guidelines.claims(rows)[0]
    assert memory.n_policies == 3


def test_the_table_is_there_where_something_is_disturbed(rows):
    assert "disturbances" in [table.name for table in tables(rows, 0.9)]
    assert "disturbances" not in [table.name for table in tables(summary.rows(study(PLAIN), 0.9), 0.9)]


def test_an_environment_with_arguments_that_is_played_alone_is_no_disturbance():
    alone = summary.rows(disturbed(UNDER, 500.0), 0.9)
    assert undisturbed(alone) == list(alone)
    assert effects(alone, 0.9) == ()
