"""Gymnasium's MuJoCo tasks as data: how an episode begins, what is seen, what is paid, when it ends.

Every formula is Gymnasium's, for many simulations at once, down to the last bit: the order of sums, the kind of every
number (a cost of float32 actions is a float32), and where a power is not a product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float, Float64

from lilliput.policies.play.twin.scene import Scene

Start = tuple[Float64[np.ndarray, " nq"], Float64[np.ndarray, " nv"]]
"""Positions and velocities."""


@final
@dataclass(frozen=True)
class TwinTask:
    """One of Gymnasium's environment classes.

    Attributes:
        start: how an episode begins, from the environment and its random generator.
        see: the parts of an observation, one behind the other.
        pay: the reward of a step.
        ends: where the task ended.
        mark: what is compared before and after a step.
        fields: of `MjData`, beside the state, that the others look at.
        forces: whether they look at the forces between bodies.
    """

    start: Callable[[Any, np.random.Generator], Start]
    see: Callable[[Scene], Sequence[Float64[np.ndarray, "n k"]]]
    pay: Callable[[Scene], Float[np.ndarray, " n"]]
    ends: Callable[[Scene], Bool[np.ndarray, " n"]] = Scene.none
    mark: Callable[[Scene], np.ndarray] | None = None
    fields: tuple[str, ...] = ()
    forces: Callable[[Any], bool] = field(default=lambda env: False)


# How an episode begins.


def _uniform(env: Any, rng: np.random.Generator, *, scale: float | None = None) -> Start:
    scale = float(env._reset_noise_scale) if scale is None else scale
    positions = env.init_qpos + rng.uniform(low=-scale, high=scale, size=env.model.nq)
    return positions, env.init_qvel + rng.uniform(low=-scale, high=scale, size=env.model.nv)


def _normal(env: Any, rng: np.random.Generator, *, scale: float | None = None) -> Start:
    scale = float(env._reset_noise_scale) if scale is None else scale
    positions = env.init_qpos + rng.uniform(low=-scale, high=scale, size=env.model.nq)
    return positions, env.init_qvel + scale * rng.standard_normal(env.model.nv)


def _reacher_start(env: Any, rng: np.random.Generator) -> Start:
    positions = rng.uniform(low=-0.1, high=0.1, size=env.model.nq) + env.init_qpos
    goal = rng.uniform(low=-0.2, high=0.2, size=2)
    while not np.linalg.norm(goal) < 0.2:
        goal = rng.uniform(low=-0.2, high=0.2, size=2)
    positions[-2:] = goal
    velocities = env.init_qvel + rng.uniform(low=-0.005, high=0.005, size=env.model.nv)
    velocities[-2:] = 0
    return positions, velocities


def _pusher_start(env: Any, rng: np.random.Generator) -> Start:
    positions, at = env.init_qpos.copy(), np.zeros(2)
    while not np.linalg.norm(at) > 0.17:
        at = np.concatenate([rng.uniform(low=-0.3, high=0, size=1), rng.uniform(low=-0.2, high=0.2, size=1)])
    positions[-4:-2], positions[-2:] = at, 0
    velocities = env.init_qvel + rng.uniform(low=-0.005, high=0.005, size=env.model.nv)
    velocities[-4:] = 0
    return positions, velocities


# What is seen.


def _joints(scene: Scene, *, hidden: int = 0, most: float = np.inf) -> list[np.ndarray]:
    """Positions without the first ones, which tell where the robot is, and velocities up to that size."""
    first = hidden if hidden and scene.env._exclude_current_positions_from_observation else 0
    velocities = scene["qvel"] if most == np.inf else np.clip(scene["qvel"], -most, most)
    return [scene["qpos"][:, first:], velocities]


def _ant_4(scene: Scene) -> list[np.ndarray]:
    forces = [scene.told(_felt)] if scene.env._use_contact_forces else []
    return [*_joints(scene, hidden=2), *forces]


def _ant_5(scene: Scene) -> list[np.ndarray]:
    forces = [scene.told(_felt)[:, 6:]] if scene.env._include_cfrc_ext_in_observation else []
    return [*_joints(scene, hidden=2), *forces]


_BODIES = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")


def _humanoid_4(scene: Scene) -> list[np.ndarray]:
    return [*_joints(scene, hidden=2), *(scene.flat(name) for name in _BODIES)]


def _standup_4(scene: Scene) -> list[np.ndarray]:
    return [scene["qpos"][:, 2:], scene["qvel"], *(scene.flat(name) for name in _BODIES)]


def _humanoid_5(scene: Scene) -> list[np.ndarray]:
    shown = [name for name in _BODIES if getattr(scene.env, f"_include_{name}_in_observation") is True]
    # Without the world's numbers, and the actuators' without those of the free joint.
    parts = [scene.flat(name, 6 if name == "qfrc_actuator" else 1) for name in shown]
    return [*_joints(scene, hidden=2), *parts]


def _poles(scene: Scene, *, constraints: int | None = None) -> list[np.ndarray]:
    angles = scene["qpos"][:, 1:].copy()
    pushes = np.clip(scene["qfrc_constraint"], -10, 10)[:, :constraints]
    return [scene["qpos"][:, :1], np.sin(angles), np.cos(angles), np.clip(scene["qvel"], -10, 10), pushes]


def _reacher(scene: Scene, *, axes: int = 3) -> list[np.ndarray]:
    angles = scene["qpos"][:, :2].copy()
    rest = [scene["qpos"][:, 2:], scene["qvel"][:, :2], _miss(scene)[:, :axes]]
    return [np.cos(angles), np.sin(angles), *rest]


def _pusher(scene: Scene) -> list[np.ndarray]:
    bodies = [scene.body(name) for name in ("tips_arm", "object", "goal")]
    return [scene["qpos"][:, :7], scene["qvel"][:, :7], *bodies]


# What steps are measured from.


def _root(scene: Scene) -> Float64[np.ndarray, " n"]:
    return scene["qpos"][:, 0]


def _torso(scene: Scene) -> Float64[np.ndarray, " n"]:
    return scene.body(getattr(scene.env, "_main_body", "torso"))[:, 0]


def _mass(scene: Scene) -> Float64[np.ndarray, " n"]:
    masses = scene.env.model.body_mass
    return (np.einsum("b,lbj->lj", masses, scene["xipos"]) / masses.sum())[:, 0]


def _miss(scene: Scene) -> Float64[np.ndarray, "n 3"]:
    return scene.body("fingertip") - scene.body("target")


# What is paid.


def _sums(squares: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """What `np.sum` gives of each row alone: it adds along a row in the same order."""
    return np.sum(squares.reshape(len(squares), -1), axis=1)


def _norms(vectors: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    """What `np.linalg.norm` gives of each row alone: the root of BLAS's product."""
    vectors = np.ascontiguousarray(vectors)
    return np.sqrt(np.vecdot(vectors, vectors))


