from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies.play import episode_returns, make_environment

ID = "lilliput.study.perturbed:Perturbed-v0"


def made(**kwargs):
    return make_environment(ID, environment_kwargs={"of": "CartPole-v1", **kwargs})


def played(environment, seeds=range(12), n=6):
    seen = []
    for seed in seeds:
        seen.append(environment.reset(seed=seed)[0])
        seen += [environment.step(step % 2)[0] for step in range(n)]
    return np.array(seen)


def test_without_a_disturbance_it_is_the_environment():
    assert np.array_equal(played(made()), played(make_environment("CartPole-v1")))


def test_noise_has_its_size_and_follows_the_seed_alone():
    clean, one = played(make_environment("CartPole-v1")), played(made(observation_noise=0.5, scale=[0, 1, 0, 2]))
    noise = one - clean
    assert not noise[:, [0, 2]].any()
    assert 0.3 < noise[:, 1].std() < 0.7
    assert 0.7 < noise[:, 3].std() < 1.3
    again = made(observation_noise=0.5, scale=[0, 1, 0, 2])
    played(again, seeds=range(99, 100))
    assert np.array_equal(played(again), one)


def test_a_delay_of_two_is_two_steps_late():
    late, plain = made(action_delay=2), make_environment("CartPole-v1")
    late.reset(seed=0)
    plain.reset(seed=0)
    for given, felt in zip([1, 0, 0, 1, 1], [1, 1, 1, 0, 0], strict=True):
        assert np.array_equal(late.step(given)[0], plain.step(felt)[0])


def test_masses_are_for_mujoco():
    with pytest.raises(LilliputError, match="is not a MuJoCo environment"):
        made(mass=1.2)


def test_masses_and_friction_reach_the_model():
    pytest.importorskip("mujoco")
    kwargs = {"of": "Hopper-v4", "mass": 1.5, "friction": 0.5}
    heavy: Any = make_environment(ID, environment_kwargs=kwargs).unwrapped
    plain: Any = make_environment("Hopper-v4").unwrapped
    assert np.allclose(heavy.model.body_mass, 1.5 * plain.model.body_mass)
    assert np.allclose(heavy.model.geom_friction[:, 0], 0.5 * plain.model.geom_friction[:, 0])
    assert np.array_equal(heavy.model.geom_friction[:, 1:], plain.model.geom_friction[:, 1:])


def test_a_policy_plays_it_repeatably(balancer):
    kwargs = {"of": "CartPole-v1", "observation_noise": 0.3, "action_delay": 1}
    one = episode_returns(balancer, ID, range(5), environment_kwargs=kwargs)
    assert np.array_equal(one, episode_returns(balancer, ID, range(5), environment_kwargs=kwargs))
    assert one.mean() < episode_returns(balancer, "CartPole-v1", range(5)).mean()
