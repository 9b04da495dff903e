"""A CartPole whose episodes take time but no computing: what is killed half-way has something left to do."""

import time
from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

WAITS = "tests.study.waiting:Waits-v0"


class Waits(CartPoleEnv):
    """A tenth of a second passes before it begins."""

    def reset(self, **kwargs: Any) -> Any:
        time.sleep(0.1)
        return super().reset(**kwargs)


gymnasium.register("Waits-v0", Waits, max_episode_steps=50)  # type: ignore[arg-type]
