"""Agents of CleanRL's ppo_atari_lstm.py, and of programs made after it; the oracle is torch's own forward pass."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
nn = torch.nn

from tests.policies.load.frameworks import torch_bytes  # noqa: E402

pytestmark = pytest.mark.frameworks


class Agent(nn.Module):
    """`get_states` and `actor` of the script, one environment."""

    def __init__(self, network: Any, width: int, units: int, n_actions: int, memory: type = nn.LSTM) -> None:
        super().__init__()
        self.network, self.lstm = network, memory(width, units)
        self.actor, self.critic = nn.Linear(units, n_actions), nn.Linear(units, 1)

    def episode(self, x: Any) -> np.ndarray:
        """The logits at each step of an episode."""
        with torch.no_grad():
            hidden, _ = self.lstm(self.network(x)[:, None])
            return self.actor(hidden[:, 0]).numpy()


def saved(agent: Agent, path: Path) -> Path:
    path.write_bytes(torch_bytes(agent.state_dict()))
    return path


def test_the_atari_agent_with_an_lstm_sees_one_frame_and_remembers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
    )  # fmt: skip
    agent = Agent(network, 512, 128, 6)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter *= 1.5
        for parameter in (*agent.lstm.parameters(), *agent.actor.parameters()):
            parameter *= 4
    policy = load_policy(saved(agent, tmp_path / "run.cleanrl_model"))
    assert policy.provenance.wrappers == ("atari", "transpose_image")
    assert any("one frame of 84 x 84" in one for one in policy.provenance.guesses)
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 84, 84)).astype(np.uint8)
    patches = np.random.default_rng(1).integers(0, 2, (60, 1, 12, 12)).astype(np.uint8)  # so that choices differ
    images *= patches.repeat(7, axis=2).repeat(7, axis=3)
    expected = agent.episode(torch.tensor(images, dtype=torch.float32) / 255).argmax(1)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(reference.act_episode(policy, images), expected)


@pytest.mark.parametrize(("memory", "kind"), [(nn.LSTM, layers.Lstm), (nn.GRU, layers.Gru)])
def test_an_agent_on_a_vector_says_what_its_file_does_not_hold(memory: type, kind: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh())
    agent = Agent(network, 24, 16, 4, memory)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter *= 3
    path = saved(agent, tmp_path / "agent.pt")
    with pytest.raises(LilliputError, match="--activation"):
        load_policy(path)
    policy = load_policy(path, activation="tanh", action="discrete")
    assert any(isinstance(layer, kind) for layer in policy.layers)
    assert any("behind the last layer before the LSTM too" in one for one in policy.provenance.guesses)
    x = np.random.default_rng(0).normal(size=(1000, 5)).astype(np.float32)
    logits = np.sort(expected := agent.episode(torch.tensor(x)), axis=1)
    clear = logits[:, -1] - logits[:, -2] > 1e-4
    assert clear.sum() > 900
    np.testing.assert_array_equal(reference.act_episode(policy, x)[clear], expected.argmax(1)[clear])
