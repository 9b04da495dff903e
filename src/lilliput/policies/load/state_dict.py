"""Files of torch.save: by the one layout that has all of their keys, or by the classes of a module; or refused."""

import dataclasses
import re
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load import chains, cleanrl, own_network, rsl_rl, simulators, tianshou
from lilliput.policies.load.answers import ACTIVATIONS
from lilliput.policies.load.ikostrikov import is_ikostrikov, read_ikostrikov
from lilliput.policies.load.layout import WAY_OUT, Layout, recognise, refusal
from lilliput.policies.load.pickled_module import is_torch, read_sequential
from lilliput.policies.load.saved import Saved, saved
from lilliput.policies.load.source import Source
from lilliput.policies.load.spinning_up import is_spinning_up, read_spinning_up
from lilliput.policies.load.torch_file import read_torch
from lilliput.policies.policy import Policy

LAYOUTS: Final[tuple[Layout, ...]] = (
    *cleanrl.LAYOUTS,
    *chains.LAYOUTS,
    *rsl_rl.LAYOUTS,
    *simulators.LAYOUTS,
    *tianshou.LAYOUTS,
)
"""The layouts, in the order in which they are tried; docs/formats.md lists them."""

TORCH_EPSILON = 1e-5
_STATISTICS = re.compile(r"(?i)obs|state|norm|rms|mean|std|var")
_NORMALIZED = re.compile(r"(?i)norm\w*(obs|state|input)|(obs|state|input)\w*norm")
_LIMIT = re.compile(r"(?i)max_action|act(ion)?_limit|action_(scale|bound|high|max)|max_torque")


def read_state_dict(source: Source) -> Policy:
    """The deterministic policy in a file of torch.save.

    Raises:
        LilliputError: damaged, of no layout that is known, or silent on something that the user has to say.
    """
    found = saved(read_torch(source.data, source.name), source.name)
    if found.module is not None:
        policy = _read_module(found, source)
        _check_values(found, policy, source)
        return policy
    if rsl_rl.is_of_two_numbers(found):
        return rsl_rl.refuse_two_numbers(found, source)
    layout = recognise(found, LAYOUTS)
    if layout is not None:
        policy = layout.read(found, source)
    elif own_network.is_chain(found):
        policy = own_network.read_chain(found, source)
    else:
        raise refusal(found, LAYOUTS)
    _check_values(found, policy, source)
    return _with_norms(policy)


def _read_module(found: Saved, source: Source) -> Policy:
    module = found.module
    assert module is not None
    if is_spinning_up(module) and not found.beside:
        return read_spinning_up(module, source)
    if is_ikostrikov(module):
        return read_ikostrikov(module, found.beside, source)
    if is_torch(module, "Sequential") and not found.beside:
        return read_sequential(module, source)
    raise LilliputError(
        f"{found.name} is a pickled module of the class {module.kind[:80]!r}; supported: Spinning Up's MLPActorCritic, "
        f"ikostrikov's Policy, Sequential; save its state_dict(), or {WAY_OUT}"
    )


def _with_norms(policy: Policy) -> Policy:
    """The policy with a word on its layer norms, which group norms are not told from by their keys."""
    if not any(isinstance(layer, layers.LayerNorm) and layer.epsilon == TORCH_EPSILON for layer in policy.layers):
        return policy
    guesses = (*policy.provenance.guesses, f"norms are taken as torch's LayerNorm, epsilon {TORCH_EPSILON:g}")
    return dataclasses.replace(policy, provenance=dataclasses.replace(policy.provenance, guesses=guesses))


def _check_values(found: Saved, policy: Policy, source: Source) -> None:
    """Nothing, unless the file says something beside its arrays that the policy contradicts or would lose.

    Raises:
        LilliputError: it does.
    """
    n_inputs = spaces.input_shape(policy.observation_space)[-1]
    actions, used = policy.action_space, {type(layer) for layer in policy.layers}
    limit = np.abs([actions.low, actions.high]).max() if isinstance(actions, spaces.Box) else None
    for path, value in found.values.items():
        key = path.rpartition(".")[2]
        match value:
            case [*numbers] if len(numbers) == n_inputs > 1 and _STATISTICS.search(key):
                raise LilliputError(
                    f"{found.name} holds {path[:60]!r}, {n_inputs} numbers of the observation that would be lost; "
                    f"{WAY_OUT}"
                )
            case True if _NORMALIZED.search(key) and layers.Standardize not in used and not source.answers.normalizer:
                raise LilliputError(
                    f"{found.name} says that {path[:60]} is true and holds no statistics of the observation; give them "
                    "as --normalizer FILE, or --no-normalizer"
                )
            case int() | float() if limit is not None and _LIMIT.fullmatch(key) and not np.isclose(limit, value):
                raise LilliputError(
                    f"{found.name} says that {path[:60]} is {value:g}; the bounds of the action are "
                    f"{spaces.describe(actions)}: give --action-low {-value:g} and --action-high {value:g}"
                )
            case str() if "activation" in key.lower():
                named = ACTIVATIONS.get(re.sub(r"^.*\.|\(.*", "", value).lower())
                if named is None or not {type(layer) for layer in named} <= used:
                    raise LilliputError(
                        f"{found.name} says that {path[:60]} is {value[:40]!r}, which the policy would not have; give "
                        "--activation"
                    )
            case _:
                pass
