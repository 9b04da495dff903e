"""Seeds of episodes that nothing may have in common."""

import itertools
from collections.abc import Iterable


def check_disjoint(**seeds: Iterable[int]) -> None:
    """Fail, naming both, where two of the sets share a seed."""
    sets = {name: set(values) for name, values in seeds.items()}
    for (one, first), (other, second) in itertools.combinations(sets.items(), 2):
        assert not first & second, f"{one} and {other} share {len(first & second)} seeds"
