"""State dicts of rsl_rl's recurrent policies: equal to torch on a sequence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_checkpoint, load_policy

torch = pytest.importorskip("torch")
nn = torch.nn
STEPS = 50


class Whole(nn.Module):
    """As rsl_rl names its modules: `memory_a.rnn` and `actor`; from version 4 on `rnn.rnn` and `mlp`."""

    def __init__(self, kind: str, levels: int, memory: str, actor: str) -> None:
        super().__init__()
        holder = nn.Module()
        holder.rnn = getattr(nn, kind)(5, 6, levels)
        setattr(self, memory, holder)
        setattr(self, actor, nn.Sequential(nn.Linear(6, 4), nn.ELU(), nn.Linear(4, 2)))
        self.names = memory, actor

    def play(self, x: np.ndarray) -> np.ndarray:
        memory, actor = (getattr(self, name) for name in self.names)
        with torch.no_grad():
            return actor(memory.rnn(torch.from_numpy(x))[0]).numpy()


def written(path: Path, module: Whole, *, new: bool, **others: Any) -> Path:
    state = {**module.state_dict(), **{key: torch.from_numpy(value) for key, value in others.items()}}
    member = "actor_state_dict" if new else "model_state_dict"
    run = {"optimizer_state_dict": {"state": {}, "param_groups": []}, "iter": 3, "infos": None}
    torch.save({member: state, **run}, path)
    return path


@pytest.mark.parametrize(("kind", "levels"), [("LSTM", 1), ("GRU", 2)])
@pytest.mark.parametrize("new", [False, True])
def test_a_recurrent_actor_acts_as_torch(kind: str, levels: int, new: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Whole(kind, levels, *(("rnn", "mlp") if new else ("memory_a", "actor")))
    std = {"distribution.std_param" if new else "std": np.ones(2, "f4")}
    read = load_checkpoint(written(tmp_path / "model_3.pt", module, new=new, **std), activation="elu")
    policy = read.policy
    assert [type(layer).__name__.upper() for layer in policy.layers[:levels]] == [kind] * levels
    x = np.cumsum(np.random.default_rng(0).normal(0, 0.3, (STEPS, 5)), axis=0).astype(np.float32)
    np.testing.assert_allclose(reference.act_episode(policy, x), module.play(x), atol=2e-6)
    assert len(read.learner.action_std) == 2


def test_statistics_stand_before_the_memory(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Whole("LSTM", 1, "memory_a", "actor")
    mean, var = np.arange(5, dtype="f4")[None], np.full((1, 5), 4, "f4")
    statistics = {"_mean": mean, "_var": var, "_std": np.sqrt(var), "count": np.array(9)}
    others = {f"actor_obs_normalizer.{key}": value for key, value in statistics.items()}
    path = written(tmp_path / "model_3.pt", module, new=False, std=np.ones(2, "f4"), **others)
    policy = load_policy(path, activation="elu")
    assert [type(layer) for layer in policy.layers[:2]] == [layers.Standardize, layers.Lstm]
    x = np.random.default_rng(0).normal(0, 3, (STEPS, 5)).astype(np.float32)
    np.testing.assert_allclose(reference.act_episode(policy, x), module.play((x - mean) / 2.01), atol=2e-6)


def test_a_plain_rnn_is_refused(tmp_path: Path) -> None:
    module = Whole("RNN", 1, "memory_a", "actor")
    with pytest.raises(LilliputError, match=r"memory_a.rnn.weight_hh_l0 has the shape \[6, 6\]; supported: an LSTM"):
        load_policy(written(tmp_path / "model_3.pt", module, new=False, std=np.ones(2, "f4")), activation="elu")
