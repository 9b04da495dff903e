"""Unitree's G1 (12 leg joints) under the LSTM of unitree_rl_gym: 47 numbers in, 12 joint targets out."""

from typing import Any, ClassVar, final

import mujoco
import numpy as np

from .walk import DECISION_S, Walk

ZERO = np.tile([-0.1, 0.0, 0.0, 0.3, -0.2, 0.0], 2)
"""Angles of the joints that the output is added to, a leg after the other."""
STIFFNESS = np.tile([100.0, 100.0, 100.0, 150.0, 40.0, 40.0], 2)
DAMPING = np.tile([2.0, 2.0, 2.0, 4.0, 2.0, 2.0], 2)
SCALE, GAIT_S = 0.25, 0.8


@final
class G1(Walk):
    """See `Walk`. The policy remembers: it does not see how fast it walks."""

    ROBOT: ClassVar[str] = "g1"
    COMMANDS: ClassVar[np.ndarray] = np.array([[-0.4, -0.3, -0.6], [0.8, 0.3, 0.6]])

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # The model's motors take torques. What the robot's own controller does at every step of the physics,
        # STIFFNESS * (target - angle) - DAMPING * velocity, MuJoCo does by itself:
        self.model.actuator_gainprm[:, 0] = STIFFNESS
        self.model.actuator_biastype[:] = mujoco.mjtBias.mjBIAS_AFFINE
        self.model.actuator_biasprm[:, 1], self.model.actuator_biasprm[:, 2] = -STIFFNESS, -DAMPING

    def _start(self) -> None:
        self._angles[:] = ZERO

    def _observed(self) -> np.ndarray:
        phase = 2 * np.pi * (self._decisions * DECISION_S % GAIT_S) / GAIT_S
        turning, down = self.data.qvel[3:6] * 0.25, self._in_body(np.array([0.0, 0.0, -1.0]))
        joints, clock = (self._angles - ZERO, self._speeds * 0.05), (np.sin(phase), np.cos(phase))
        return np.concatenate([turning, down, self.command * (2, 2, 0.25), *joints, self._output, clock])

    def _control(self) -> np.ndarray:
        return ZERO + SCALE * self._output

    def _moves(self) -> tuple[np.ndarray, float]:
        return self._in_body(self.data.qvel[:3])[:2], float(self.data.qvel[5])

    def _fallen(self) -> bool:
        return bool(self.data.qpos[2] < 0.5)

    def _in_body(self, vector: np.ndarray) -> np.ndarray:
        """A vector of the world as the base sees it."""
        back, found = np.zeros(4), np.zeros(3)
        mujoco.mju_negQuat(back, self.data.qpos[3:7])
        mujoco.mju_rotVecQuat(found, vector, back)
        return found
