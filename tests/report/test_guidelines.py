import dataclasses

import numpy as np
import pytest
from tests.report.rows import record, study

from lilliput.report import guidelines, summary
from lilliput.report.label import labels
from lilliput.report.method_cost import costs
from lilliput.report.row import verdict_of
from lilliput.report.smallest import smallest

L1 = {f"prune_units(ratio={ratio})": (1 - ratio, 4000 * (1 - ratio)) for ratio in (0.1, 0.3)}
L2 = {f'prune_units(ratio={ratio}, importance="l2")': (1 - ratio / 2, 4000 * (1 - ratio)) for ratio in (0.1, 0.3)}
DYNAMIC = {"quantize()": (0.99, 1000)}
STATIC = {'quantize(scheme="static")': (0.7, 990)}


def rows(shares, keep=0.9, **changes):
    return summary.rows(study(shares, **changes), keep)


def answers(shares, **changes):
    return {claim.text: claim for claim in guidelines.claims(rows(shares, **changes))}


def test_claims_are_answered_with_hand_computed_numbers():
    found = answers({**L1, **L2, **DYNAMIC, **STATIC})
    better = found["Pruning by L2 keeps more than pruning by L1."]
    assert (better.answer, better.n_policies) == ("holds", 3)
    assert better.interval.estimate == pytest.approx((0.05 + 0.15) / 2)
    safe = found["Pruning 10 % by L2 is safe."]
    assert safe.interval.estimate == pytest.approx(0.95 + 0.01 - 0.9)
    assert found["Dynamic quantization keeps more than static."].interval.estimate == pytest.approx(0.29)
    assert found["Quantization and pruning do not lower memory use."].answer == "holds"
    assert found["Quantization and pruning do not lower the energy use."].answer == "undecided"
    assert found["There are no lottery tickets among these policies."].answer == "undecided"


def test_a_baseline_of_another_study_that_was_not_measured_hides_nothing():
    found = rows(DYNAMIC)
    bare = [dataclasses.replace(row, peak_memory_bytes=None) for row in found if not row.recipe]
    claim = next(c for c in guidelines.claims([*found, *bare]) if "memory" in c.text)
    assert (claim.answer, claim.n_policies) == ("holds", 3)


def test_the_interval_over_policies_is_scipys():
    from scipy import stats

    claim = answers(L2)["Pruning 10 % by L2 is safe."]
    values = [0.05, 0.06, 0.07]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (claim.interval.low, claim.interval.high) == pytest.approx((low, high))
    assert claim.answer == "holds"


def test_a_claim_turned_round_does_not_hold():
    swapped = dict(zip((*L1, *L2), (*L2.values(), *L1.values()), strict=True))
    assert answers(swapped)["Pruning by L2 keeps more than pruning by L1."].answer == "does not hold"


def test_fewer_than_three_policies_decide_nothing():
    claim = answers({**L1, **L2}, policies=("SAC", "PPO"))["Pruning by L2 keeps more than pruning by L1."]
    assert (claim.answer, claim.n_policies) == ("undecided", 2)
    assert "at least 3" in claim.note


def test_only_sac_speaks_of_sac():
    sparse = {"finetune(weight_bits=8, sparsity=0.9)": (0.1, 100)}
    claim = answers({**DYNAMIC, **sparse, "finetune(weight_bits=8)": (1.2, 1000)})[
        "Training with quantization helps SAC."
    ]
    assert (claim.answer, claim.n_policies) == ("undecided", 1)


def test_the_best_by_both_rules():
    found = guidelines.best(
        rows({**L1, **STATIC, "half()": (0.92, 500), "quantize(weight_bits=2)": (0.8, 100)}, keep=0.85)
    )
    assert [best.by_paper.recipe for best in found] == ["half()"] * 3
    assert [best.by_verdict.recipe for best in found] == ["half()"] * 3
    strict = guidelines.best(rows({"half()": (0.92, 500)}, keep=0.95))
    assert [best.by_verdict for best in strict] == [None] * 3
    assert [best.by_paper.recipe for best in strict] == ["half()"] * 3


def test_the_papers_rule_means_nothing_below_zero():
    records = study({"half()": (0.99, 500)}, level=-100.0)
    below = [r for r in records if not r.cell.is_floor]
    worse = type(records[0])(records[0].cell, "done", "", (record("p", "", "", np.full(80, -1000.0)).measurements[0],))
    found = guidelines.best(summary.rows([worse, *below], 0.9))
    assert {best.paper_applies for best in found} == {False}
    assert {best.by_verdict.recipe for best in found} == {"half()"}
    assert "undefined: baseline <= 0" in guidelines.markdown(
        guidelines.guidelines(summary.rows([worse, *below], 0.9), "lu2024"), 0.9
    )


def test_costs_count_and_order_methods():
    first, *_, last = costs(rows({**L1, **DYNAMIC, **STATIC}))
    assert (first.method, last.method) == ("quantize dynamic", "quantize static")
    assert first.statuses["kept"] == first.n_cells == first.n_policies == 3
    assert last.statuses["lost"] == 3
    assert first.retention.low <= first.retention.estimate <= first.retention.high
    assert first.smaller == 4.0


def test_the_smallest_is_the_smallest_that_kept():
    found = rows({**DYNAMIC, "half()": (0.99, 2000), "quantize(weight_bits=2)": (0.2, 10)})
    assert [row.recipe for row in smallest(found)] == ["quantize()"] * 3
    assert smallest(rows(STATIC)) == [None] * 3


def test_a_baseline_serves_all_compression_seeds():
    records = [*study({}), record("0" * 64, "SAC", "half()", np.full(80, 990.0), seed=7, n_bytes=2000)]
    (row,) = [row for row in summary.rows(records, 0.9) if row.recipe]
    assert (row.compression_seed, row.smaller, verdict_of(row)) == (7, 2.0, "kept")


def test_policies_that_read_alike_are_told_apart():
    found = labels(rows({}, policies=("SAC", "SAC", "PPO")))
    assert sorted(found.values()) == ["PPO Env-v0", "SAC Env-v0 (000000)", "SAC Env-v0 (111111)"]
