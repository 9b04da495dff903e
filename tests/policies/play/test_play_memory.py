"""The player begins an actor at every episode's start: what an episode was before does not show in the next."""

from pathlib import Path

import numpy as np
from tests.policies.recurrent import lstm, policy_with

from lilliput.measure import episode_return
from lilliput.policies import reference, spaces
from lilliput.policies.compress import Context
from lilliput.policies.export import export, open_artifact
from lilliput.policies.play import EnvironmentSpec, Lockstep, episode_returns
from lilliput.policies.policy import Policy

ENVIRONMENT, STEPS = "Pendulum-v1", 40
SEEDS = (3, 4, 5)


def pendulum() -> Policy:
    """A policy of Pendulum whose memory is long: an episode that it remembers would change the next."""
    small = policy_with(lstm(np.random.default_rng(2), 3, 8), inputs=3, actions=1)
    return Policy(small.observation_space, spaces.Box((1,), np.array(-2.0), np.array(2.0)), small.layers)


def test_an_episode_does_not_depend_on_those_before(tmp_path: Path) -> None:
    policy = pendulum()
    export(policy, "c", tmp_path / "a")
    alone = [episode_returns(policy, ENVIRONMENT, [seed], max_steps=STEPS)[0] for seed in SEEDS]
    np.testing.assert_array_equal(episode_returns(policy, ENVIRONMENT, SEEDS, max_steps=STEPS), alone)
    actor = open_artifact(tmp_path / "a")
    by_artifact = episode_returns(actor, ENVIRONMENT, SEEDS, max_steps=STEPS)
    np.testing.assert_allclose(by_artifact, alone, rtol=1e-4)
    measured = episode_return(tmp_path / "a", ENVIRONMENT, SEEDS, max_steps=STEPS)[0]
    np.testing.assert_array_equal(getattr(measured, "values"), by_artifact)  # noqa: B009


def test_rows_in_lockstep_play_the_same_episodes() -> None:
    policy, spec = pendulum(), EnvironmentSpec(ENVIRONMENT, max_steps=STEPS)
    rows, lockstep = reference.Rows(policy), Lockstep(spec, policy.observation_space, 2, iter(range(9)))
    try:
        played = [lockstep.returns(lambda x: rows(x, lockstep.begins), pair) for pair in ((3, 4), (5, 3))]
    finally:
        lockstep.close()
    alone = episode_returns(policy, ENVIRONMENT, (3, 4, 5, 3), max_steps=STEPS)
    np.testing.assert_array_equal(np.concatenate(played), alone)


def test_calibration_plays_whole_episodes_in_their_order() -> None:
    policy = pendulum()
    context = Context.from_environment(policy, ENVIRONMENT, max_steps=STEPS)
    episodes = context.episodes(100)
    assert [len(episode) for episode in episodes] == [STEPS] * 10
    speed_after = np.diff(np.concatenate([episode[:, 2] for episode in episodes[:1]]))
    assert np.abs(speed_after).max() < 2.5  # neighbours in time: a pendulum gains at most that speed in a step
    other = context.episodes(100, draw=1)
    assert not np.array_equal(episodes[0], other[0])
