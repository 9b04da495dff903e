import itertools
import random

import pytest
from tests.report.rows import study

from lilliput.report.leader import Leader

SHARES = {"half()": (0.99, 2000), "quantize()": (0.93, 1000), "prune_units(ratio=0.9)": (0.2, 100)}


@pytest.mark.parametrize("seed", range(5))
def test_the_most_compressed_that_keeps_enough_leads_whatever_the_order(seed):
    records = study(SHARES)
    random.Random(seed).shuffle(records)
    leader = Leader(0.9)
    for record in records:
        leader.follow(record)
    assert leader.lead is not None
    assert (leader.lead.recipe, leader.lead.smaller) == ("quantize()", 4.0)
    assert leader.lead.retention == pytest.approx(0.94, abs=0.011)


def test_nothing_leads_where_nothing_keeps_enough_or_the_baseline_is_missing():
    records = study(SHARES)
    too_much, no_baseline = Leader(1.5), Leader(0.1)
    for record in records:
        too_much.follow(record)
    for record in itertools.filterfalse(lambda record: record.cell.recipe == "", records):
        no_baseline.follow(record)
    assert (too_much.lead, no_baseline.lead) == (None, None)
