"""Statistics of single observations under a frame stack: VecFrameStack around VecNormalize, as rl-zoo builds it.

What is stacked there is normalized, and the frames before an episode's start are zeros behind the normalizer. So the
stack is the policy's own memory, between normalizer and network, and no wrapper of the environment.
"""

import dataclasses
from collections.abc import Sequence

from lilliput.policies import layers, spaces
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play.wrappers import FrameStack, parse_wrappers

INSIDE = "its statistics are of one observation: the last {} are stacked inside the policy, behind the normalizer"


def frame_of(space: spaces.ObservationSpace, wrappers: Sequence[str]) -> spaces.Box | None:
    """The space of one of the vectors that the last of the wrappers stacks; None where it stacks none."""
    match list(parse_wrappers(wrappers))[-1:], space:
        case [FrameStack(n_stack=n)], spaces.Box(shape=(size,)) if n > 1 and size % n == 0:
            low, high = (bound[-(size // n) :] for bound in (space.low, space.high))
            return spaces.Box((size // n,), low, high, space.dtype)
        case _:
            return None


def stacked_inside(checkpoint: Checkpoint, frame: spaces.Box) -> Checkpoint:
    """The policy of single observations that remembers the last ones; its critic, which judged stacks, is gone."""
    policy = checkpoint.policy
    n = spaces.input_shape(policy.observation_space)[0] // frame.size
    guesses = (*policy.provenance.guesses, INSIDE.format(n))
    made = dataclasses.replace(
        policy,
        observation_space=frame,
        layers=(layers.History(n), *policy.layers),
        provenance=dataclasses.replace(policy.provenance, guesses=guesses),
    )
    return Checkpoint(made, dataclasses.replace(checkpoint.learner, critic=()))
