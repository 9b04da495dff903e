"""What a checkpoint tells of how its policy was learned: it teaches, and is no part of the policy or its digest."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, numbers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, Provenance


@final
@dataclass(frozen=True, eq=False)
class Learner:
    """What the checkpoint has of it; most have nothing.

    Attributes:
        critic: what is expected to be gained from a raw observation and, behind it, an action as the environment takes
            it.
        action_std: the standard deviation with which each action was drawn in training, where it is the same in all
            states.
    """

    critic: tuple[Layer, ...] = ()
    action_std: tuple[float, ...] = ()


NOTHING = Learner()


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a loader gives: the policy, and what teaches students of it.

    Raises:
        LilliputError: the learner is not of the policy's observations and actions.
    """

    policy: Policy
    learner: Learner = NOTHING

    def __post_init__(self) -> None:
        _check(self.policy, self.learner)

    @property
    def digest(self) -> str:
        """That of the policy."""
        return self.policy.digest

    @property
    def provenance(self) -> Provenance:
        """Where the policy came from and what was done to it."""
        return self.policy.provenance


def checkpoint_of(subject: Policy | Checkpoint) -> Checkpoint:
    """The subject; a policy alone is one that nothing is known of its learner."""
    return subject if isinstance(subject, Checkpoint) else Checkpoint(subject)


def _check(policy: Policy, learner: Learner) -> None:
    actions, spread = policy.action_space, learner.action_std
    if spread and not (isinstance(actions, spaces.Box) and len(spread) == actions.size and _positive(spread)):
        raise LilliputError("action_std must be a positive number for every action")
    if learner.critic:
        try:
            _check_critic(policy, learner.critic)
        except LilliputError as error:
            raise LilliputError(f"critic: {error}") from None


def _positive(spread: tuple[float, ...]) -> bool:
    return all(0 < one < np.inf for one in spread)


def _check_critic(policy: Policy, critic: tuple[Layer, ...]) -> None:
    shape, actions = spaces.input_shape(policy.observation_space), policy.action_space
    if len(shape) != 1 or not isinstance(actions, spaces.Box) or not np.isfinite([actions.low, actions.high]).all():
        raise LilliputError("a critic judges an array of bounded actions on a vector of observations")
    if any(isinstance(layer, layers.Memory) for layer in critic):
        raise LilliputError("a critic with a memory is not supported")
    output = layers.output_shapes(critic, (shape[0] + actions.size,))[-1]
    if output != (1,):
        raise LilliputError(f"it gives {list(output)}; a critic gives one number")
    numbers.check_finite(critic)
