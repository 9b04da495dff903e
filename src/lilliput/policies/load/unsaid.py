"""What no file of weights holds, whatever its layout: what its program does before the first layer and behind the last.

Here alone is it said, so that a layout that is added says it too.
"""

from lilliput.policies import layers, spaces
from lilliput.policies.load.actor import convention
from lilliput.policies.load.options import ACTIONS
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy

_NO_STATISTICS = (
    "observation statistics, scaling and clipping are not in the file: taken as none, the observation as it is "
    "(--normalizer gives statistics)"
)
_BEYOND_STATISTICS = (
    "what is done to the observation before the normalizer that the file holds is not in it: taken as nothing"
)


def unsaid_of_observation(policy: Policy, program: str = "") -> tuple[str, ...]:
    """The sentence on what may come before the first layer; of images the reader says how they are prepared.

    `program` says what the layout's own program is known to do there.
    """
    if len(spaces.input_shape(policy.observation_space)) > 1:
        return ()
    if any(isinstance(layer, layers.Standardize) for layer in policy.layers[:1]):
        return (_BEYOND_STATISTICS,)
    return (f"{_NO_STATISTICS}{f'; {program}' if program else ''}",)


def unsaid_of_action(policy: Policy, source: Source, whose: str) -> tuple[str, ...]:
    """The sentence on what stands behind the last layer, as in `whose` program; none where the user said it."""
    if source.options.action is not None:
        return ()
    kinds = {type(layer) for layer in policy.layers}
    if layers.ArgmaxAction in kinds:
        how = f"discrete ({ACTIONS['discrete']})"
    elif layers.SquashAction in kinds:
        how = f"tanh ({ACTIONS['tanh']})"
    elif layers.HardTanh in kinds:
        how = "clipped to [-1, 1] and moved to the bounds of the action"
    else:
        how = f"continuous ({ACTIONS['continuous']})"
    return (convention("how the outputs become an action", how, whose),)