def _squares(numbers: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """What `x**2` gives of a number: the C library's `pow`, which now and then differs from x * x in the last bit."""
    return np.array([number**2 for number in numbers.tolist()])


def _felt(scene: Scene) -> Float64[np.ndarray, "n k"]:
    """Ant's contact forces."""
    low, high = scene.env._contact_force_range
    return np.clip(scene.flat("cfrc_ext"), low, high)


def _effort(scene: Scene, name: str = "action") -> Float[np.ndarray, " n"]:
    done = scene.action if name == "action" else scene["ctrl"]
    return scene.env._ctrl_cost_weight * _sums(np.square(done))


def _ant_touch(scene: Scene) -> Float64[np.ndarray, " n"]:
    return scene.env._contact_cost_weight * _sums(np.square(scene.told(_felt)))


def _humanoid_touch(scene: Scene) -> Float64[np.ndarray, " n"]:
    cost = scene.env._contact_cost_weight * _sums(np.square(scene["cfrc_ext"]))
    low, high = scene.env._contact_cost_range
    return np.clip(cost, low, high)


def _running(
    scene: Scene,
    *,
    healthy: Callable[[Scene], Bool[np.ndarray, " n"]] | None = None,
    while_it_lasts: bool = False,
    effort: str = "action",
    touch: Callable[[Scene], np.ndarray] | None = None,
) -> Float[np.ndarray, " n"]:
    """The way made, and being healthy, less what it took.

    Args:
        scene: after the step.
        healthy: where it is; None: that is not paid.
        while_it_lasts: whether the unhealthy are paid as well where being so ends the episode (v4).
        effort: whether the action costs, or the control that it became.
        touch: what contacts cost.
    """
    env = scene.env
    reward = (scene.after - scene.before) / env.dt
    weight = getattr(env, "_forward_reward_weight", None)
    if weight is not None:
        reward = weight * reward
    if healthy is not None:
        paid = scene.told(healthy)
        if while_it_lasts:
            paid = (paid | bool(env._terminate_when_unhealthy)).astype(np.float64)
        reward = reward + paid * env._healthy_reward
    cost = _effort(scene, effort)
    return reward - (cost if touch is None else cost + touch(scene))


def _ant_4_pay(scene: Scene) -> Float[np.ndarray, " n"]:
    touch = _ant_touch if scene.env._use_contact_forces else None
    return _running(scene, healthy=_ant_healthy, while_it_lasts=True, touch=touch)


def _standup_pay(scene: Scene) -> Float64[np.ndarray, " n"]:
    """The height, less what it took."""
    env = scene.env
    height = (scene["qpos"][:, 2] - 0) / env.model.opt.timestep
    effort = getattr(env, "_ctrl_cost_weight", 0.1) * _sums(np.square(scene["ctrl"]))
    impact = getattr(env, "_impact_cost_weight", 0.5e-6) * _sums(np.square(scene["cfrc_ext"]))
    low, high = getattr(env, "_impact_cost_range", (-np.inf, 10))
    return height - effort - np.clip(impact, low, high) + 1


def _poles_pay(scene: Scene) -> Float64[np.ndarray, " n"]:
    tip, velocities = scene["site_xpos"][:, 0], scene["qvel"]
    distance = 0.01 * _squares(tip[:, 0]) + _squares(tip[:, 2] - 2)
    speed = 1e-3 * _squares(velocities[:, 1]) + 5e-3 * _squares(velocities[:, 2])
    bonus = getattr(scene.env, "_healthy_reward", None)
    alive = 10 if bonus is None else bonus * (~scene.told(_poles_end)).astype(np.int64)
    return alive - distance - speed


def _reacher_pay(scene: Scene, *, before: bool = False) -> Float64[np.ndarray, " n"]:
    """How close it is, or was before the step (v4), less the effort."""
    env = scene.env
    distance = -_norms(scene.before if before else _miss(scene)) * getattr(env, "_reward_dist_weight", 1)
    return distance + -_sums(np.square(scene.action)) * getattr(env, "_reward_control_weight", 1)


def _pusher_pay(scene: Scene) -> Float64[np.ndarray, " n"]:
    env, thing = scene.env, scene.body("object")
    near = -_norms(thing - scene.body("tips_arm")) * env._reward_near_weight
    distance = -_norms(thing - scene.body("goal")) * env._reward_dist_weight
    return distance + -_sums(np.square(scene.action)) * env._reward_control_weight + near


# Where the task ends.


def _fallen(scene: Scene, *, healthy: Callable[[Scene], Bool[np.ndarray, " n"]]) -> Bool[np.ndarray, " n"]:
    return ~scene.told(healthy) if scene.env._terminate_when_unhealthy else scene.none()


def _between(numbers: Float64[np.ndarray, " n"], ends: tuple[float, float]) -> Bool[np.ndarray, " n"]:
    low, high = ends
    return (low < numbers) & (numbers < high)


def _hopper_healthy(scene: Scene) -> Bool[np.ndarray, " n"]:
    env, positions = scene.env, scene["qpos"]
    low, high = env._healthy_state_range
    state = np.concatenate([positions, scene["qvel"]], axis=1)[:, 2:]
    inside = np.logical_and(low < state, state < high).all(axis=1)
    upright = _between(positions[:, 2], env._healthy_angle_range)
    return inside & _between(positions[:, 1], env._healthy_z_range) & upright


def _walker_healthy(scene: Scene) -> Bool[np.ndarray, " n"]:
    env, positions = scene.env, scene["qpos"]
    return _between(positions[:, 1], env._healthy_z_range) & _between(positions[:, 2], env._healthy_angle_range)


def _ant_healthy(scene: Scene) -> Bool[np.ndarray, " n"]:
    (low, high), height = scene.env._healthy_z_range, scene["qpos"][:, 2]
    finite = np.isfinite(scene["qpos"]).all(axis=1) & np.isfinite(scene["qvel"]).all(axis=1)
    return finite & (low <= height) & (height <= high)


def _humanoid_healthy(scene: Scene) -> Bool[np.ndarray, " n"]:
    return _between(scene["qpos"][:, 2], scene.env._healthy_z_range)


def _pole_ends(scene: Scene) -> Bool[np.ndarray, " n"]:
    finite = np.isfinite(scene["qpos"]).all(axis=1) & np.isfinite(scene["qvel"]).all(axis=1)
    return ~finite | (np.abs(scene["qpos"][:, 1]) > 0.2)


def _poles_end(scene: Scene) -> Bool[np.ndarray, " n"]:
    return scene["site_xpos"][:, 0, 2] <= 1


def _pole_pay(scene: Scene, *, always: bool) -> Float64[np.ndarray, " n"]:
    return np.ones(len(scene)) if always else (~scene.told(_pole_ends)).astype(np.float64)


# The table.


def _two_legs(healthy: Callable[[Scene], Bool[np.ndarray, " n"]], version: int) -> TwinTask:
    pay = partial(_running, healthy=healthy, while_it_lasts=version == 4)
    see = partial(_joints, hidden=1, most=10.0)
    return TwinTask(_uniform, see, pay, partial(_fallen, healthy=healthy), _root)


def _ant(version: int) -> TwinTask:
    if version == 4:
        pay, see, forces = _ant_4_pay, _ant_4, lambda env: bool(env._use_contact_forces)
    else:
        pay, see, forces = partial(_running, healthy=_ant_healthy, touch=_ant_touch), _ant_5, _always
    return TwinTask(_normal, see, pay, partial(_fallen, healthy=_ant_healthy), _torso, ("xpos",), forces)


def _humanoid(version: int) -> TwinTask:
    pay = partial(
        _running,
        healthy=_humanoid_healthy,
        while_it_lasts=version == 4,
        effort="ctrl",
        touch=None if version == 4 else _humanoid_touch,
    )
    see = _humanoid_4 if version == 4 else _humanoid_5
    ends = partial(_fallen, healthy=_humanoid_healthy)
    return TwinTask(_uniform, see, pay, ends, _mass, ("xipos", *_BODIES[:3]), _always)


def _always(env: Any) -> bool:
    return True


_CHEETAH = TwinTask(_normal, partial(_joints, hidden=1), _running, mark=_root)
_SWIMMER = TwinTask(_uniform, partial(_joints, hidden=2), _running, mark=_root)
_POLES = ("qfrc_constraint", "site_xpos")

TASKS = {
    "ant_v4:AntEnv": _ant(4),
    "ant_v5:AntEnv": _ant(5),
    "half_cheetah_v4:HalfCheetahEnv": _CHEETAH,
    "half_cheetah_v5:HalfCheetahEnv": _CHEETAH,
    "hopper_v4:HopperEnv": _two_legs(_hopper_healthy, 4),
    "hopper_v5:HopperEnv": _two_legs(_hopper_healthy, 5),
    "humanoid_v4:HumanoidEnv": _humanoid(4),
    "humanoid_v5:HumanoidEnv": _humanoid(5),
    "humanoidstandup_v4:HumanoidStandupEnv": TwinTask(
        partial(_uniform, scale=0.01), _standup_4, _standup_pay, fields=_BODIES[:3], forces=_always
    ),
    "humanoidstandup_v5:HumanoidStandupEnv": TwinTask(
        _uniform, _humanoid_5, _standup_pay, fields=_BODIES[:3], forces=_always
    ),
    "inverted_double_pendulum_v4:InvertedDoublePendulumEnv": TwinTask(
        partial(_normal, scale=0.1), _poles, _poles_pay, _poles_end, fields=_POLES
    ),
    "inverted_double_pendulum_v5:InvertedDoublePendulumEnv": TwinTask(
        _normal, partial(_poles, constraints=1), _poles_pay, _poles_end, fields=_POLES
    ),
    "inverted_pendulum_v4:InvertedPendulumEnv": TwinTask(
        partial(_uniform, scale=0.01), _joints, partial(_pole_pay, always=True), _pole_ends
    ),
    "inverted_pendulum_v5:InvertedPendulumEnv": TwinTask(
        _uniform, _joints, partial(_pole_pay, always=False), _pole_ends
    ),
    "pusher_v5:PusherEnv": TwinTask(_pusher_start, _pusher, _pusher_pay, fields=("xpos",)),
    "reacher_v4:ReacherEnv": TwinTask(
        _reacher_start, _reacher, partial(_reacher_pay, before=True), mark=_miss, fields=("xpos",)
    ),
    "reacher_v5:ReacherEnv": TwinTask(_reacher_start, partial(_reacher, axes=2), _reacher_pay, fields=("xpos",)),
    "swimmer_v4:SwimmerEnv": _SWIMMER,
    "swimmer_v5:SwimmerEnv": _SWIMMER,
    "walker2d_v4:Walker2dEnv": _two_legs(_walker_healthy, 4),
    "walker2d_v5:Walker2dEnv": _two_legs(_walker_healthy, 5),
}
"""By class, in `gymnasium.envs.mujoco`. Pusher-v4 does not run on MuJoCo 3 or newer."""
