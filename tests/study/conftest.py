import numpy as np
import pytest

from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy, Provenance


@pytest.fixture(scope="session")
def balancer() -> Policy:
    """A policy that balances CartPole: the sign of a weighted sum, spread over eight hidden units."""
    gain = np.array([[0.1, 0.5, 1.0, 0.7]], np.float32)
    first = np.concatenate([gain, -gain, gain * 0.5, -gain * 0.5, gain * 0.1, -gain * 0.1, gain * 0.01, -gain * 0.01])
    second = np.tile(np.array([[-1, 1], [1, -1]], np.float32), 4)
    space = spaces.Box((4,), np.array(-np.inf), np.array(np.inf))
    stack = (
        layers.Dense(first, np.zeros(8, np.float32)),
        layers.Relu(),
        layers.Dense(second, np.zeros(2, np.float32)),
        layers.ArgmaxAction((2,)),
    )
    return Policy(space, spaces.Discrete(2), stack, Provenance(source="balancer", environment="CartPole-v1"))
