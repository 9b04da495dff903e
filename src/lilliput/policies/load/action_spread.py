"""The spread of actions that a training leaves beside a policy, and what is left of it where actions are scaled."""

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.load.network import State
from lilliput.policies.policy import Policy


def action_std(state: State, key: str, action_space: spaces.ActionSpace) -> tuple[float, ...]:
    """The spread of the actions whose logarithm is there, if it is one number an action for all states."""
    if key not in state or not isinstance(action_space, spaces.Box) or state[key].size != action_space.size:
        return ()
    std = np.exp(state[key].astype(np.float64).reshape(-1))
    return tuple(map(float, std)) if (std > 0).all() and np.isfinite(std).all() else ()


def with_std(policy: Policy, state: State, key: str, *, moved: bool = False) -> Checkpoint:
    """The policy and the spread of its actions whose logarithm is there; `moved`: from [-1, 1] to the bounds."""
    space = policy.action_space
    check_std(state, key, space, policy.provenance.framework)
    spread = action_std(state, key, space)
    if spread and moved and isinstance(space, spaces.Box) and np.isfinite([space.low, space.high]).all():
        spread = tuple(map(float, np.asarray(spread) * (space.high - space.low).reshape(-1) / 2))
    return Checkpoint(policy, Learner(action_std=spread))


def learner_in(learner: Learner, scale: np.ndarray) -> Learner:
    """What is left of the learner where actions are scaled so: their spread; the critic judged the old ones."""
    spread = np.asarray(learner.action_std) * np.abs(scale).reshape(-1) if learner.action_std else ()
    return Learner(action_std=tuple(map(float, spread)))


def check_std(state: State, key: str, action_space: spaces.ActionSpace, name: str) -> None:
    """Check that the spread of the actions has one number, or one an action.

    Raises:
        LilliputError: it has others: spread and network are not of one policy.
    """
    if key in state and isinstance(action_space, spaces.Box) and state[key].size not in (1, action_space.size):
        raise LilliputError(
            f"{name}: {key[:60]} has {state[key].size} numbers for {action_space.size} actions; they must agree"
        )
