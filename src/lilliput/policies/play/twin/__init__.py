"""Batched twins of Gymnasium's MuJoCo tasks: the same episodes to the last bit, many at once, in half of the time."""

import dataclasses
import functools
import json
import warnings
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.play.environment import EnvironmentSpec, entry_point_of
from lilliput.policies.play.failure import RAISED, versions_of
from lilliput.policies.play.twin.lanes import TwinLanes, Unlike
from lilliput.policies.play.twin.simulations import OLDEST
from lilliput.policies.play.twin.tasks import TASKS, TwinTask

if TYPE_CHECKING:
    import gymnasium

_PLACE = "gymnasium.envs.mujoco."
_EPISODES, _STEPS = 3, 24
"""That are compared before a twin is used: a version that adds in another order shows in any step."""
_COMPARED = ("observations", "rewards", "ends")
_CALLBACKS = ("act_bias", "act_dyn", "act_gain", "contactfilter", "control", "passive", "sensor", "time")


def twin_of(spec: EnvironmentSpec, n: int, deadline: float | None = None) -> TwinLanes | None:
    """So many lanes of the environment's twin; None where it has none, or where that gave another bit than itself.

    Raises:
        LilliputError: the environment cannot be made.
    """
    return _lanes(spec, n, deadline) if has_twin(spec) else None


def has_twin(spec: EnvironmentSpec) -> bool:
    """Whether there is one."""
    return _task(spec) is not None and _agrees(spec)


def _task(spec: EnvironmentSpec) -> TwinTask | None:
    entry_point = entry_point_of(spec.id)
    if not isinstance(entry_point, str) or not entry_point.startswith(_PLACE):
        return None
    return TASKS.get(entry_point.removeprefix(_PLACE)) if _can_simulate() else None


@functools.cache
def _can_simulate() -> bool:
    try:
        version = metadata.version("mujoco")
    except metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= OLDEST


_agreed: dict[tuple[object, ...], bool] = {}


def _agrees(spec: EnvironmentSpec) -> bool:
    """Whether the twin's first steps are the environment's; said once where they are not."""
    key = (spec.id, spec.wrappers, json.dumps(dict(spec.kwargs), sort_keys=True, default=repr))
    if key not in _agreed:
        _agreed[key] = _compared(dataclasses.replace(spec, max_steps=None))
    return _agreed[key]


def _compared(spec: EnvironmentSpec) -> bool:
    lanes = _lanes(spec, _EPISODES, None)
    if lanes is None:
        return False
    from gymnasium.spaces import Box

    real = spec.make()
    space, rng = real.action_space, np.random.default_rng(0)
    assert isinstance(space, Box)
    low, high = np.maximum(space.low, -1e3), np.minimum(space.high, 1e3)
    actions = rng.uniform(low, high, (_STEPS, _EPISODES, *space.shape)).astype(space.dtype)
    try:
        ours = _twins_episodes(lanes, actions)
        theirs = [_episode(real, seed, actions[: len(one) - 1, seed]) for seed, one in enumerate(ours)]
    except LilliputError:  # the player will say it
        return False
    finally:
        lanes.close()
        real.close()
    different = next((name for k, name in enumerate(_COMPARED) if _part(ours, k) != _part(theirs, k)), "")
    if different:
        under = ", ".join(f"{name} {version}" for name, version in versions_of(real).items())
        warnings.warn(
            f"{spec.id}: episodes are played one by one, in twice the time: the {different} of its batched twin "
            f"differ from the environment's under {under}, numpy {np.__version__}",
            RuntimeWarning,
            stacklevel=2,
        )
    return not different


_Step = tuple[bytes, float, bool]
"""What is observed, what was paid for it, and whether it ends."""


def _part(episodes: list[list[_Step]], k: int) -> list[list[Any]]:
    return [[step[k] for step in episode] for episode in episodes]


def _twins_episodes(lanes: TwinLanes, actions: np.ndarray) -> list[list[_Step]]:
    """An episode a lane, whose seed is its number."""
    lanes.begin(range(len(lanes)), range(len(lanes)))
    found: list[list[_Step]] = [[(row.tobytes(), 0.0, False)] for row in lanes.seen]
    for some in actions:
        going = np.flatnonzero(~lanes.over)
        if not len(going):
            break
        lanes.step(going, some[going])
        for row, lane in enumerate(going.tolist()):
            found[lane].append((lanes.seen[row].tobytes(), float(lanes.rewards[row]), bool(lanes.terminated[lane])))
    return found


def _episode(environment: "gymnasium.Env", seed: int, actions: np.ndarray) -> list[_Step]:
    """The same from the environment itself."""
    try:
        observation, _ = environment.reset(seed=seed)
        found: list[_Step] = [(observation.tobytes(), 0.0, False)]
        for action in actions:
            observation, reward, terminated, _, _ = environment.step(action)
            found.append((observation.tobytes(), float(reward), bool(terminated)))
    except RAISED as error:
        raise LilliputError(str(error)) from error
    return found


def _lanes(spec: EnvironmentSpec, n: int, deadline: float | None) -> TwinLanes | None:
    """The twin's lanes, where what is made is exactly what its task describes."""
    task, made = _task(spec), spec.make()
    kind = type(made.unwrapped)
    exact = f"{kind.__module__}:{kind.__qualname__}" == entry_point_of(spec.id) and made.unwrapped.render_mode is None
    if task is not None and exact and not _has_callbacks():
        try:
            return TwinLanes(spec.id, made, task, n, max_steps=spec.max_steps, deadline=deadline)
        except Unlike:
            pass
    made.close()
    return None


def _has_callbacks() -> bool:
    """Whether somebody changes MuJoCo itself, by functions of Python."""
    import mujoco

    return any(getattr(mujoco, f"get_mjcb_{name}")() is not None for name in _CALLBACKS)
