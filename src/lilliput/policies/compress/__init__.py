"""Policy + recipe -> policy: quantization, pruning and the like, each as a step of its own."""

from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from lilliput.errors import LilliputError
from lilliput.policies import last_action, reference, spaces
from lilliput.policies.compress.context import DEFAULT_OBSERVATIONS, Context, Source
from lilliput.policies.compress.equalize import Equalize
from lilliput.policies.compress.fold_inputs import FoldInputs
from lilliput.policies.compress.half import Half
from lilliput.policies.compress.prune_units import PruneUnits
from lilliput.policies.compress.prune_weights import PruneWeights
from lilliput.policies.compress.quantize import Quantize
from lilliput.policies.compress.recipe import Recipe, format_recipe, parse
from lilliput.policies.compress.remove_dead_inputs import RemoveDeadInputs
from lilliput.policies.compress.step import Step
from lilliput.policies.compress.table import STEPS
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy, with_recipe

__all__ = [
    "DEFAULT_OBSERVATIONS",
    "STEPS",
    "Context",
    "Equalize",
    "FoldInputs",
    "Half",
    "PruneUnits",
    "PruneWeights",
    "Quantize",
    "Recipe",
    "RemoveDeadInputs",
    "Source",
    "Step",
    "compress",
    "format_recipe",
    "parse",
]


def compress(policy: Policy, recipe: Recipe | str, context: Context | None = None) -> Policy:
    """The policy after every step of the recipe, in order; its provenance has the recipe's text and what steps said.

    Args:
        policy: what to compress.
        recipe: steps, or their text; empty: the policy as it is.
        context: what steps may use; without one, steps that need observations raise.

    Raises:
        NotApplicable: a step has nothing to do on this policy.
        LilliputError: the recipe cannot be read or honoured, or its result is not finite.
    """
    steps = parse(recipe) if isinstance(recipe, str) else recipe
    context = Context(policy) if context is None else context
    before, told = policy.provenance.recipe, list[str]()
    tell = context.tell

    def say(sentence: str) -> None:
        told.append(sentence)
        tell(sentence)

    context = replace(context, say=say)
    # Observations hold the last action, so that no step needs to know that the policy remembers it.
    front, policy = last_action.apart(policy)
    if front:
        teachers = (Checkpoint(context.teacher, context.learner), *context.teachers)
        context = replace(context, teacher=last_action.apart(context.teacher)[1], teachers=teachers)
    # Products here are small: threads that share them gain nothing, and wait for one another where others compute.
    with threadpool_limits(limits=1, user_api="blas"):
        for step in steps:
            try:
                if policy.has_memory and not step.MEMORY:
                    able = ", ".join(name for name, kind in STEPS.items() if kind.MEMORY)
                    raise LilliputError(f"{step.NAME} does not take a policy with a memory yet; use {able}")
                policy = step.apply(policy, context)
                _check_finite(step, policy)
            except LilliputError as error:
                error.step = step.NAME
                raise
    small = with_recipe(
        last_action.together(front, policy), " | ".join(part for part in (before, format_recipe(steps)) if part)
    )
    guesses = tuple(dict.fromkeys((*small.provenance.guesses, *told)))
    return replace(small, provenance=replace(small.provenance, guesses=guesses))


def _check_finite(step: Step, policy: Policy) -> None:
    shape = (4, *spaces.input_shape(policy.observation_space))
    probe = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(reference.act_episode(policy, probe)).all():
            raise LilliputError(f"{step.NAME}: the compressed policy gives actions that are not finite; use more bits")
