"""What is tried without training, the safest first."""

import math
from collections.abc import Collection, Sequence

from lilliput.policies import last_action, layers, spaces
from lilliput.policies.compress import format_recipe, parse
from lilliput.policies.compress.fold_inputs import FoldInputs
from lilliput.policies.compress.remove_dead_inputs import RemoveDeadInputs
from lilliput.policies.policy import Policy
from lilliput.shrink.actor import has_convolutions
from lilliput.shrink.configuration import MANY_INPUTS

_EIGHT = 'quantize(weight_bits=8, scheme="static", granularity="per_channel", input="per_dimension"'
_GPTQ = (
    'quantize(weight_bits={bits}, method="gptq", scheme="static", granularity="per_channel", input="per_dimension", '
    "bias_correction=True)"
)
_SURGEON = 'prune_units(ratio={ratio}, importance="optimal_brain_surgeon") | '
_RUNGS = (
    f"{_EIGHT})",
    _SURGEON.format(ratio=0.5) + _GPTQ.format(bits=8),
    _GPTQ.format(bits=6),
    _SURGEON.format(ratio=0.7) + _GPTQ.format(bits=6),
    _GPTQ.format(bits=4),
    _SURGEON.format(ratio=0.8) + _GPTQ.format(bits=6),
    _SURGEON.format(ratio=0.8) + _GPTQ.format(bits=4),
)
"""What a policy does not support is left out."""
_REMEMBERS = (
    f"{_EIGHT})",
    *(f'{_EIGHT.replace("=8", f"={bits}", 1)}, calibration="mse")' for bits in (6, 5, 4)),
)
"""Of a policy with a memory."""


def first_steps(policy: Policy, failed: Collection[str]) -> tuple[str, ...]:
    """Names of the steps that every rung begins with: those that the policy may have a use for and that did not fail.

    Args:
        policy: as it was loaded.
        failed: steps that ended trials. A normalizer that clips cannot be folded, and it may be that no input is dead.
    """
    policy = last_action.apart(policy)[1]
    if policy.has_memory:
        return ()
    n_inputs = math.prod(spaces.input_shape(policy.observation_space))
    wanted = (
        (RemoveDeadInputs.NAME, n_inputs >= MANY_INPUTS and not has_convolutions(policy)),
        (FoldInputs.NAME, any(isinstance(layer, layers.Standardize) for layer in policy.layers)),
    )
    return tuple(name for name, useful in wanted if useful and name not in failed)


def rungs(
    first: Sequence[str], tried: Collection[str], *, remembers: bool = False, most: int | None = None
) -> list[str]:
    """The recipes that begin with these steps and were not tried, for a policy that remembers or not.

    Of more than `most` only the first.
    """
    kinds = (_REMEMBERS if remembers else _RUNGS)[:most]
    every = (format_recipe(parse("".join(f"{name}() | " for name in first) + rung)) for rung in kinds)
    return [recipe for recipe in every if recipe not in tried]
