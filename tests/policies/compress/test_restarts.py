"""Which restarts are chosen, and by how many episodes."""

from collections.abc import Sequence

import numpy as np
import pytest

from lilliput.policies.compress.restarts import BLOCK, MOST_EPISODES, best, rows_for

SEEDS = range(MOST_EPISODES)


class Played:
    """Restarts of these means, whose returns scatter by so much; what played each block, and how many episodes."""

    def __init__(self, means: Sequence[float], spread: float, seed: int = 0) -> None:
        self.means, self.spread, self.rng = np.array(means), spread, np.random.default_rng(seed)
        self.blocks: list[tuple[list[int], int]] = []

    def __call__(self, which: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        self.blocks.append((list(which), len(seeds)))
        scatter = self.rng.standard_normal((len(which), len(seeds)))
        return self.means[list(which), None] + self.spread * scatter


@pytest.mark.parametrize("n", [1, 2])
def test_the_highest_means_are_chosen_the_best_first(n: int) -> None:
    chosen = best(n, 4, Played([1.0, 4.0, 2.0, 3.0], 0.01), SEEDS)
    assert chosen.restarts == (1, 3)[:n]
    np.testing.assert_allclose(chosen.returns, 4.0, atol=0.1)


def test_what_is_clear_takes_one_block_and_what_is_not_takes_all() -> None:
    clear, alike = Played([900.0, 100.0], 10.0), Played([900.0, 900.0], 0.0)
    best(1, 2, clear, SEEDS)
    best(1, 2, alike, SEEDS)
    assert (len(clear.blocks), len(alike.blocks)) == (1, MOST_EPISODES // BLOCK)


def test_the_worse_half_is_left_and_those_that_go_on_play_as_many_episodes_together() -> None:
    played = Played(list(range(12)), 0.01)
    assert best(1, 12, played, range(64)).restarts == (11,)
    assert [len(which) for which, _ in played.blocks] == [12, 6, 3, 2]
    assert [n for _, n in played.blocks] == [4, 8, 16, 24]
    assert all(11 in which for which, _ in played.blocks)


def test_of_those_that_return_the_same_the_first_is_chosen() -> None:
    assert best(1, 12, Played([5.0] * 12, 0.0), SEEDS).restarts == (0,)
    assert best(1, 5, Played([1.0, 5.0, 5.0, 5.0, 2.0], 0.0), SEEDS).restarts == (1,)


def test_choosing_all_takes_no_more_than_a_block() -> None:
    played = Played([1.0, 2.0], 5.0)
    assert sorted(best(2, 2, played, SEEDS).restarts) == [0, 1]
    assert len(played.blocks) == 1


@pytest.mark.parametrize(("n", "total"), [(1, 12), (2, 4), (1, 2), (16, 32), (1, 96), (1, 150)])
def test_it_says_how_far_it_is_and_opens_no_more_environments_than_it_says(n: int, total: int) -> None:
    told: list[tuple[int, int]] = []
    played = Played(list(range(total)), 0.0)
    best(n, total, played, SEEDS, lambda done, of: told.append((done, of)))
    assert max(len(which) * of for which, of in played.blocks) <= rows_for(total) <= max(96, total)
    counts, most = [done for done, _ in told], {of for _, of in told}
    assert counts == sorted(set(counts))
    assert counts[-1] == sum(len(which) * of for which, of in played.blocks)
    assert len(most) == 1
    assert counts[-1] <= most.pop() <= 4 * BLOCK * total


def test_what_differs_by_luck_alone_is_seldom_played_on() -> None:
    """The same twelve over many draws; where falls part them they play on."""
    alike = [Played([5.0] * 12, 1.0, seed) for seed in range(100)]
    apart = [Played([5.0] * 9 + [1.0] * 3, 1.0, seed) for seed in range(100)]
    for played in (*alike, *apart):
        best(1, 12, played, SEEDS)
    assert sum(len(played.blocks) == 1 for played in alike) > 70
    assert all(len(played.blocks) > 1 for played in apart)


@pytest.mark.parametrize(("total", "worse"), [(2, 0.08), (12, 0.15)])
def test_a_choice_that_stops_early_is_about_as_good_as_one_of_all_episodes(total: int, worse: float) -> None:
    """Over many draws: the mean of what is chosen, of restarts that scatter as much as their episodes."""
    rng = np.random.default_rng(1)
    early = late = episodes = 0.0
    for seed in range(300):
        means = rng.standard_normal(total)
        played = Played(list(means), 1.0, seed)
        early += means[best(1, total, played, SEEDS).restarts[0]]
        episodes += sum(len(which) * n for which, n in played.blocks)
        late += means[int(np.argmax(Played(list(means), 1.0, seed)(range(total), SEEDS).mean(axis=1)))]
    assert early > late - worse * 300
    assert episodes < 0.6 * 300 * total * MOST_EPISODES
