"""Any Gymnasium environment with something wrong: noisy observations, late actions, other masses and friction.

Registered as `lilliput.study.perturbed:Perturbed-v0`, so that a study file names it like any other environment, with
the one that it disturbs as an argument. Recipes that calibrate would calibrate on the disturbed one; study those that
do not.
"""

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from lilliput.errors import LilliputError


class Perturbed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The environment under disturbances that are the same for every policy that plays the same seed.

    Args:
        of: id of the environment that is disturbed.
        observation_noise: standard deviation of normal noise on each observation, as a share of `scale`.
        scale: the size of an observation, one number or one a dimension; 1 where nothing is given.
        action_delay: steps between an action and its effect; the first ones are the policy's first action.
        mass: factor on the masses and inertias of a MuJoCo model.
        friction: factor on the sliding friction of its surfaces.
        **kwargs: of the environment itself.
    """

    def __init__(
        self,
        of: str,
        observation_noise: float = 0.0,
        scale: float | list[int | float] = 1.0,
        action_delay: int = 0,
        mass: float = 1.0,
        friction: float = 1.0,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("render_mode", None)
        super().__init__(gymnasium.make(of, disable_env_checker=True, **kwargs))
        self._noise = observation_noise * np.asarray(scale, np.float64)
        self._delay = action_delay
        self._late: deque[Any] = deque()
        self._rng = np.random.default_rng()
        if mass != 1.0 or friction != 1.0:
            model = getattr(self.env.unwrapped, "model", None)
            if model is None:
                raise LilliputError(f"Perturbed-v0: {of} is not a MuJoCo environment; mass and friction must be 1")
            model.body_mass[:] *= mass
            model.body_inertia[:] *= mass
            model.geom_friction[:, 0] *= friction

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation, disturbed."""
        if seed is not None:
            self._rng = np.random.default_rng([seed, 0xD157])
        self._late.clear()
        observation, info = self.env.reset(seed=seed, options=options)
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, under an action of some steps ago."""
        action = np.copy(action) if isinstance(action, np.ndarray) else action
        while len(self._late) < self._delay:
            self._late.append(action)
        self._late.append(action)
        observation, reward, terminated, truncated, info = self.env.step(self._late.popleft())
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Any) -> Any:
        if not np.any(self._noise):
            return observation
        noise = self._rng.normal(size=np.shape(observation)) * self._noise
        return (observation + noise).astype(np.asarray(observation).dtype)


gymnasium.register("Perturbed-v0", entry_point=Perturbed)  # type: ignore[arg-type]
