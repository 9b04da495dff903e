"""Two robots' own policies, as they ship."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy

FOLDER = Path(os.environ.get("LILLIPUT_ROBOTS", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("LILLIPUT_ROBOTS"), reason="LILLIPUT_ROBOTS is not set: the robots are not here"
)


def test_the_go1_walks_by_what_its_file_says() -> None:
    """brax: a normalizer, swish, the mean cut off the last layer, tanh."""
    path = FOLDER / "go1" / "policy.onnx"
    policy = load_policy(path)
    kinds = [type(layer) for layer in policy.layers]
    assert kinds == [layers.Standardize, *[layers.Dense, layers.Silu] * 3, layers.Dense, layers.SquashAction]
    assert spaces.action_shape(policy.action_space) == (12,)
    x = np.random.default_rng(0).normal(size=(1000, 48)).astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    expected = np.concatenate([np.asarray(session.run(None, {"obs": row[None]})[0]) for row in x])
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=2e-5)


def test_the_g1_remembers() -> None:
    policy = load_policy(FOLDER / "g1" / "motion.pt")
    assert [type(layer) for layer in policy.layers] == [layers.Lstm, layers.Dense, layers.Elu, layers.Dense]
    assert policy.n_parameters == 31_404
