"""Golden examples of a policy with a memory: episodes from their start; an artifact must reproduce every action."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export.golden import TOLERANCE, WORST_TOLERANCE, Golden, allowed, scale, spread
from lilliput.policies.export.steadiness import CLOSE, SHAKE, lead, of_other_codes, root_mean_square
from lilliput.policies.policy import Policy, layer_shapes

N_STEPS = 64
N_SEQUENCES = 4
_EFFORTS = ((12, 12), (48, 64))
"""How many sequences are drawn, and how often an observation is moved off a tie: more where the first do not do. Of a
memory in codes a few hundred numbers are rounded in a step, and what flips once is remembered to the end.
"""
_ROUNDS = 3
_MARGIN = 4.0
"""Errors of a step are remembered by the next ones; those of a processor may all have one sign."""

_REACH = 16
"""Times SHAKE: how near a tie a number may not be, since what others are off by adds up over the steps."""

_AT_ONCE = 11
"""So many moved observations of a step are looked at in one: it takes hardly longer than one."""

_NUDGE = 0.01
"""By what part of its width an observation is moved off a tie."""

_INERTIA = 0.9
"""How much of its distance from the centre an observation keeps from a step to the next."""


def golden_sequences(policy: Policy, observations: Any = None) -> Golden:
    """Sequences on which another order of rounding does not show; the same ones for the same policy and observations.

    Args:
        policy: what is exported.
        observations: raw ones of one episode, in order; without them, drawn from its normalizer and its space.

    Raises:
        LilliputError: observations of another shape, or a policy too unsteady to be compared with anything.
    """
    most = 0.0
    for candidates, tries in _EFFORTS:
        with np.errstate(over="ignore", invalid="ignore"):
            golden, moved = _of_candidates(policy, observations, candidates, tries)
        if not np.isfinite(golden.actions).all():
            raise LilliputError(
                f"the policy's actions grow beyond all numbers in {N_STEPS} steps of what it remembers: check where "
                "its last action stands in the observation (--previous-action)"
            )
        if golden.tolerance <= WORST_TOLERANCE * moved.size:
            return golden
        most = moved.most
    raise LilliputError(
        f"the policy is too unsteady to check: numbers changed by {SHAKE:g} move its actions of {N_STEPS} steps by "
        f"{most:.2g}, and too few of {_EFFORTS[-1][0]} sequences avoid that; quantize what it remembers with more "
        'bits, or leave its inputs real: scheme="weight_only"'
    )


@final
@dataclass(frozen=True)
class _Moved:
    """How large the actions are, and by how much those of the chosen sequences move."""

    size: float
    most: float


def _of_candidates(policy: Policy, observations: Any, n: int, tries: int) -> tuple[Golden, _Moved]:
    """The steadiest sequences of so many, and how steady."""
    rng = np.random.default_rng(int(policy.digest[:16], 16))
    candidates = _drawn(policy, n, rng)
    if observations is not None:
        seen = spaces.artifact_input(policy.observation_space, observations)
        windows = [seen[at : at + N_STEPS] for at in range(0, len(seen) - N_STEPS + 1, N_STEPS)][: n // 2]
        if windows:
            candidates = np.concatenate([np.stack(windows), candidates])
    candidates = _off_ties(policy, candidates, tries, rng)
    actions = _acted(policy, candidates)
    moves = _movement(policy, candidates, rng)
    if policy.is_discrete:
        # A choice that is close to another at a step is one that a rounding error may turn.
        chosen = np.argsort(moves, kind="stable")[:N_SEQUENCES]
        return Golden(candidates[chosen], actions[chosen], 0.0), _Moved(1.0, 0.0)
    size = scale(policy, actions.reshape(-1, *actions.shape[2:]))
    chosen = np.sort(np.argsort(moves, kind="stable")[:N_SEQUENCES])
    most = float(moves[chosen].max())
    return Golden(candidates[chosen], actions[chosen], max(TOLERANCE * size, _MARGIN * most)), _Moved(size, most)


def _acted(policy: Policy, sequences: np.ndarray) -> np.ndarray:
    """The actions of episodes of one length, side by side: what `reference.act_episode` gives for each."""
    state, actions = reference.start(policy, len(sequences)), []
    for step in range(sequences.shape[1]):
        state, action = reference.step(policy, state, sequences[:, step])
        actions.append(action)
    return np.stack(actions, axis=1)


def _drawn(policy: Policy, n: int, rng: np.random.Generator) -> np.ndarray:
    """Walks around what is likely, (n, steps, *input shape); the first stands still at zero."""
    likely = spread(policy)
    shape = likely.centre.shape
    walks = np.zeros((n, N_STEPS, *shape))
    at = rng.standard_normal((n, *shape))
    for step in range(N_STEPS):
        fresh = rng.standard_normal((n, *shape))
        at = _INERTIA * at + np.sqrt(1 - _INERTIA**2) * fresh
        walks[:, step] = at
    far = rng.choice([0.5, 1.0, 2.0], (n, *(1,) * (len(shape) + 1)))
    walks = likely.centre + far * walks * likely.width
    walks[0] = 0
    return allowed(policy, likely, walks)


def _off_ties(policy: Policy, sequences: np.ndarray, tries: int, rng: np.random.Generator) -> np.ndarray:
    """The sequences, with an observation moved a little where a number that is quantized then lies beside a tie.

    What flips is remembered: few sequences of codes would be steady to their end.
    """
    parts = [part for layer in policy.layers for part in layers.linear_parts(layer)]
    if not any(isinstance(part, layers.QuantizedDense) and part.input is not None for part in parts):
        return sequences
    likely, state, chosen = spread(policy), reference.start(policy, len(sequences)), sequences.copy()
    for step in range(sequences.shape[1]):
        open_, after = np.arange(len(sequences)), [part.copy() for part in state]
        for attempts in _together(tries):
            shape = (len(attempts), len(open_), *sequences.shape[2:])
            moves = _NUDGE * likely.width * rng.standard_normal(shape) if attempts[0] else np.zeros(shape)
            tried = allowed(policy, likely, sequences[open_, step] + moves)
            before = tuple(np.concatenate([part[open_]] * len(attempts)) for part in state)
            close, now = _beside_ties(policy, tried.reshape(-1, *shape[2:]), before)
            close = close.reshape(shape[:2])
            if attempts[-1] == tries - 1:
                close[-1] = False
            which = close.argmin(axis=0)  # the first that is beside no tie
            settled = np.flatnonzero(~close.all(axis=0))
            rows = which[settled] * len(open_) + settled
            chosen[open_[settled], step] = tried[which[settled], settled]
            for whole, part in zip(after, now, strict=True):
                whole[open_[settled]] = part[rows]
            open_ = np.delete(open_, settled)
            if not len(open_):
                break
        state = tuple(after)
    return chosen


def _together(tries: int) -> Iterator[range]:
    """Attempts that are looked at in one: the observation as it is, then some moved ones at a time."""
    yield range(1)
    for first in range(1, tries, _AT_ONCE):
        yield range(first, min(first + _AT_ONCE, tries))


def _beside_ties(policy: Policy, x: np.ndarray, state: reference.State) -> tuple[np.ndarray, reference.State]:
    """Where a number that is quantized in this step, or of the hidden state in the next one, lies beside a tie."""
    close = np.zeros(len(x), bool)

    def linear(layer: layers.Dense | layers.QuantizedDense, inputs: np.ndarray) -> np.ndarray:
        look(layer, inputs)
        return reference.apply(layer, inputs)

    def look(layer: layers.Dense | layers.QuantizedDense, inputs: np.ndarray) -> None:
        flips = of_other_codes(layer, inputs, np.ones(inputs.shape, bool), _REACH * SHAKE)
        if flips.ndim == 2:
            close[:] |= np.asarray(flips.any(axis=1))

    def other(layer: layers.Layer, inputs: np.ndarray) -> np.ndarray:
        linear_one = isinstance(layer, layers.Dense | layers.QuantizedDense)
        return linear(layer, inputs) if linear_one else reference.apply(layer, inputs)

    y = spaces.network_input(policy.observation_space, x)
    _, after = reference.advance(policy.layers, y, state, other, linear)
    at = 0
    for layer, shape in zip(policy.layers, layer_shapes(policy), strict=False):
        if isinstance(layer, layers.Recurrent):
            look(layer.recurrent, after[at])
        at += len(layers.state_shapes(layer, shape)) if isinstance(layer, layers.Memory) else 0
    return close, after


def _movement(policy: Policy, sequences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the actions of each sequence move at most where numbers are rounded otherwise; of choices, the number of
    steps at which one is close to another.
    """
    last = policy.layers[-1]
    stack = policy.layers[:-1] if isinstance(last, layers.ArgmaxAction) else policy.layers
    still, *moved = _played(policy, stack, sequences, rng)
    farthest = np.max([np.abs(outputs - still).max(axis=2) for outputs in moved], axis=0)
    if not isinstance(last, layers.ArgmaxAction):
        return farthest.max(axis=1)
    leads = np.stack([lead(step, last.sizes) for step in still], axis=0)
    return (leads <= CLOSE * farthest).sum(axis=1).astype(np.float64)


