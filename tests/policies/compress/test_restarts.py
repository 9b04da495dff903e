"""Which restarts are chosen, and by how many episodes."""

from collections.abc import Sequence

import numpy as np
import pytest

from lilliput.policies.compress.restarts import BLOCK, MOST_EPISODES, best

SEEDS = range(MOST_EPISODES)


class Played:
    """Restarts of these means, whose returns scatter by so much, and how many blocks they played."""

    def __init__(self, means: Sequence[float], spread: float, seed: int = 0) -> None:
        self.means, self.spread, self.rng, self.blocks = np.array(means), spread, np.random.default_rng(seed), 0

    def __call__(self, seeds: Sequence[int]) -> np.ndarray:
        self.blocks += 1
        return self.means[:, None] + self.spread * self.rng.standard_normal((len(self.means), len(seeds)))


@pytest.mark.parametrize("n", [1, 2])
def test_the_highest_means_are_chosen_the_best_first(n: int) -> None:
    chosen = best(n, Played([1.0, 4.0, 2.0, 3.0], 0.01), SEEDS)
    assert chosen.restarts == (1, 3)[:n]
    np.testing.assert_allclose(chosen.returns, 4.0, atol=0.1)


def test_what_is_clear_takes_one_block_and_what_is_not_takes_all() -> None:
    clear, alike = Played([900.0, 100.0], 10.0), Played([900.0, 900.0], 0.0)
    best(1, clear, SEEDS)
    best(1, alike, SEEDS)
    assert (clear.blocks, alike.blocks) == (1, MOST_EPISODES // BLOCK)


def test_choosing_all_takes_no_more_than_a_block() -> None:
    played = Played([1.0, 2.0], 5.0)
    assert sorted(best(2, played, SEEDS).restarts) == [0, 1]
    assert played.blocks == 1


def test_a_choice_that_stops_early_is_about_as_good_as_one_of_all_episodes() -> None:
    """Over many draws: the mean of what is chosen, of restarts that scatter as much as their episodes."""
    rng = np.random.default_rng(1)
    early = late = blocks = 0.0
    for seed in range(300):
        means = rng.standard_normal(2)
        played = Played(list(means), 1.0, seed)
        early += means[best(1, played, SEEDS).restarts[0]]
        blocks += played.blocks
        late += means[int(np.argmax(Played(list(means), 1.0, seed)(SEEDS).mean(axis=1)))]
    assert early > late - 0.08 * 300
    assert blocks < 0.5 * 300 * MOST_EPISODES // BLOCK
