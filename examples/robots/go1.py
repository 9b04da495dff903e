"""Unitree's Go1 under a policy of MuJoCo Playground (joystick, flat ground): 48 numbers in, 12 joint targets out."""

from typing import Any, ClassVar, final

import gymnasium
import mujoco
import numpy as np

from .walk import Walk

SCALE = 0.5
"""Of the output, in rad."""


@final
class Go1(Walk):
    """See `Walk`. The model's actuators hold an angle, and its sensors say how fast the robot is."""

    ROBOT: ClassVar[str] = "go1"
    COMMANDS: ClassVar[np.ndarray] = np.array([[-1.0, -0.6, -1.0], [1.5, 0.6, 1.0]])

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.model.nu,), np.float32)

    def _start(self) -> None:
        mujoco.mj_resetDataKeyframe(self.model, self.data, self.model.key("home").id)
        self._zero = self._angles.copy()
        self._velocity, self._gyro = self.data.sensor("local_linvel").data, self.data.sensor("gyro").data
        self._axes = self.data.site("imu").xmat.reshape(3, 3)

    def _observed(self) -> np.ndarray:
        joints = self._angles - self._zero, self._speeds
        return np.concatenate([self._velocity, self._gyro, -self._axes[2], *joints, self._output, self.command])

    def _control(self) -> np.ndarray:
        return self._zero + SCALE * self._output

    def _moves(self) -> tuple[np.ndarray, float]:
        return self._velocity[:2], float(self._gyro[2])

    def _fallen(self) -> bool:
        return bool(self._axes[2, 2] < 0.3)
