"""Untrained policies of the real frameworks, random numbers in every weight: what the loaders are compared with."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lilliput.policies import reference
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

N_OBSERVATIONS = 1000


class Still(gymnasium.Env):
    """An environment of the given spaces in which nothing happens."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


def vector(size: int = 5, low: float = -np.inf, high: float = np.inf) -> spaces.Box:
    return spaces.Box(low, high, (size,), np.float32)


ACTIONS = spaces.Box(np.array([-2.0, 0.1, -1.0], np.float32), np.array([2.0, 0.3, 1.0], np.float32))
IMAGE = spaces.Box(0, 255, (36, 40, 3), np.uint8)
DISCRETE = spaces.Discrete(5)
SEVERAL = spaces.MultiDiscrete([3, 2, 4])
MATRIX = spaces.Box(-1.0, np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), (2, 2))
SHORT = {"learning_starts": 0, "buffer_size": 10}
"""Of an algorithm with a replay buffer."""


def shaken(model: Any, seed: int = 0) -> Any:
    """The model with random numbers added to every parameter and running statistic, so that none can hide."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.policy.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            if name.endswith("ra_var"):
                tensor += noise
            elif tensor.dim() > 1:
                tensor += 4 * (noise - 0.5) / tensor[0].numel() ** 0.5
            else:
                tensor += 0.3 * (noise - 0.5)
    return model


def observations(space: spaces.Space, seed: int = 1, n: int = N_OBSERVATIONS) -> Any:
    """A batch that fills the space; what is unbounded is normal."""
    rng = np.random.default_rng(seed)
    match space:
        case spaces.Dict():
            return {key: observations(inner, seed + i, n) for i, (key, inner) in enumerate(space.spaces.items())}
        case spaces.Box() if space.dtype == np.uint8:
            return rng.integers(0, 256, (n, *(space.shape or ()))).astype(np.uint8)
        case _:
            return rng.normal(scale=2.0, size=(n, *(space.shape or ()))).astype(np.float32)


def predicted(model: Any, batch: Any) -> np.ndarray:
    """The framework's own deterministic actions."""
    actions, _ = model.predict(batch, deterministic=True)
    return actions


def assert_same_actions(
    actual: np.ndarray, expected: np.ndarray, space: spaces.Space, *, tolerance: float = 1e-4
) -> None:
    """Discrete actions identical; continuous ones within the tolerance times the range of the action."""
    assert actual.shape == expected.shape
    if isinstance(space, spaces.Box):
        span = np.where(np.isfinite(space.high - space.low), space.high - space.low, 1.0)
        assert float(np.max(np.abs(actual - expected) / span)) <= tolerance
        assert np.ptp(expected, axis=0).max() > 0, (
            "the actions do not depend on the observation: the test could not fail"
        )
    else:
        np.testing.assert_array_equal(actual, expected)
        assert len(np.unique(expected)) > 1, "one choice for all observations: the test could not fail"


def check(model: Any, folder: Path) -> Policy:
    """The loaded policy, once its actions are the framework's."""
    shaken(model)
    policy = load_policy(save(model, folder))
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), model.action_space)
    return policy


def torch_bytes(value: Any, **options: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def save(model: Any, folder: Path, name: str = "model") -> Path:
    path = folder / f"{name}.zip"
    model.save(path)
    return path


def rewrite_zip(path: Path, target: Path, changed: Mapping[str, bytes | None]) -> Path:
    """The zip with entries replaced, added or (None) left out."""
    import zipfile

    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as result:
        for entry in source.namelist():
            if entry not in changed:
                result.writestr(entry, source.read(entry))
        for entry, data in changed.items():
            if data is not None:
                result.writestr(entry, data)
    return target
