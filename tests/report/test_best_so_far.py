import itertools
import random

import pytest
from tests.report.rows import study

from lilliput.report.best_so_far import BestSoFar

SHARES = {"half()": (0.99, 2000), "quantize()": (0.93, 1000), "prune_units(ratio=0.9)": (0.2, 100)}


@pytest.mark.parametrize("seed", range(5))
def test_the_most_compressed_that_keeps_enough_leads_whatever_the_order(seed):
    records = study(SHARES)
    random.Random(seed).shuffle(records)
    best = BestSoFar(0.9)
    for record in records:
        best.follow(record)
    assert best.candidate is not None
    assert (best.candidate.recipe, best.candidate.smaller) == ("quantize()", 4.0)
    assert best.candidate.retention == pytest.approx(0.94, abs=0.011)


def test_nothing_leads_where_nothing_keeps_enough_or_the_baseline_is_missing():
    records = study(SHARES)
    too_much, no_baseline = BestSoFar(1.5), BestSoFar(0.1)
    for record in records:
        too_much.follow(record)
    for record in itertools.filterfalse(lambda record: record.cell.recipe == "", records):
        no_baseline.follow(record)
    assert (too_much.candidate, no_baseline.candidate) == (None, None)
