"""A policy around an actor's network: its head, its spaces and what was assumed."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.options import action_head
from lilliput.policies.load.plain import choices_said
from lilliput.policies.load.source import Source
from lilliput.policies.play.wrappers import Atari, FrameStack, TransposeImage, format_wrapper
from lilliput.policies.policy import Policy, Provenance

FRAMES, SIDE = 4, 84
"""The usual observation of an Atari game: four frames of 84 x 84."""
UNBOUNDED = "the bounds of the observation are not in the file: taken as unbounded"

_WITHIN = (
    "the bounds of the action are those of its last activation, {:g} and {:g}: --rescale-action moves it to others"
)


def n_inputs(stack: Sequence[Layer]) -> int:
    """How many numbers the first Dense layer takes.

    Raises:
        LilliputError: there is none.
    """
    return _dense(stack)[0].weight.shape[1]


def n_outputs(stack: Sequence[Layer]) -> int:
    """How many numbers the last Dense layer gives.

    Raises:
        LilliputError: there is none.
    """
    return _dense(stack)[-1].weight.shape[0]


def vector_policy(
    stack: Sequence[Layer],
    action: str,
    source: Source,
    said: Provenance,
    *,
    unbounded: str = "",
    within: tuple[float, float] | None = None,
) -> Policy:
    """The policy of a network on a vector.

    Args:
        stack: from the raw observation to the last Linear layer.
        action: a key of `options.ACTIONS`: how its outputs become the action; the bounds of real ones are asked for.
        source: what is read.
        said: framework, algorithm, guesses.
        unbounded: of formats whose programs leave the action to the environment: a sentence that says so, where no
            bounds are given.
        within: of a network whose last activation has a range: that, which the action's bounds are then.

    Raises:
        LilliputError: no bounds for real actions.
    """
    guesses = (*said.guesses, UNBOUNDED)
    space = spaces.Box((n_inputs(stack),), np.asarray(-np.inf), np.asarray(np.inf))
    n = n_outputs(stack)
    if action == "discrete":
        provenance = dataclasses.replace(said, guesses=(*guesses, *choices_said(n, source)))
        return Policy(space, spaces.Discrete(n), (*stack, layers.ArgmaxAction((n,))), provenance)
    if within is not None:
        given = None if source.options.rescaled else source.options.given_space(n, source.name)
        low, high = within if given is None else (np.clip(end, *within) for end in (given.low, given.high))
        if np.greater_equal(low, high).any():
            raise LilliputError(
                f"{source.name} gives actions in [{within[0]:g}, {within[1]:g}], of which the bounds that were given "
                "leave nothing"
            )
        bounds = spaces.Box((n,), np.asarray(low), np.asarray(high))
        narrower = given is not None and (np.greater(low, within[0]).any() or np.less(high, within[1]).any())
        head = action_head(action, bounds, source.name) if narrower else ()
        provenance = dataclasses.replace(said, guesses=(*guesses, _WITHIN.format(*within)))
        return Policy(space, bounds, (*stack, *head), provenance)
    if unbounded and source.options.given_space(n, source.name) is None:
        bounds, origin = spaces.Box((n,), np.asarray(-np.inf), np.asarray(np.inf)), unbounded
    else:
        bounds, origin = source.options.action_space(n, source.name)
    provenance = dataclasses.replace(said, guesses=(*guesses, origin))
    return Policy(space, bounds, (*stack, *action_head(action, bounds, source.name)), provenance)


def unit_policy(stack: Sequence[Layer], source: Source, said: Provenance, sentence: str = "") -> Policy:
    """The policy of a network whose outputs are clipped to [-1, 1] and moved to the bounds; `sentence` says whose way.

    Raises:
        LilliputError: no bounds were given. Infinite ones leave the outputs as they are.
    """
    space, origin = source.options.action_space(n_outputs(stack), source.name)
    tail: list[Layer] = []
    guesses = (*said.guesses, UNBOUNDED, origin)
    if np.isfinite([space.low, space.high]).all():
        half, middle = (space.high - space.low) / 2, (space.high + space.low) / 2
        tail = [layers.HardTanh(-1.0, 1.0), *network.rescale_head(half, middle, source.name)]
        guesses = (*guesses, sentence) if sentence else guesses
    inputs = spaces.Box((n_inputs(stack),), np.asarray(-np.inf), np.asarray(np.inf))
    return Policy(inputs, space, (*stack, *tail), dataclasses.replace(said, guesses=guesses))


def atari_policy(stack: Sequence[Layer], name: str, said: Provenance, *, frames: int = FRAMES) -> Policy:
    """The policy of a network on an Atari game's images as Stable-Baselines3, CleanRL and baselines prepare them.

    `frames` are stacked; one is not.

    Raises:
        LilliputError: the network takes others.
    """
    space = spaces.Box((frames, SIDE, SIDE), np.asarray(0.0), np.asarray(255.0), "uint8")
    shape: tuple[int, ...] = space.shape
    for layer in stack:
        if isinstance(layer, layers.Dense) and layer.weight.shape[1] != math.prod(shape):
            raise LilliputError(
                f"{name} takes images that are not {frames} x {SIDE} x {SIDE}; supported: the usual Atari preparation"
            )
        shape = layers.output_shape(layer, shape)
    n = n_outputs(stack)
    stacked = (FrameStack(frames),) if frames > 1 else ()
    wrappers = tuple(format_wrapper(wrapper) for wrapper in (Atari(), *stacked, TransposeImage()))
    provenance = dataclasses.replace(said, wrappers=wrappers)
    return Policy(space, spaces.Discrete(n), (*stack, layers.ArgmaxAction((n,))), provenance)


def convention(what: str, value: str, whose: str) -> str:
    """The sentence that says what a format's programs do and its files do not hold."""
    return f"{what} is not in the file: {value}, as in {whose}"


def _dense(stack: Sequence[Layer]) -> list[layers.Dense]:
    found = [part for layer in stack for part in layers.linear_parts(layer) if isinstance(part, layers.Dense)]
    if not found:
        raise LilliputError("there is no Linear layer in the actor; a policy needs one")
    return found
