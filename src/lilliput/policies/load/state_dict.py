"""Files of torch.save: by the one layout that has all of their keys, or by the classes of a module; or refused."""

import dataclasses
import re
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.learner import Checkpoint, checkpoint_of
from lilliput.policies.load import (
    chains,
    cleanrl,
    own_network,
    rsl_rl,
    safe_control_gym,
    sample_factory,
    sb3_weights,
    simulators,
    tianshou,
)
from lilliput.policies.load.ikostrikov import is_ikostrikov, read_ikostrikov
from lilliput.policies.load.layout import WAY_OUT, Layout, recognise, refusal
from lilliput.policies.load.network import BATCH_NORM_EPSILON
from lilliput.policies.load.pickled_module import is_torch, read_sequential
from lilliput.policies.load.plain import LAYER_NORMS, doubt_of_sizes, in_order, norm_among
from lilliput.policies.load.saved import Saved, saved
from lilliput.policies.load.settings import with_settings
from lilliput.policies.load.source import Source
from lilliput.policies.load.spinning_up import is_spinning_up, read_spinning_up
from lilliput.policies.load.torch_file import read_torch
from lilliput.policies.load.unsaid import unsaid_of_action, unsaid_of_observation
from lilliput.policies.policy import Policy

LAYOUTS: Final[tuple[Layout, ...]] = (
    *cleanrl.LAYOUTS,
    *chains.LAYOUTS,
    *rsl_rl.LAYOUTS,
    *simulators.LAYOUTS,
    *tianshou.LAYOUTS,
    *safe_control_gym.LAYOUTS,
    *sample_factory.LAYOUTS,
    *sb3_weights.LAYOUTS,
)
"""The layouts, in the order in which they are tried; docs/formats.md lists them."""


_HALF = "it has numbers of 16 bits: computed in float32 here, where its program may round each step to 16"


def read_state_dict(source: Source) -> Checkpoint:
    """The deterministic policy in a file of torch.save, and what the file tells of its learner.

    Raises:
        LilliputError: damaged, of no layout that is known, or silent on something that the user has to say.
    """
    found = saved(read_torch(source.data, source.name), source.name)
    if found.module is not None:
        read = checkpoint_of(_read_module(found, source))
        policy = _saying(read.policy, unsaid_of_observation(read.policy))
        return dataclasses.replace(read, policy=with_settings(found, policy, source))
    if rsl_rl.is_of_two_numbers(found):
        policy = rsl_rl.read_beta(found, source)
        policy = _saying(policy, unsaid_of_observation(policy))
        return Checkpoint(with_settings(found, policy, source))
    layout = recognise(found, LAYOUTS)
    if layout is not None:
        read = checkpoint_of(layout.read(found, source))
    elif own_network.is_chain(found):
        read = Checkpoint(own_network.read_chain(found, source))
    else:
        raise refusal(found, LAYOUTS)
    before, behind = (layout.before, layout.behind) if layout else ("", "")
    whose = "CleanRL's script" if read.provenance.framework == cleanrl.FRAMEWORK else layout.what if layout else ""
    policy = _saying(read.policy, unsaid_of_action(read.policy, source, f"{whose}{f' ({behind})' if behind else ''}"))
    policy = _saying(policy, unsaid_of_observation(policy, before))
    if not source.options.plain and not any("one after the other" in one for one in policy.provenance.guesses):
        policy = _saying(policy, in_order(policy.layers))
    if any(not isinstance(layer, layers.Dense) for layer in policy.layers):
        policy = _saying(policy, _listed(found, source))
    if _is_half(found):
        policy = _saying(policy, (_HALF,))
    known = layout is not None and (layout.layer_norms or layout in chains.LAYOUTS)
    if not known and (norm := norm_among(policy.layers, found.arrays)):
        source.options.only_layers(found.name, norm)
    return dataclasses.replace(read, policy=_with_norms(with_settings(found, policy, source)))


def _is_half(file: Saved) -> bool:
    """Whether a matrix in the file is of 16 bits: a bfloat16 is read as the float32 that ends in 16 zeros."""
    matrices = [array for array in file.arrays.values() if array.ndim > 1 and array.size >= 64 and array.any()]
    return any(
        array.dtype == np.float16
        or (array.dtype == np.float32 and not (np.ascontiguousarray(array).view(np.uint32) & 0xFFFF).any())
        for array in matrices
    )


def _read_module(file: Saved, source: Source) -> Policy | Checkpoint:
    module = file.module
    assert module is not None
    program = module.kind.partition(".")[0]
    sentence = f"the class {module.kind[:60]} is taken to compute what the one of that name in {{}} does"
    if is_spinning_up(module) and not file.beside:
        told = () if program == "spinup" else (sentence.format("Spinning Up"),)
        read = checkpoint_of(read_spinning_up(module, source))
        return dataclasses.replace(read, policy=_saying(read.policy, told))
    if is_ikostrikov(module):
        told = () if program == "a2c_ppo_acktr" else (sentence.format("ikostrikov's program"),)
        read = checkpoint_of(read_ikostrikov(module, file.beside, source))
        return dataclasses.replace(read, policy=_saying(read.policy, told))
    if is_torch(module, "Sequential") and not file.beside:
        return read_sequential(module, source)
    raise LilliputError(
        f"{file.name} is a pickled module of the class {module.kind[:80]!r}; supported: Spinning Up's MLPActorCritic, "
        f"ikostrikov's Policy, Sequential; {WAY_OUT}"
    )


def _with_norms(policy: Policy) -> Policy:
    """The policy with a word on its layer norms, which group norms are not told from by their keys."""
    if not any(isinstance(layer, layers.LayerNorm) and layer.epsilon == BATCH_NORM_EPSILON for layer in policy.layers):
        return policy
    return _saying(policy, (LAYER_NORMS,))


def _saying(policy: Policy, guesses: tuple[str, ...]) -> Policy:
    said = dataclasses.replace(policy.provenance, guesses=(*policy.provenance.guesses, *guesses))
    return dataclasses.replace(policy, provenance=said)


def _listed(file: Saved, source: Source) -> tuple[str, ...]:
    """A sentence on the Linear layers whose numbers leave no room for an activation between them; none: no sentence.

    Raises:
        LilliputError: their sizes leave room for sums, and nobody said that there are none.
    """
    linear = [
        key.removesuffix(".weight") for key, array in file.arrays.items() if key.endswith(".weight") and array.ndim == 2
    ]
    said: dict[str, None] = {}
    for name in linear:
        prefix, _, number = name.rpartition(".")
        numbered = number.isascii() and number.isdecimal() and len(number) <= 4
        if numbered and f"{prefix}.{int(number) + 1}".lstrip(".") in linear and not re.search("critic|value", prefix):
            said[prefix or "the file"] = None
            if doubt := doubt_of_sizes(file.arrays, [one for one in linear if one.rpartition(".")[0] == prefix]):
                source.options.only_layers(file.name, doubt)
    return tuple(
        f"the Linear layers of {prefix[:60]} are a list: the activation is taken to stand behind each but the action's"
        for prefix in said
    )
