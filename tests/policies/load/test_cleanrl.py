"""Networks laid out and saved as CleanRL's scripts do; the oracle is torch's own forward pass."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_checkpoint, load_policy

torch = pytest.importorskip("torch")
nn = torch.nn

from tests.policies.load.frameworks import torch_bytes  # noqa: E402

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]

N_OBSERVATIONS = 1000
UNBOUNDED: Any = {"action_low": -np.inf, "action_high": np.inf}
"""Of the continuous script, whose files have no bounds."""


def mlp(sizes: list[int], activation: type) -> Any:
    modules: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*modules[:-1])


class ContinuousPpo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.critic = mlp([6, 64, 64, 1], nn.Tanh)
        self.actor_mean = mlp([6, 64, 64, 2], nn.Tanh)
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))

    def forward(self, x: Any) -> Any:
        return self.actor_mean(x)


class DiscretePpo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.critic = mlp([6, 64, 64, 1], nn.Tanh)
        self.actor = mlp([6, 64, 64, 4], nn.Tanh)

    def forward(self, x: Any) -> Any:
        return self.actor(x).argmax(1)


class Q(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = mlp([6, 120, 84, 4], nn.ReLU)

    def forward(self, x: Any) -> Any:
        return self.network(x).argmax(1)


class Squashed(nn.Module):
    def __init__(self, last: str, scale: Any, bias: Any) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 256), nn.Linear(256, 256)
        self.last = last
        self.add_module(last, nn.Linear(256, 2))
        if last == "fc_mean":
            self.fc_logstd = nn.Linear(256, 2)
        self.register_buffer("action_scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("action_bias", torch.tensor(bias, dtype=torch.float32))

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.fc2(torch.relu(self.fc1(x))))
        return torch.tanh(self.get_submodule(self.last)(x)) * self.action_scale + self.action_bias


def nature(*rest: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(4, 32, 8, 4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 512),
        nn.ReLU(),
        *rest,
    )


class AtariPpo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nature()
        self.actor, self.critic = nn.Linear(512, 6), nn.Linear(512, 1)

    def forward(self, x: Any) -> Any:
        return self.actor(self.network(x / 255.0)).argmax(1)


class AtariQ(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nature(nn.Linear(512, 6))

    def forward(self, x: Any) -> Any:
        return self.network(x / 255.0).argmax(1)


def sac() -> Any:
    return Squashed("fc_mean", [[2.0, 0.5]], [[0.0, 1.0]])


def td3() -> Any:
    return Squashed("fc_mu", [1.0, 0.4], [0.0, 0.0])


def test_of_several_algorithms_the_user_says_which(tmp_path: Path) -> None:
    path = tmp_path / "run.cleanrl_model"
    path.write_bytes(torch_bytes(td3().state_dict()))
    assert load_policy(path, algorithm="DDPG").provenance.algorithm == "DDPG"
    assert load_policy(path, algorithm="DDPG").digest == load_policy(path).digest
    with pytest.raises(LilliputError, match="was trained by TD3 or DDPG, not by 'SAC'; leave --algorithm away"):
        load_policy(path, algorithm="SAC")


@pytest.mark.parametrize(
    ("make", "algorithm", "wrap"),
    [
        (ContinuousPpo, "PPO", None),
        (DiscretePpo, "PPO", None),
        (Q, "DQN", None),
        (sac, "SAC", None),
        (sac, "SAC", 3),
        (td3, "TD3 or DDPG", None),
        (td3, "TD3 or DDPG", 2),
        (td3, "TD3 or DDPG", 3),
        pytest.param(AtariPpo, "PPO", None),
        (AtariQ, "DQN", None),
    ],
)
@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
def test_a_script_s_network_acts_as_in_torch(
    make: Callable[[], Any], algorithm: str, wrap: int | None, new_format: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 2
    critic = mlp([8, 16, 7, 1], nn.ReLU)
    names = {"0": "fc1", "2": "fc2", "4": "fc3"}
    state = {f"{names[key[0]]}{key[1:]}": array for key, array in critic.state_dict().items()}
    saved = network.state_dict() if wrap is None else (network.state_dict(), *[state] * (wrap - 1))
    path = tmp_path / "run.cleanrl_model"
    path.write_bytes(torch_bytes(saved, _use_new_zipfile_serialization=new_format))
    read = load_checkpoint(path, **(UNBOUNDED if make is ContinuousPpo else {}))
    policy = read.policy
    assert (policy.provenance.framework, policy.provenance.algorithm) == ("cleanrl", algorithm)

    image = spaces.input_shape(policy.observation_space) != (6,)
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (32, 4, 84, 84)).astype(np.uint8) if image else rng.normal(size=(N_OBSERVATIONS, 6))
    with torch.no_grad():
        expected = network(torch.tensor(batch, dtype=torch.float32)).numpy()
    actual = reference.act(policy, batch)
    if policy.is_discrete:
        np.testing.assert_array_equal(actual, expected)
        assert len(np.unique(expected)) > 1 or image
    else:
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert bool(read.learner.critic) is (wrap is not None)
    if read.learner.critic:
        both = np.concatenate([batch, expected], axis=1).astype(np.float32)
        judged = both
        for layer in read.learner.critic:
            judged = reference.apply(layer, judged)
        np.testing.assert_allclose(judged, critic(torch.tensor(both)).detach().numpy(), atol=1e-5)


def test_the_action_bounds_come_from_the_buffers(tmp_path: Path) -> None:
    (tmp_path / "sac.pt").write_bytes(torch_bytes(sac().state_dict()))
    space = load_policy(tmp_path / "sac.pt").action_space
    assert isinstance(space, spaces.Box)
    np.testing.assert_allclose(space.low, [-2.0, 0.5])
    np.testing.assert_allclose(space.high, [2.0, 1.5])


def test_what_a_state_dict_cannot_say_is_a_guess(tmp_path: Path) -> None:
    path = tmp_path / "ppo.pt"
    path.write_bytes(torch_bytes(ContinuousPpo().state_dict()))
    text = " / ".join(load_policy(path, **UNBOUNDED).provenance.guesses)
    statistics = "--normalizer gives statistics"
    for part in ("activation", "Tanh", "bounds of the observation", "bounds of the action", statistics):
        assert part in text


@pytest.mark.parametrize("suffix", ["npz", "json", "pkl"])
def test_observation_statistics_given_beside(suffix: str, tmp_path: Path) -> None:
    import json
    import pickle

    torch.manual_seed(0)
    network = ContinuousPpo()
    path, statistics = tmp_path / "ppo.pt", tmp_path / f"statistics.{suffix}"
    path.write_bytes(torch_bytes(network.state_dict()))
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=6), rng.uniform(0.1, 3, size=6)
    match suffix:
        case "npz":
            np.savez(statistics, mean=mean, var=var, epsilon=1e-8, clip=10.0)
        case "json":
            statistics.write_text(json.dumps({"mean": mean.tolist(), "var": var.tolist(), "epsilon": 1e-8, "clip": 10}))
        case _:
            statistics.write_bytes(pickle.dumps({"mean": mean, "var": var}))
    policy = load_policy(path, normalizer=statistics, **UNBOUNDED)
    batch = rng.normal(size=(N_OBSERVATIONS, 6)) * 30
    with torch.no_grad():
        normalized = np.clip((batch - mean) / np.sqrt(var + 1e-8), -10, 10)
        expected = network(torch.tensor(normalized, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(reference.act(policy, batch), expected, atol=1e-5)
    assert not any(guess.startswith("observation statistics") for guess in policy.provenance.guesses)


def test_a_ppo_mean_is_clipped_inside_to_the_bounds_of_the_environment(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ContinuousPpo()
    network.actor_mean = mlp([3, 64, 64, 1], nn.Tanh)
    network.actor_logstd = nn.Parameter(torch.zeros(1, 1))
    with torch.no_grad():
        network.actor_mean[4].weight.mul_(20)
    folder = tmp_path / "Pendulum-v1__ppo_continuous_action__1__1700000000"
    folder.mkdir()
    path = folder / "ppo_continuous_action.cleanrl_model"
    path.write_bytes(torch_bytes(network.state_dict()))
    batch = np.random.default_rng(0).normal(size=(N_OBSERVATIONS, 3)).astype(np.float32)
    with torch.no_grad():
        mean = network(torch.tensor(batch)).numpy()
    assert np.abs(mean).max() > 2.5
    policy = load_policy(path)
    np.testing.assert_allclose(reference.act(policy, batch), np.clip(mean, -2, 2), atol=1e-5)
    assert policy.provenance.environment == "Pendulum-v1"
    assert policy.provenance.wrappers == ()
    assert load_checkpoint(path).learner.action_std == (1.0,)
    alone = tmp_path / "ppo.pt"
    alone.write_bytes(path.read_bytes())
    with pytest.raises(LilliputError, match="does not hold the bounds of its 1 actions; name the environment"):
        load_policy(alone)
    assert load_policy(alone, environment="Pendulum-v1").digest == policy.digest
    assert load_policy(alone, action_low=-2.0, action_high=2.0).digest == policy.digest


def test_an_atari_network_names_its_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "dqn.pt"
    path.write_bytes(torch_bytes(AtariQ().state_dict()))
    policy = load_policy(path)
    assert policy.provenance.wrappers == ("atari", "frame_stack", "transpose_image")
    assert any("strides and padding of the convolutions" in one for one in policy.provenance.guesses)
    assert isinstance(policy.layers[0], layers.Standardize)


def test_a_state_dict_among_other_things_is_found(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(torch_bytes({"epoch": 3, "model_state_dict": Q().state_dict(), "args": {"seed": 1}}))
    assert load_policy(path).provenance.algorithm == "DQN"


def c51() -> Any:
    network = Q()
    network.register_buffer("atoms", torch.linspace(-10, 10, 51))
    return network.state_dict()


def uneven() -> Any:
    state = sac().state_dict()
    state["action_scale"] = torch.tensor([[1.0, 2.0], [1.0, 3.0]])
    return state


def other_image() -> Any:
    state = AtariQ().state_dict()
    state["network.7.weight"] = torch.zeros(512, 2304)
    return state


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: nn.Linear(3, 3), "is a pickled module of the class 'torch.nn.modules.linear.Linear'; supported"),
        (lambda: mlp([3, 3], nn.Tanh).state_dict(), "does not say how its outputs become an action"),
        (c51, "has C51's distributions over atoms, which no layer here computes, in ONNX neither"),
        (uneven, "action_scale has the shape .* differs by row"),
        (other_image, "images that are not 4 x 84 x 84"),
        (lambda: {"actor.0.weight": torch.zeros(3, 2, dtype=torch.complex64)}, "ComplexFloatStorage"),
        (lambda: {k: v for k, v in sac().state_dict().items() if k != "action_bias"}, "but has no action_bias"),
        (dict, "holds no tensors"),
        (lambda: 3, "holds no tensors"),
    ],
)
def test_other_files_are_refused_in_one_line(value: Callable[[], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(torch_bytes(value()))
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)
