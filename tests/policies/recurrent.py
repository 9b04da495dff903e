"""Small policies with a memory, and the layers that they are made of, for the tests of all that holds one."""

from typing import Any

import numpy as np
from tests.arrays import f32

from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy

UNBOUNDED = (np.array(-np.inf), np.array(np.inf))


def dense(rng: np.random.Generator, outputs: int, inputs: int, *, bias: bool = True) -> layers.Dense:
    """Weights as torch draws those of a layer that is `inputs` wide."""
    width = 1 / np.sqrt(inputs)
    return layers.Dense(
        f32(rng.uniform(-width, width, (outputs, inputs))), f32(rng.uniform(-width, width, outputs)) if bias else None
    )


def lstm(rng: np.random.Generator, inputs: int, units: int, **options: Any) -> layers.Lstm:
    """Random weights."""
    return layers.Lstm(dense(rng, 4 * units, inputs), dense(rng, 4 * units, units), **options)


def gru(rng: np.random.Generator, inputs: int, units: int, **options: Any) -> layers.Gru:
    """Random weights."""
    return layers.Gru(dense(rng, 3 * units, inputs), dense(rng, 3 * units, units), **options)


def policy_with(*memory: layers.Layer, inputs: int = 5, actions: int = 2, n_choices: int = 0, seed: int = 0) -> Policy:
    """A policy that normalizes, remembers by those layers and decides."""
    stack = _stack(memory, inputs, n_choices or actions, seed)
    box = spaces.Box((inputs,), *UNBOUNDED)
    if n_choices:
        return Policy(box, spaces.Discrete(n_choices), (*stack, layers.ArgmaxAction((n_choices,))))
    return Policy(box, spaces.Box((actions,), np.array(-1.0), np.array(1.0)), (*stack, layers.SquashAction()))


def _stack(memory: tuple[layers.Layer, ...], inputs: int, outputs: int, seed: int) -> tuple[layers.Layer, ...]:
    rng = np.random.default_rng(seed)
    shape = (inputs,)
    for layer in memory:
        shape = layers.output_shape(layer, shape)
    normalizer = layers.Standardize(f32(rng.normal(size=inputs)), f32(rng.uniform(0.5, 2, inputs)), f32(10))
    return (normalizer, *memory, dense(rng, outputs, shape[0]))


def every_memory() -> dict[str, Policy]:
    """A policy of each kind of memory, by name."""
    rng = np.random.default_rng(3)
    given = f32(rng.uniform(-0.5, 0.5, (2, 7)))
    return {
        "lstm": policy_with(lstm(rng, 5, 7)),
        "lstm twice": policy_with(lstm(rng, 5, 7), lstm(rng, 7, 7)),
        "lstm begins elsewhere": policy_with(lstm(rng, 5, 7, initial=given)),
        "gru": policy_with(gru(rng, 5, 18)),
        "gru resets first": policy_with(gru(rng, 5, 7, reset_first=True, initial=given[:1])),
        "history": policy_with(layers.History(4)),
        "all of them": policy_with(layers.History(2), lstm(rng, 10, 6), layers.Elu(), gru(rng, 6, 3)),
        "previous action": policy_with(layers.PreviousAction(3, 2)),
        "previous actions": _moved(layers.PreviousAction(0, 2, 3, 2), gru(rng, 11, 4)),
        "choices": policy_with(lstm(rng, 5, 7), n_choices=3),
    }


def _moved(*memory: layers.Layer) -> Policy:
    """A policy whose action is moved and clipped behind what it remembers of it."""
    head = layers.RescaleAction(f32([0.5, 2]), f32([0.1, -1])), layers.ClipAction(f32(-0.3), f32(1.5))
    box = spaces.Box((5,), *UNBOUNDED)
    return Policy(
        box, spaces.Box((2,), np.array(-0.3), np.array(1.5)), (*_stack(memory, 5, 2, 0), layers.Tanh(), *head)
    )


def walk(policy: Policy, steps: int, seed: int = 0) -> np.ndarray:
    """Observations of one episode, each near the one before: (steps, inputs)."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.3, (steps, *spaces.input_shape(policy.observation_space)))
    return f32(np.cumsum(moves, axis=0))
