"""What a policy sees in an episode: keys in its order, float32, behind its own wrappers, nothing that is not finite."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.play import episode_returns, episodes
from lilliput.policies.policy import Policy


class Keyed(gymnasium.Env):
    """Pays for the sum of the action; observes under two keys."""

    def __init__(self) -> None:
        box = gymnasium.spaces.Box(-9, 9, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Dict({"a": box, "b": gymnasium.spaces.Box(-9, 9, (1, 2), np.float64)})
        self.action_space = gymnasium.spaces.Box(-9, 9, (4,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return {"a": np.array([1.0, 2.0]), "b": np.array([[3.0, 4.0]])}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], float(action @ [1000, 100, 10, 1]), True, False, {}


@pytest.fixture
def keyed() -> Any:
    gymnasium.register("LilliputKeyed-v0", lambda **_: Keyed())
    yield "LilliputKeyed-v0"
    del gymnasium.registry["LilliputKeyed-v0"]


def test_a_dict_observation_is_one_vector_in_the_policys_order(keyed: str) -> None:
    assert episode_returns(lambda x: x, keyed, [0])[0] == 1234
    a, b = (spaces.Box(shape, np.asarray(-9.0), np.asarray(9.0)) for shape in ((2,), (1, 2)))
    assert episode_returns(lambda x: x, keyed, [0], observation_space=spaces.Dict((("b", b), ("a", a))))[0] == 3412
    with pytest.raises(LilliputError, match="the environment observes a, b; the policy takes a, c"):
        episode_returns(lambda x: x, keyed, [0], observation_space=spaces.Dict((("a", a), ("c", b))))


def test_observations_arrive_as_float32() -> None:
    kinds = set()

    def act(observation: np.ndarray) -> np.ndarray:
        kinds.add((observation.dtype, observation.shape))
        return np.zeros(3)

    episodes(act, "Hopper-v4", [0])
    assert kinds == {(np.dtype(np.float32), (11,))}


def test_a_policy_brings_its_own_wrappers(tmp_path):
    from lilliput.policies import layers
    from lilliput.policies.export import export, open_artifact
    from lilliput.policies.policy import Provenance

    space = spaces.Box((4,), np.array(-np.inf), np.array(np.inf))
    weight = np.array([[0.1, 0, 1, 0.5, 0.2]], np.float32)
    wider = spaces.Box((5,), np.array(-np.inf), np.array(np.inf))
    stack = (layers.Dense(np.concatenate([-weight, weight]), None), layers.ArgmaxAction((2,)))
    policy = Policy(wider, spaces.Discrete(2), stack, Provenance(wrappers=("time_feature",)))
    assert policy.observation_space.size == space.size + 1
    expected = episode_returns(policy, "CartPole-v1", range(3), wrappers=("time_feature",))
    assert np.array_equal(episode_returns(policy, "CartPole-v1", range(3)), expected)
    act = open_artifact(export(policy, "onnx", tmp_path / "a").folder)
    assert np.array_equal(episode_returns(act, "CartPole-v1", range(3)), expected)
    with pytest.raises(LilliputError, match="observation space"):
        episode_returns(act, "CartPole-v1", range(3), wrappers=())


class LostSensor(gymnasium.ObservationWrapper):
    """A number that cannot be measured after four steps."""

    n = 0

    def observation(self, observation: Any) -> Any:
        self.n += 1
        return observation if self.n <= 4 else np.concatenate([observation[:-1], [vars(self.unwrapped)["lost"]]])


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_an_observation_that_is_not_finite_is_refused_in_every_format(name: str, lost: float, tmp_path: Path) -> None:
    from lilliput.policies import layers, reference, spaces
    from lilliput.policies.export import export, open_artifact

    def make(**kwargs: Any) -> gymnasium.Env:
        environment = gymnasium.make(name, **kwargs)
        vars(environment.unwrapped)["lost"] = lost
        return LostSensor(environment)

    gymnasium.register("Lost-v0", make, disable_env_checker=True)
    try:
        n = 3 if name == "Pendulum-v1" else 4
        box = spaces.Box((n,), np.full(n, -np.inf), np.full(n, np.inf))
        dense = layers.Dense(np.full((2 if n == 4 else 1, n), 0.1, np.float32), None)
        if n == 3:
            policy = Policy(box, spaces.Box((1,), np.array(-2.0), np.array(2.0)), (dense, layers.SquashAction()))
        else:
            policy = Policy(box, spaces.Discrete(2), (dense, layers.ArgmaxAction((2,))))
        acts: list[Any] = [lambda x: reference.act(policy, x[None])[0]]
        acts += [open_artifact(export(policy, format_, tmp_path / format_).folder) for format_ in ("onnx", "c")]
        for act in acts:
            with pytest.raises(
                LilliputError, match=rf"step 4: the observation is not finite: 1 of {n} numbers, {lost} at {n - 1}"
            ):
                episodes(act, "Lost-v0", [9])
    finally:
        del gymnasium.registry["Lost-v0"]
