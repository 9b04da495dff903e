"""A policy whose source gives actions in other bounds than the environment's."""

import dataclasses

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import learner_in
from lilliput.policies.load.options import Options


def rebounded(checkpoint: Checkpoint, options: Options, name: str, *, moved: bool) -> Checkpoint:
    """The policy with the action bounds that were answered: its actions moved to them, or left as they are and clipped.

    The critic, which judged actions in the old bounds, is gone.

    Raises:
        LilliputError: choices, no bounds to move from or to, or no difference.
    """
    policy, space = checkpoint.policy, checkpoint.policy.action_space
    if not isinstance(space, spaces.Box):
        raise LilliputError(f"{name} gives choices, which have no bounds; leave --rescale-action away")
    option = "--rescale-action" if moved else "--no-rescale-action"
    lacks = f"gives actions in {spaces.describe(space)}, and {option} needs the bounds of the environment's actions"
    found, _ = options.action_space(space.size, name, lacks=lacks)
    low, high = (bound.reshape(space.shape) for bound in (found.low, found.high))
    if np.array_equal(low, space.low) and np.array_equal(high, space.high):
        raise LilliputError(
            f"{name} gives its actions in {spaces.describe(found)} already; leave --rescale-action away"
        )
    head: list[Layer]
    if moved:
        if not np.isfinite([space.low, space.high]).all() or not (space.low < space.high).all():
            raise LilliputError(
                f"{name} gives actions in {spaces.describe(space)}, which has no bounds to move them from; leave "
                "--rescale-action away"
            )
        scale = (high - low) / (space.high - space.low)
        head = network.rescale_head(scale, low - space.low * scale, name)
    else:
        scale = np.ones(space.shape)
        inside = (space.low >= low).all() and (space.high <= high).all()
        head = [] if inside else network.clip_head(spaces.Box(space.shape, low, high))
    box = spaces.Box(space.shape, low, high, space.dtype)
    made = dataclasses.replace(policy, action_space=box, layers=(*policy.layers, *head))
    return Checkpoint(made, learner_in(checkpoint.learner, scale))
