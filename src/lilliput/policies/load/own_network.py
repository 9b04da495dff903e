"""A state dict of nothing but Linear layers that is of no program known here: read where the user says the rest."""

import itertools
import re

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.plain import doubt_of_outputs, doubt_of_sizes
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

_OTHERS = re.compile(
    r"mlp_extractor|critic|value|target|\bqf?\d?\b|\bv\b|std|sigma|log|\bsg\b|\bres|resid|skip|shortcut|attn|\[\d+\]",
    re.IGNORECASE,
)
"""In the name of a layer that may be no part of the chain, whatever its shape."""
_LAST = re.compile(
    r"(?i)(?:\w*_)?(?:mu|means?|out|output|head|logits?|actions?|pi|last|final)(?:_(?:layer|head|linear|out))?"
)
"""The name of a layer that gives the action, whatever stands behind it in the file."""


def is_chain(saved: Saved) -> bool:
    """Whether all arrays are of Linear layers, each of which takes what the one before it in the file gives."""
    names = _names(saved)
    if saved.objects or not names or {key.rpartition(".")[2] for key in saved.arrays} - {"weight", "bias"}:
        return False
    if any(_OTHERS.search(name) for name in names):
        return False
    weights = [saved.arrays.get(f"{name}.weight") for name in names]
    if any(weight is None or weight.ndim != 2 for weight in weights):
        return False
    shapes = [weight.shape for weight in weights if weight is not None]
    return all(first[0] == second[1] for first, second in itertools.pairwise(shapes))


def read_chain(saved: Saved, source: Source) -> Policy:
    """The policy of such layers in the file's order, with the activation and the head that the user gives.

    Raises:
        LilliputError: one of them was not given.
    """
    names = _names(saved)
    for name in names[:-1]:
        if any(_LAST.fullmatch(part) for part in name.split(".") if part not in names[-1].split(".")):
            raise LilliputError(
                f"{saved.name} has the layer {name[:60]!r} before {names[-1][:60]!r}: by its name it is the last, and "
                f"the file's order is not the network's; {WAY_OUT}"
            )
    prefixes, numbers = {name.rpartition(".")[0] for name in names}, [name.rpartition(".")[2] for name in names]
    numbered = len(prefixes) == 1 and all(number.isdigit() for number in numbers)
    doubt = ("" if numbered else doubt_of_sizes(saved.arrays, names)) or doubt_of_outputs(saved, names[-1], source)
    if len(saved.arrays[f"{names[-1]}.weight"]) % 2 == 0:
        source.options.taken.add("plain")  # it was asked for before the bounds that answer it too
    if len(names) == 1:
        activation, action = (), source.options.kind_of_action(saved.name, doubt)
    else:
        activation, action = source.options.hidden_and_action(saved.name, doubt=doubt)
    if numbered:
        # A Sequential: its numbers say where an activation stands.
        prefix = next(iter(prefixes))
        state = {f"layers.{key.removeprefix(f'{prefix}.')}": array for key, array in saved.arrays.items()}
        stack = network.closed(state, "layers", activation, saved.name)
    else:
        stack: list[Layer] = []
        for name in names:
            stack += [network.dense(saved.arrays, name, saved.name), *activation]
        while not isinstance(stack[-1], layers.Dense):
            stack.pop()
    order = f"the layers {', '.join(names)[:120]} are taken one after the other, with nothing else between"
    return vector_policy(stack, action, source, Provenance(framework="torch", guesses=(order,)))


def _names(saved: Saved) -> list[str]:
    return list(dict.fromkeys(key.rpartition(".")[0] for key in saved.arrays))
