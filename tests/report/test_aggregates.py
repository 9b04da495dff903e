import numpy as np
import pytest
from tests.report.rows import study

from lilliput.report import summary
from lilliput.report.aggregates import improvements, profiles, spreads

SHARES = {
    **{f"prune_units(ratio={k / 10})": (1 - k / 10, 4000 - 400 * k) for k in range(1, 5)},
    **{f"quantize(weight_bits={bits})": (1 - 2.0**-bits, 500 * bits // 4) for bits in (2, 4, 6)},
}


def test_the_probability_of_improvement_counts_pairs_on_the_same_policy():
    found = {(one.ours, one.theirs): one for one in improvements(summary.rows(study(SHARES), 0.9))}
    one = found["quantize dynamic", "prune_units l1"]
    shares = [1 - 2.0**-bits for bits in (2, 4, 6)], [1 - k / 10 for k in range(1, 5)]
    wins = np.mean([[x > y for y in shares[1]] for x in shares[0]])
    assert one.interval.estimate == pytest.approx(wins)
    assert one.n_policies == 3
    assert one.interval.low < wins < one.interval.high
    assert found["prune_units l1", "quantize dynamic"].interval.estimate == pytest.approx(1 - wins)


def test_a_method_alone_has_a_profile_and_no_improvement():
    rows = summary.rows(study({recipe: share for recipe, share in SHARES.items() if "prune" in recipe}), 0.9)
    assert improvements(rows) == ()
    profile = profiles(rows)["prune_units l1"]
    above = profile.estimate[np.searchsorted(profile.thresholds, 0.75)]
    assert above == pytest.approx(0.5)


def test_one_pair_of_cells_makes_no_probability():
    shares = {recipe: share for recipe, share in SHARES.items() if recipe.endswith(("(ratio=0.1)", "=2)"))}
    rows = summary.rows(study(shares), 0.9)
    alone = [row for row in rows if row.policy == rows[0].policy]
    assert improvements(rows)
    assert len([row for row in alone if row.recipe]) == 2
    assert improvements(alone) == ()


def test_the_spread_is_within_policies_and_not_between_them():
    shares = {
        **{f'quantize(scheme="static", draw={n})': (0.90 + 0.01 * n, 1000) for n in range(5)},
        **{f'quantize(scheme="static", source="gaussian", draw={n})': (0.5 + 0.1 * n, 1000) for n in range(5)},
    }
    steady, wild = spreads(summary.rows(study(shares), 0.9))
    assert (steady.source, wild.source) == ("on_policy", "gaussian")
    assert steady.sd == pytest.approx(np.std(0.01 * np.arange(5), ddof=1), rel=1e-3)
    assert wild.widest == pytest.approx(0.4, rel=1e-3)
    assert (wild.n_policies, wild.n_draws) == (3, 5)


def test_recipes_that_differ_in_more_than_the_draw_are_no_draws_of_one():
    shares = {f'prune_weights(sparsity={k / 10}, importance="sparsegpt")': (1 - k / 10, 1000) for k in range(1, 6)}
    assert spreads(summary.rows(study(shares), 0.9)) == ()


def test_a_cell_a_policy_gives_a_profile_whose_band_is_over_policies():
    rows = summary.rows(study({"quantize()": (0.95, 1000)}, policies=[f"A{n}" for n in range(9)]), 0.9)
    profile = profiles(rows)["quantize dynamic"]
    somewhere = np.searchsorted(profile.thresholds, 0.99)
    assert profile.low[somewhere] < profile.estimate[somewhere] < profile.high[somewhere]
