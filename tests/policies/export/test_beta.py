"""A head of a Beta distribution in every format; the oracle is the reference, which scipy's mean holds."""

from pathlib import Path

import numpy as np
import pytest

from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress.distill_play import small_head
from lilliput.policies.export import check, export, open_artifact
from lilliput.policies.policy import Policy


def policy() -> Policy:
    rng = np.random.default_rng(0)
    linear = layers.Dense(rng.normal(0, 2, (6, 6)).astype("f4"), rng.normal(size=6).astype("f4"))
    head = layers.BetaAction(), layers.RescaleAction(np.array([1, 4, 2], "f4"), np.array([0, -2, -1], "f4"))
    box = spaces.Box((3,), np.array([0.0, -2, -1]), np.array([1.0, 2, 1]))
    return Policy(spaces.Box((6,), np.array(-np.inf), np.array(np.inf)), box, (linear, *head))


@pytest.mark.parametrize("format", ["c", "onnx"])
def test_an_artifact_gives_the_mean(format: str, tmp_path: Path) -> None:
    small = policy()
    export(small, format, tmp_path / "out")
    assert check(tmp_path / "out").ok
    x = (np.random.default_rng(1).normal(size=(200, 6)) * 10).astype("f4")
    act = open_artifact(tmp_path / "out").begin()
    found = np.array([act(row) for row in x[:50]])
    np.testing.assert_allclose(found, reference.act(small, x[:50]), atol=3e-6)
    assert np.ptp(found, axis=0).min() > 0.5


def test_a_student_reaches_the_same_range_by_one_number_an_action() -> None:
    head = small_head(policy().layers[1:])
    x = np.linspace(-20, 20, 3 * 41, dtype="f4").reshape(-1, 3)
    for layer in head:
        x = reference.apply(layer, x)
    np.testing.assert_allclose([x.min(axis=0), x.max(axis=0)], [[0, -2, -1], [1, 2, 1]], atol=1e-6)
