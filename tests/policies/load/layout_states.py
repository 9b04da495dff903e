"""State dicts of programs that people train with, and what their networks compute, in float64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.policies.load.torch_writer import dense, mlp, named, torch_file

N_OBSERVATIONS = 200
BOX: Any = {"action_low": -2.0, "action_high": 2.0}
State = dict[str, np.ndarray]


def written(value: Any, folder: Path, name: str = "x.pt") -> Path:
    path = folder / name
    path.write_bytes(torch_file(value))
    return path


def batch(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N_OBSERVATIONS, n)).astype(np.float32)


def forward(
    state: State, names: list[str], x: np.ndarray, hidden: Callable[[np.ndarray], np.ndarray], *after: Any
) -> np.ndarray:
    """The network in float64: Linear layers, what stands behind the hidden ones, an activation."""
    x = x.astype(np.float64)
    for number, name in enumerate(names):
        x = x @ state[f"{name}.weight"].T.astype(np.float64) + state[f"{name}.bias"]
        if number < len(names) - 1:
            for step in after:
                x = step(x, number)
            x = hidden(x)
    return x


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def squashed(x: np.ndarray) -> np.ndarray:
    return 2 * np.tanh(x)


def norms(names: tuple[str, ...], keys: tuple[str, str], width: int) -> State:
    rng = np.random.default_rng(2)
    return {f"{name}.{key}": rng.uniform(0.5, 2, width).astype("f4") for name in names for key in keys}


SFUJIM = named([5, 256, 256, 2], ["l1", "l2", "l3"])
PRANZ = named([5, 256, 256, 2], ["linear1", "linear2", "mean_linear"])
PRANZ |= dense("log_std_linear", 256, 2, np.random.default_rng(3))
HIDDEN = named([5, 256, 256, 2], ["hidden1", "hidden2", "mu"]) | dense("log_std", 256, 2, np.random.default_rng(3))
LAYER_NORM = named([5, 400, 300, 2], ["fc1", "fc2", "mu"])
LAYER_NORM |= norms(("bn1",), ("weight", "bias"), 400) | norms(("bn2",), ("weight", "bias"), 300)
ERL = named([5, 16, 16, 2], ["w_l1", "w_l2", "w_out"]) | norms(("lnorm1", "lnorm2"), ("gamma", "beta"), 16)
UDACITY = named([5, 16, 16, 3], ["fc1", "fc2", "fc3"])
CONTINUOUS = named([5, 16, 16, 2], ["fc1", "fc2", "mu"]) | {"log_std": np.full((1, 2), 0.5, "f4")}
MEAN, VAR = np.linspace(-1, 1, 5), np.linspace(0.01, 4, 5)
ACTOR_CRITIC = mlp("actor", [5, 16, 16, 3]) | mlp("critic", [5, 16, 16, 1])
PPO = {"actor_logstd": np.zeros((1, 2), "f4")} | mlp("critic", [5, 64, 64, 1]) | mlp("actor_mean", [5, 64, 64, 2])
DQN = mlp("network", [5, 120, 84, 3])


def torch_norm(x: np.ndarray, number: int) -> np.ndarray:
    normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return normal * LAYER_NORM[f"bn{number + 1}.weight"] + LAYER_NORM[f"bn{number + 1}.bias"]


def erl_norm(x: np.ndarray, number: int) -> np.ndarray:
    normal = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True, ddof=1) + 1e-6)
    return normal * ERL[f"lnorm{number + 1}.gamma"] + ERL[f"lnorm{number + 1}.beta"]


V = np.ones(5, "f4")
CONVOLUTION = {"weight": np.zeros((16, 3, 2, 2), "f4"), "bias": np.zeros(16, "f4")}
