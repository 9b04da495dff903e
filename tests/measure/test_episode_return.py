"""Returns of artifacts. Oracle: the same artifact in a plain loop."""

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.measure import episode_return, episode_time
from lilliput.policies.artifact import Artifact
from lilliput.policies.export import open_artifact


def by_hand(artifact: Artifact, seed: int) -> float:
    act = open_artifact(artifact.folder)
    environment = gymnasium.make("Pendulum-v1")
    observation, _ = environment.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        observation, reward, _, over, _ = environment.step(act(observation))
        total += float(reward)
    return total


def test_returns_lengths_and_times(small: Artifact) -> None:
    seeds = [4, 2]
    told: list[tuple[int, int]] = []
    found = episode_return(small.folder, "Pendulum-v1", seeds, progress=lambda done, of: told.append((done, of)))
    returns, lengths, ends = found
    times = episode_time(small.folder, "Pendulum-v1", seeds)
    names = ["episode_return", "episode_length", "episode_terminated", "episode_time_s"]
    assert [m.quantity for m in (*found, times)] == names
    assert ends.values == (0.0, 0.0)
    assert list(returns.values) == [by_hand(small, seed) for seed in seeds]
    assert lengths.values == (200.0, 200.0)
    assert all(seconds > 0 for seconds in times.values)
    assert times.method == returns.method
    assert told == [(1, 2), (2, 2)]
    assert returns.method == "measured: Pendulum-v1, played by onnxruntime at batch 1, one episode a seed"
    assert dict(returns.conditions.packages)["numpy"] == np.__version__


def test_several_processes_give_the_same_returns(small: Artifact) -> None:
    alone = episode_return(small.folder, "Pendulum-v1", range(3))[0]
    together = episode_return(small.folder, "Pendulum-v1", range(3), workers=2)
    assert together[0].values == alone.values


def test_an_environment_that_does_not_fit_is_refused_naming_both(small: Artifact) -> None:
    with pytest.raises(LilliputError, match=r"the policy's observation space is .*\(3,\).*; CartPole-v1 has .*\(4,\)"):
        episode_return(small.folder, "CartPole-v1", [0])
    with pytest.raises(LilliputError, match=r"observation space is .*\(3,\).*; Pendulum-v1 has .*\(4,\)"):
        episode_return(small.folder, "Pendulum-v1", [0], wrappers=("time_feature",))
