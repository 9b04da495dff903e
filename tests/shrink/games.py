"""A policy that plays a small game perfectly, made by hand; and the game, over after a fifth of its usual steps."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy

BALANCE = "tests.shrink.games:Balance-v0"
"""CartPole for 100 steps: by chance it falls after some 20, and what balances it for 100 does so for 500."""

gymnasium.register("Balance-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", max_episode_steps=100)
CARELESS = "tests.shrink.games:Careless-v0"
"""The same, but each episode begins as it comes, whatever the seed."""


class Careless(CartPoleEnv):
    """CartPole that pays no heed to its seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """A start drawn anew."""
        return super().reset(options=options)


gymnasium.register("Careless-v0", "tests.shrink.games:Careless", max_episode_steps=100)


def cartpole(width: int = 64) -> Policy:
    """A wide network that balances the pole for all 500 steps: pairs of units whose difference is linear."""
    rng = np.random.default_rng(0)
    gain = np.array([0.1, 0.5, 3.0, 1.5])
    half = rng.standard_normal((width // 2, 4)) * 0.5
    weight = np.concatenate([half, -half]).astype(np.float32)
    # relu(w x) - relu(-w x) = w x, so this least-squares solution gives the linear controller exactly.
    mix = np.linalg.lstsq(half.T, gain, rcond=None)[0]
    last = np.stack([np.concatenate([-mix, mix]), np.concatenate([mix, -mix])]).astype(np.float32)
    return Policy(
        spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf)),
        spaces.Discrete(2),
        (
            layers.Dense(weight, np.zeros(width, np.float32)),
            layers.Relu(),
            layers.Dense(last, np.zeros(2, np.float32)),
            layers.ArgmaxAction((2,)),
        ),
    )
