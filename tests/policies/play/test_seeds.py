"""Seeds that never meet."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.policies.play import ROLES, SeedPlan


@given(st.integers(0, 2**64))
def test_no_two_roles_share_a_seed_and_no_role_has_one_twice(seed: int) -> None:
    drawn = {role: SeedPlan(seed).episodes(role, 700) for role in ROLES}
    assert len({seed for seeds in drawn.values() for seed in seeds}) == 700 * len(ROLES)
    assert all(0 <= seed < 2**31 for seeds in drawn.values() for seed in seeds)


def test_more_seeds_begin_with_the_fewer() -> None:
    plan = SeedPlan(3)
    assert plan.episodes("selection", 1000)[:10] == plan.episodes("selection", 10)
    assert plan.episodes("selection", 300) == tuple(itertools.islice(plan.stream("selection"), 300))


def test_they_are_the_same_for_ever() -> None:
    """Records are named by their seeds: a change of these numbers orphans all of them."""
    assert SeedPlan(0).episodes("confirmation", 3) == (1222332783, 1157291871, 1217485869)


def test_another_seed_or_role_gives_other_numbers() -> None:
    assert set(SeedPlan(0).episodes("selection", 99)).isdisjoint(SeedPlan(1).episodes("selection", 99))
    draws = {SeedPlan(0).rng(role).random() for role in ROLES}
    assert len(draws) == len(ROLES)
    assert SeedPlan(0).rng("selection").random() == SeedPlan(0).rng("selection").random()
    assert isinstance(SeedPlan(0).rng("selection"), np.random.Generator)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(LilliputError, match="seed is -1"):
        SeedPlan(-1)
