"""Environments with known answers, for trainings of seconds."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Follow(gymnasium.Env):
    """Pays 1 - |action - observation| / 2 a step: the best action is the observation itself."""

    def __init__(self, size: int = 2) -> None:
        self.observation_space = Box(-1, 1, (size,), np.float32)
        self.action_space = Box(-1, 1, (size,), np.float32)
        self._shown = np.zeros(size, np.float32)
        self._left = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._left = 20
        return self._show(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = 1 - float(np.abs(np.asarray(action) - self._shown).mean()) / 2
        self._left -= 1
        return self._show(), reward, False, self._left == 0, {}

    def _show(self) -> np.ndarray:
        self._shown = self.np_random.uniform(-1, 1, self._shown.shape).astype(np.float32)
        return self._shown


class Sign(Follow):
    """Pays 1 where the choice is the sign of the first number."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Discrete(2)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(int(action) == int(self._shown[0] > 0))
        self._left -= 1
        return self._show(), reward, False, self._left == 0, {}


class NaN(Follow):
    """Pays what is no number."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float("nan"), terminated, truncated, info


class Blind(Follow):
    """Shows what is no number in its 60th step."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._steps += 1
        observation, reward, terminated, truncated, info = super().step(action)
        shown = np.full_like(observation, np.nan) if self._steps == 60 else observation
        return shown, reward, terminated, truncated, info


class Breaks(Follow):
    """Breaks down in its 60th step, by an error of its own."""

    error: BaseException = KeyError("sensor 3")

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._steps += 1
        if self._steps == 60:
            raise self.error
        return super().step(action)


class Leaves(Breaks):
    """Ends the program in its 60th step."""

    error = SystemExit("no licence")


class Bright(Sign):
    """Shows an image, its channel last, and pays 1 where the choice is whether it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(0, 255, (36, 36, 1), np.uint8)

    def _show(self) -> np.ndarray:
        self._shown = np.array([self.np_random.choice([-1, 1])])
        return np.full((36, 36, 1), 200 if self._shown[0] > 0 else 30, np.uint8)


class Switches(Sign):
    """Shows switches on a board, which the frameworks take for no image, and pays 1 where the choice is the first."""

    def __init__(self) -> None:
        super().__init__()
        switch: Any = bool
        self.observation_space = Box(0, 1, (4, 4, 2), switch)

    def _show(self) -> np.ndarray:
        board = self.np_random.integers(0, 2, (4, 4, 2)).astype(bool)
        self._shown = board[0, 0, :1] * 2 - 1
        return board


class Dim(Sign):
    """Shows an image too small for the frameworks' convolutions, its channel last, and pays as `Bright` does."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(0, 255, (7, 7, 3), np.uint8)

    def _show(self) -> np.ndarray:
        image = self.np_random.integers(0, 256, (7, 7, 3), np.uint8)
        self._shown = np.array([int(image[0, 0, 0]) - 128])
        return image


for name in ("Follow", "Sign", "NaN", "Blind", "Breaks", "Leaves", "Bright", "Switches", "Dim"):
    if f"{name}-v0" not in gymnasium.registry:
        gymnasium.register(f"{name}-v0", entry_point=f"{__name__}:{name}")


SMALL = {"learning_starts": 40, "batch_size": 16, "train_freq": 1, "gradient_steps": 1}
FEW = {"n_steps": 40, "n_envs": 1}
FOLLOW, SIGN = "Follow-v0", "Sign-v0"


def quick(name: str) -> tuple[str, dict[str, Any]]:
    """A toy environment that the algorithm plays, and settings with which it takes a second."""
    from lilliput.policies.learn.rl.algorithm import ALGORITHMS

    row = ALGORITHMS[name]
    settings = dict(FEW if row.on_policy else SMALL)
    if name in ("ppo", "trpo"):
        settings["batch_size"] = 40
    return (SIGN if row.actions == ("discrete",) else FOLLOW), settings
