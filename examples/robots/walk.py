"""What the robots' environments share: commands, pushes, the return, pictures. What differs is in `go1.py`, `g1.py`."""

import copy
import itertools
import os
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

DECISION_S = 0.02
EPISODE_S = 10.0
COMMAND_S, PUSH_S = (1.5, 4.0), (1.0, 4.0)
"""How long a command holds, and how long until the next push."""
STANDING = 0.1
"""The share of commands that are to stand still."""


class Walk(gymnasium.Env[np.ndarray, np.ndarray], ABC):
    """A robot that is told how fast to walk and turn. A fall ends the episode; 10 s cut it.

    A second earns the mean over its decisions of exp(-|error of the planar velocity|^2 / 0.25) +
    0.5 exp(-(error of the yaw rate)^2 / 0.25): at most 1.5. Everything random follows from the seed of `reset`, and is
    drawn there, so that two policies meet the same commands and pushes.

    Args:
        push: the largest kick to the planar velocity of the base, in m/s; 0: none.
        noise: of the joint angles at the start, in rad.
        payload: carried by the base, in kg.
        render_mode: `rgb_array` or None.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(1 / DECISION_S)}  # type: ignore[misc]

    ROBOT: ClassVar[str]
    """Its folder."""
    COMMANDS: ClassVar[np.ndarray]
    """The lowest and the highest velocity forward and to the left in m/s, and yaw rate in rad/s: (2, 3)."""

    model: mujoco.MjModel
    data: mujoco.MjData

    def __init__(
        self, push: float = 0.5, noise: float = 0.05, payload: float = 0.0, render_mode: str | None = None
    ) -> None:
        self._push, self._noise, self.render_mode = push, noise, render_mode
        self.model = copy.copy(_model(self.ROBOT))  # a copy, since others may change masses and friction in it
        self.model.body_mass[1] += payload
        self.data = mujoco.MjData(self.model)
        self._angles, self._speeds = self.data.qpos[7:], self.data.qvel[6:]  # of the joints; views, so always today's
        self._physics_steps = round(DECISION_S / self.model.opt.timestep)
        self._decisions, self.command, self._output = 0, np.zeros(3), np.zeros(self.model.nu)
        self._start()
        n = len(self._observed())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (n,), np.float32)
        self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.model.nu,), np.float32)
        camera = {"type": 1, "trackbodyid": 1, "distance": 2.5, "elevation": -15.0, "azimuth": 120.0}
        seen = {int(mujoco.mjtVisFlag.mjVIS_INERTIA): True}  # bodies as boxes: the models have no meshes
        self.mujoco_renderer = MujocoRenderer(self.model, self.data, camera, 480, 360, visual_options=seen)

    @abstractmethod
    def _start(self) -> None:
        """Put the robot where an episode begins."""

    @abstractmethod
    def _observed(self) -> np.ndarray:
        """What the policy sees now; `self.command` and `self._output` are part of it."""

    @abstractmethod
    def _control(self) -> np.ndarray:
        """What the actuators are set to, from the policy's last output."""

    @abstractmethod
    def _moves(self) -> tuple[np.ndarray, float]:
        """The velocity forward and to the left, and the yaw rate."""

    @abstractmethod
    def _fallen(self) -> bool: ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The first observation of the episode of that seed."""
        super().reset(seed=seed)
        rng, n = self.np_random, round(EPISODE_S / DECISION_S)
        self._commands = np.zeros((n + 1, 3), np.float64)
        for begin, end in _spans(rng, n + 1, COMMAND_S):
            self._commands[begin:end] = 0 if rng.random() < STANDING else rng.uniform(*self.COMMANDS)
        angles = rng.uniform(-np.pi, np.pi, n + 1)
        kicks = self._push * rng.uniform(0, 1, n + 1)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._kicks = {end: kicks[end] for _, end in _spans(rng, n, PUSH_S) if end < n}
        mujoco.mj_resetData(self.model, self.data)
        self._start()
        self._angles += rng.uniform(-self._noise, self._noise, self.model.nu)
        mujoco.mj_forward(self.model, self.data)
        self._decisions, self.command, self._output = 0, self._commands[0], np.zeros(self.model.nu)
        return self._observed().astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One decision."""
        self._output = np.asarray(action, np.float64)
        self.data.qvel[:2] += self._kicks.get(self._decisions, 0.0)
        self.data.ctrl[:] = self._control()
        mujoco.mj_step(self.model, self.data, self._physics_steps)
        planar, yaw = self._moves()
        off = float(np.sum((self.command[:2] - planar) ** 2)), float((self.command[2] - yaw) ** 2)
        reward = DECISION_S * float(np.exp(-off[0] / 0.25) + 0.5 * np.exp(-off[1] / 0.25))
        info = {"command": self.command, "velocity": np.array([*planar, yaw])}
        self._decisions += 1
        self.command = self._commands[self._decisions]
        over = self._decisions * DECISION_S >= EPISODE_S - 1e-9
        return self._observed().astype(np.float32), reward, self._fallen(), over, info

    def render(self) -> np.ndarray:  # type: ignore[override]
        """A picture."""
        return self.mujoco_renderer.render(self.render_mode)  # type: ignore[return-value]

    def close(self) -> None:
        """Let the window of the pictures go."""
        self.mujoco_renderer.close()


def _spans(rng: np.random.Generator, n: int, seconds: tuple[float, float]) -> list[tuple[int, int]]:
    """Numbers of decisions from 0 to n, cut where so many seconds are over."""
    ends = [0]
    while ends[-1] < n:
        ends.append(min(n, ends[-1] + round(rng.uniform(*seconds) / DECISION_S)))
    return list(itertools.pairwise(ends))


@lru_cache
def _model(robot: str) -> mujoco.MjModel:
    folder = os.environ.get("LILLIPUT_ROBOTS")
    if not folder:
        raise FileNotFoundError("LILLIPUT_ROBOTS is not set; it names the folder of the robots' models")
    return mujoco.MjModel.from_xml_path(str(Path(folder) / robot / "scene.xml"))