def _played(
    policy: Policy, stack: tuple[layers.Layer, ...], sequences: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What the layers give at each step, (1 + rounds, n, steps, outputs): as they are, then with noise on all that is
    computed or remembered.
    """
    n = len(sequences)
    noisy = np.arange((1 + _ROUNDS) * n) >= n

    def shaken(x: np.ndarray) -> np.ndarray:
        noise = SHAKE * rng.uniform(-1, 1, x.shape) * _each(noisy, x)
        return x + (noise * (np.abs(x) + root_mean_square(x))).astype(np.float32)

    def linear(layer: layers.Dense | layers.QuantizedDense, x: np.ndarray) -> np.ndarray:
        return shaken(reference.apply(layer, x)) + of_other_codes(
            layer, x, (rng.random(x.shape) < 0.5) & _each(noisy, x)
        )

    def other(layer: layers.Layer, x: np.ndarray) -> np.ndarray:
        linear_one = isinstance(layer, layers.Dense | layers.QuantizedDense)
        return linear(layer, x) if linear_one else shaken(reference.apply(layer, x))

    state, outputs = reference.start(policy, len(noisy)), []
    for step in range(sequences.shape[1]):
        x = spaces.network_input(policy.observation_space, np.concatenate([sequences[:, step]] * (1 + _ROUNDS)))
        x, state = reference.advance(stack, x, tuple(map(shaken, state)), other, linear)
        outputs.append(x.reshape(1 + _ROUNDS, n, -1).astype(np.float64))
    return np.stack(outputs, axis=2)


def _each(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One value a row, for all numbers of it."""
    return rows.reshape(-1, *(1,) * (x.ndim - 1))
