"""How far an action moves when numbers are rounded otherwise: what an example must not hang on."""

from collections.abc import Callable

import numpy as np

from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy
from lilliput.sums import means

SHAKE = 1e-6
"""Relative change of the numbers between two layers: several float32 rounding errors, more than any tanh is off by."""

CLOSE = 3
"""A choice is close where its lead is less than so many times what the values moved."""


def movement(policy: Policy, observations: np.ndarray, rng: np.random.Generator, shake: float = SHAKE) -> np.ndarray:
    """How far the reference's action moves for each observation; for a choice 0, or infinite where it is close."""
    seeds = rng.integers(1 << 32, size=2)
    first = next(i for i, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))
    last = policy.layers[-1]
    stack = policy.layers[:-1] if isinstance(last, layers.ArgmaxAction) else policy.layers

    def outputs(change: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        x = spaces.network_input(policy.observation_space, observations)
        for index in range(len(stack)):
            x = change(index, x)
        return x.reshape(len(x), -1).astype(np.float64)

    still = outputs(lambda index, x: reference.apply(stack[index], x))

    def moved(change: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.abs(outputs(change) - still).max(axis=1)

    def shaken(seed: int, sign: float) -> np.ndarray:
        noise = np.random.default_rng(seed)

        def output(index: int, x: np.ndarray) -> np.ndarray:
            # What a sum is off by depends on its terms, not on the sum: the others of the row stand for them.
            size = np.abs(x) + (root_mean_square(x) if index > first else 0)
            change = (sign * shake * noise.uniform(-1, 1, x.shape) * size).astype(np.float32)
            return reference.apply(stack[index], x + change)

        return moved(output)

    def flipped(seed: int, side: bool) -> np.ndarray:
        noise = np.random.default_rng(seed)

        def output(index: int, x: np.ndarray) -> np.ndarray:
            others = of_other_codes(stack[index], x, (noise.random(x.shape) < 0.5) == side, 2 * shake)
            return reference.apply(stack[index], x) + others

        return moved(output)

    # There and back, one half and the other: whatever lies beside a tie is moved over it once.
    found = [shaken(int(seed), sign) for seed in seeds for sign in (-1.0, 1.0)]
    if any(
        isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d) and layer.input for layer in policy.layers
    ):
        found += [flipped(int(seed), side) for seed in seeds for side in (False, True)]
    farthest = np.max(found, axis=0)
    if not isinstance(last, layers.ArgmaxAction):
        return farthest
    return np.where(lead(still, last.sizes) > CLOSE * farthest, 0, np.inf)


def lead(values: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """By how much the closest of the choices is ahead of its second."""
    leads = [np.full(len(values), np.inf)]
    for group in np.split(values, np.cumsum(sizes)[:-1], axis=1):
        if group.shape[1] > 1:
            second, best = np.sort(group, axis=1)[:, -2:].T
            leads.append(best - second)
    return np.min(leads, axis=0)


def of_other_codes(layer: Layer, x: np.ndarray, chosen: np.ndarray, reach: float = 2 * SHAKE) -> np.ndarray:
    """What it adds to the layer's output that the chosen numbers, where close to a tie, take the other of two codes."""
    if not isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d):
        return np.zeros(1, np.float32)
    match layer.input:
        case layers.StaticRange(inverse_scale=inverse_scale):
            steps_a_unit = inverse_scale.astype(np.float64)
        case layers.DynamicRange(bits=bits):
            scale = affine.dynamic_range(x.reshape(len(x), -1), bits)[0]
            steps_a_unit = 1 / scale.reshape(-1, *(1,) * (x.ndim - 1)).astype(np.float64)
        case _:
            return np.zeros(1, np.float32)
    codes = x * steps_a_unit
    below = np.floor(codes)
    close = np.abs(codes - below - 0.5) < reach * (np.abs(codes) + root_mean_square(codes))
    if isinstance(layer.input, layers.StaticRange):
        lower = below + layer.input.zero_point
        close &= (lower >= 0) & (lower < affine.unsigned_max(layer.input.bits))
    flips = np.where(close & chosen, np.where(np.rint(codes) > below, -1, 1), 0).astype(np.float32)
    weight = layer.weight.dequantize()
    if isinstance(layer, layers.QuantizedDense):
        change = reference.apply(layers.Dense(weight, None), flips)
    else:
        change = reference.apply(layers.Conv2d(weight, None, layer.stride, layer.padding), flips)
    return change if isinstance(layer.input, layers.StaticRange) else change / steps_a_unit.astype(np.float32)


def root_mean_square(x: np.ndarray) -> np.ndarray:
    """Of each row, one for all of its numbers."""
    squares = means(np.square(x.reshape(len(x), -1), dtype=np.float64))
    return np.sqrt(squares).reshape(-1, *(1,) * (x.ndim - 1))
