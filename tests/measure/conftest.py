"""Artifacts to measure: a large and a small policy of the same spaces."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lilliput.policies import spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.layers import ClipAction, Dense, Layer, Relu
from lilliput.policies.policy import Policy


def mlp(widths: tuple[int, ...], seed: int = 0) -> Policy:
    """A random ReLU network for Pendulum."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for n_in, n_out in zip((3, *widths), (*widths, 1), strict=True):
        layers += [
            Dense(rng.normal(size=(n_out, n_in)).astype(np.float32) / np.float32(n_in), np.zeros(n_out, np.float32))
        ]
        layers += [Relu()]
    bound = np.array([2.0], np.float32)
    high = np.array([1, 1, 8], np.float64)
    observation = spaces.Box((3,), -high, high)
    action = spaces.Box((1,), -bound.astype(np.float64), bound.astype(np.float64))
    return Policy(observation, action, (*layers[:-1], ClipAction(-bound, bound)))


def exported(policy: Policy, format_: str, folder: Path) -> Artifact:
    export = pytest.importorskip("lilliput.policies.export")
    return export.export(policy, format_, folder)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return exported(mlp((4,)), "onnx", tmp_path_factory.mktemp("measure") / "small")


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return exported(mlp((1024, 1024)), "onnx", tmp_path_factory.mktemp("measure") / "large")


@pytest.fixture(scope="session")
def compiled_small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return exported(mlp((64, 64)), "c", tmp_path_factory.mktemp("measure") / "c")


@pytest.fixture(scope="session")
def observations() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
