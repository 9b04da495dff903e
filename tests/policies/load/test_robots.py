"""Two robots' own policies, as they ship."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.export import check, export
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


@pytest.mark.slow
def test_the_g1_remembers_in_codes_and_can_be_checked(tmp_path: Path) -> None:
    """A few hundred numbers are rounded in a step, and what flips is remembered: most sequences are unsteady."""
    policy = load_policy(FOLDER / "g1" / "motion.pt")
    x = np.random.default_rng(0).normal(0, 0.5, (600, 47)).astype(np.float32)
    recipe = "quantize(scheme='static', granularity='per_channel', input='per_dimension')"
    small = compress(policy, recipe, Context.from_observations(policy, x))
    artifact = export(small, "c", tmp_path / "a")
    assert check(tmp_path / "a").ok
    assert artifact.manifest.tolerance < 1e-3
