"""The policy's own last action in its observation: remembered by the policy itself, and taken apart again.

An environment goes on giving it where it always stood, and nothing there is read. So what a policy behind that memory
sees is the observation as it is, and whatever is done to policies can be done to that one.
"""

import dataclasses

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, replace_layers


def remembering(policy: Policy, start: int, stop: int, told_by: str = "") -> Policy:
    """The policy that remembers what stands in its observation from number `start` to before `stop`: its last action,
    or its last ones, the oldest first; `told_by` is what says so.

    Raises:
        LilliputError: they do not stand there, or the policy's contract has moved the action away from them.
    """
    where = f"the last action at {start}:{stop}"
    shape = spaces.input_shape(policy.observation_space)
    if not isinstance(policy.action_space, spaces.Box):
        raise LilliputError(f"{where}: the policy gives choices; only real actions are remembered")
    if any(isinstance(layer, layers.PreviousAction) for layer in policy.layers):
        raise LilliputError(f"{where}: the policy remembers its last action already")
    n, size = policy.action_space.size, stop - start
    if len(shape) != 1 or spaces.input_dtype(policy.observation_space) != "float32":
        raise LilliputError(f"{where}: the observation is an image or bytes, not a vector of real numbers")
    if not 0 <= start < stop <= shape[0] or size % n or size == shape[0] or shape[0] > 1 << 16:
        raise LilliputError(
            f"{where}: there must be {n} numbers, an action, or a multiple of them, and not all of the observation's "
            f"{shape[0]} (counted from 0, the second not included)"
        )
    read = np.delete(np.arange(shape[0]), np.s_[start:stop]).astype(np.uint16)
    which = "" if size == n else f"s, {size // n} steps"
    said = (
        f"numbers {start} to {stop - 1} of the observation are taken for the policy's last action{which}"
        f"{f' ({told_by})' if told_by else ''}, which it remembers itself: what is given there is not read"
    )
    provenance = dataclasses.replace(policy.provenance, guesses=(*policy.provenance.guesses, said))
    front = layers.SelectInputs(read), layers.PreviousAction(start, n, size // n)
    return dataclasses.replace(policy, layers=(*front, *policy.layers), provenance=provenance)


def apart(policy: Policy) -> tuple[tuple[Layer, ...], Policy]:
    """The layers by which `remembering` put the last action into the observation, and the policy behind them; no
    layers and the policy itself where it has none.
    """
    match policy.layers:
        case (layers.SelectInputs(indices=indices), layers.PreviousAction(start=start, size=size), *behind):
            (n,) = spaces.input_shape(policy.observation_space)
            if np.array_equal(indices, np.delete(np.arange(n), np.s_[start : start + size])):
                return policy.layers[:2], replace_layers(policy, tuple(behind))
        case _:
            pass
    return (), policy


def together(front: tuple[Layer, ...], policy: Policy) -> Policy:
    """The policy behind those layers: the inverse of `apart`."""
    return replace_layers(policy, (*front, *policy.layers)) if front else policy
