"""A network whose last activation has a range: that is the action's, and no given bounds stretch it unasked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torch_writer import layer, linear, sequential, torch_file

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

NET = linear(5, 16), layer("activation.ReLU"), linear(16, 3, 1)
LAST: dict[str, tuple[Any, float, float, Any]] = {
    "tanh": (layer("activation.Tanh"), -1.0, 1.0, np.tanh),
    "sigmoid": (layer("activation.Sigmoid"), 0.0, 1.0, lambda y: 1 / (1 + np.exp(-y))),
    "clip": (layer("activation.Hardtanh", min_val=-0.5, max_val=0.75), -0.5, 0.75, lambda y: np.clip(y, -0.5, 0.75)),
}
X = np.random.default_rng(0).normal(scale=3.0, size=(200, 5)).astype(np.float32)


def loaded(path: Path, **said: Any) -> Policy:
    return load_policy(path, action="continuous", **said)


def bounds(policy: Policy) -> tuple[float, float]:
    assert isinstance(policy.action_space, spaces.Box)
    return float(policy.action_space.low.max()), float(policy.action_space.high.min())


@pytest.mark.parametrize("behind", [(), (layer("flatten.Flatten"), layer("linear.Identity"))], ids=["", "nothing"])
@pytest.mark.parametrize("kind", LAST)
def test_the_last_activation_s_range_is_the_action_s_and_is_moved_or_clipped_when_that_is_said(
    kind: str, behind: tuple[Any, ...], tmp_path: Path
) -> None:
    last, low, high, activation = LAST[kind]
    path = tmp_path / "x.pt"
    path.write_bytes(torch_file(sequential(*NET)))
    raw = reference.act(loaded(path, action_low=-np.inf, action_high=np.inf), X).astype(np.float64)
    path.write_bytes(torch_file(sequential(*NET, last, *behind)))
    wanted = activation(raw)
    wide: Any = {"action_low": -2.0, "action_high": 4.0}
    for said in ({}, {"action_low": low, "action_high": high}, wide, {"action_low": -np.inf, "action_high": np.inf}):
        policy = loaded(path, **said)
        np.testing.assert_allclose(reference.act(policy, X), wanted, atol=1e-5)
        assert bounds(policy) == (low, high)
        assert any("bounds of the action are those of its last activation" in one for one in policy.provenance.guesses)
    moved = loaded(path, **wide, rescale_action=True)
    np.testing.assert_allclose(reference.act(moved, X), -2 + 6 * (wanted - low) / (high - low), atol=2e-5)
    assert bounds(moved) == (-2.0, 4.0)
    narrow: Any = {"action_low": low + 0.2, "action_high": 0.5}
    np.testing.assert_allclose(reference.act(loaded(path, **narrow), X), wanted.clip(low + 0.2, 0.5), atol=1e-5)
    assert bounds(loaded(path, **wide, rescale_action=False)) == (-2.0, 4.0)
    with pytest.raises(LilliputError, match="of which the bounds that were given leave nothing"):
        loaded(path, action_low=5.0, action_high=6.0)


def test_an_environment_of_other_bounds_is_refused_until_it_is_said_whether_to_move(tmp_path: Path) -> None:
    """A network that ends in tanh gives a quarter of Pendulum's torques where it is taken for one that does not."""
    from lilliput.policies.play import make_environment
    from lilliput.policies.play.fit import check_fit

    path = tmp_path / "x.pt"
    path.write_bytes(torch_file(sequential(linear(3, 8), layer("activation.ReLU"), linear(8, 1, 1), LAST["tanh"][0])))
    environment = make_environment("Pendulum-v1")
    policy = loaded(path, environment="Pendulum-v1")
    with pytest.raises(LilliputError, match="--rescale-action"):
        check_fit(policy.observation_space, policy.action_space, environment)
    for moved in (True, False):
        policy = loaded(path, environment="Pendulum-v1", rescale_action=moved)
        check_fit(policy.observation_space, policy.action_space, environment)
        assert (np.abs(reference.act(policy, X[:, :3])).max() > 1) == moved
