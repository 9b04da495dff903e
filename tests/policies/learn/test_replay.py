"""The replay buffer on the disk. Oracle: Stable-Baselines3's own buffers, which hold the same in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
buffers = pytest.importorskip("stable_baselines3.common.buffers")

from gymnasium.spaces import Box, Discrete  # noqa: E402

from lilliput.policies.learn.rl.replay import DiskReplayBuffer  # noqa: E402

pytestmark = pytest.mark.frameworks

SHOWN, TAKEN = Box(-1, 1, (3,), np.float32), Discrete(4)


def transitions(n: int) -> list[tuple[Any, ...]]:
    """Of two environments, with episodes that end and some whose time is up."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n):
        seen, after = rng.uniform(-1, 1, (2, 2, 3)).astype(np.float32)
        over = rng.uniform(size=2) < 0.2
        infos = [{"TimeLimit.truncated": bool(one and rng.uniform() < 0.5)} for one in over]
        made.append((seen, after, rng.integers(0, 4, 2), rng.uniform(size=2).astype(np.float32), over, infos))
    return made


def on_disk(folder: Path, n_steps: int) -> DiskReplayBuffer:
    folder.mkdir(exist_ok=True)
    return DiskReplayBuffer(folder, 200, 200, SHOWN, TAKEN, 2, n_steps=n_steps, gamma=0.9)


def drawn(buffer: Any, first: int, last: int) -> Any:
    np.random.seed(3)  # noqa: NPY002 (the frameworks' own generator)
    return buffer._get_samples(np.arange(first, last))


@pytest.mark.parametrize("n_steps", [1, 3])
def test_it_gives_what_the_framework_gives(n_steps, tmp_path):
    ours = on_disk(tmp_path, n_steps)
    if n_steps == 1:
        theirs = buffers.ReplayBuffer(200, SHOWN, TAKEN, "cpu", n_envs=2)
    else:
        theirs = buffers.NStepReplayBuffer(200, SHOWN, TAKEN, "cpu", n_envs=2, n_steps=n_steps, gamma=0.9)
    for one in transitions(60):
        ours.add(*one)
        theirs.add(*one)
    for mine, other in zip(drawn(ours, 0, 60), drawn(theirs, 0, 60), strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            np.testing.assert_array_equal(mine, other)


def test_rewards_are_not_summed_across_a_checkpoint_which_begins_fresh_episodes(tmp_path):
    """What follows a checkpoint is of other episodes, though nothing ended: the sums stop there, and bootstrap."""
    cut, whole = on_disk(tmp_path / "cut", 3), on_disk(tmp_path / "whole", 3)
    for buffer in (cut, whole):
        for i in range(20):
            if i == 10 and buffer is cut:
                buffer.begin_episodes()
            one = np.full((2, 3), i / 20, np.float32)
            buffer.add(one, one, np.zeros(2, int), np.ones(2, np.float32), np.zeros(2, bool), [{}, {}])
    assert [round(float(one), 3) for one in drawn(cut, 7, 11).rewards] == [2.71, 1.9, 1.0, 2.71]
    assert [round(float(one), 3) for one in drawn(cut, 7, 11).discounts] == [0.729, 0.81, 0.9, 0.729]
    assert not drawn(cut, 7, 11).dones.any()
    np.testing.assert_allclose(drawn(whole, 7, 11).rewards, 2.71, rtol=1e-6)
