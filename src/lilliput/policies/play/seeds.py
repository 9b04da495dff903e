"""Seeds that never meet: what an artifact is judged on must be unknown to whatever made it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np

from lilliput.errors import LilliputError

Role = Literal["calibration", "distillation", "selection", "confirmation", "random_policy"]

ROLES: tuple[Role, ...] = get_args(Role)

_INDEX_BITS = 28
"""Roles differ in the three bits above these, so seeds stay below 2**31, which every environment takes."""


@final
@dataclass(frozen=True)
class SeedPlan:
    """Disjoint episode seeds and random generators for all roles, from one seed."""

    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise LilliputError(f"seed is {self.seed}; it must be an integer from 0")

    def episodes(self, role: Role, n: int) -> tuple[int, ...]:
        """The role's first n episode seeds, no two alike; no other role has any of them.

        >>> plan = SeedPlan(0)
        >>> set(plan.episodes("selection", 1000)) & set(plan.episodes("confirmation", 1000))
        set()
        """
        return tuple(itertools.islice(self.stream(role), n))

    def stream(self, role: Role) -> Iterator[int]:
        """The same seeds without end."""
        above = (ROLES.index(role) + 1) << _INDEX_BITS
        return (above | low for low in _distinct(self._child(role), _INDEX_BITS))

    def rng(self, role: Role) -> np.random.Generator:
        """The role's random generator."""
        # Another key than the episode seeds' blocks, which count up from 0.
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(len(ROLES), ROLES.index(role))))

    def _child(self, role: Role) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=(ROLES.index(role),))


def _distinct(sequence: np.random.SeedSequence, bits: int) -> Iterator[int]:
    """Endless different numbers of so many bits. Unlike a Generator's, a SeedSequence's never change."""
    found: set[int] = set()
    for block in itertools.count():
        child = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, block))
        for state in child.generate_state(256).tolist():
            number = state >> (32 - bits)
            if number not in found:
                found.add(number)
                yield number
