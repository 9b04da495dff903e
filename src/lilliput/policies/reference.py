"""What every layer means, in numpy: the oracle for the ONNX and C formats. Batch first.

A row's result depends on neither the others nor the processor's BLAS.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, assert_never, final

import numpy as np
from jaxtyping import Bool, Float32

from lilliput.errors import LilliputError
from lilliput.policies import layers, linear, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, layer_shapes
from lilliput.sums import means

BATCH = 4096
"""Observations evaluated at once, to bound the memory."""

_ERF = np.frompyfunc(math.erf, 1, 1)


State = tuple[np.ndarray, ...]
"""What a policy remembers of each of n episodes, float32 (n, ...), layer after layer; empty for one without memory."""


def start(policy: Policy, n: int = 1) -> State:
    """The state of n episodes that begin."""
    return begun(policy.layers, layer_shapes(policy)[0], n)


def begun(stack: Sequence[Layer], shape: tuple[int, ...], n: int) -> State:
    """What layers remember of `n` episodes that begin, for inputs of `shape`."""
    found = []
    for layer, before in zip(stack, layers.output_shapes(stack, shape), strict=False):
        if isinstance(layer, layers.Memory):
            found += [np.repeat(one[None], n, axis=0) for one in layers.initial_state(layer, before)]
    return tuple(found)


def step(policy: Policy, state: State, observations: Any) -> tuple[State, np.ndarray]:
    """The state after one step of each episode, and its action; see `act`.

    An observation with a number that is not finite leaves its episode's state as it was.

    Raises:
        LilliputError: observations of another shape, or of another number of episodes than the state's.
    """
    if not policy.has_memory:
        return state, act(policy, observations)
    x, undecided = _readable(policy, observations)
    if not state or any(len(one) != len(x) for one in state):
        raise LilliputError(f"{len(x)} observations for a state of {sorted({len(one) for one in state})} episodes")
    y, now = advance(policy.layers, x, state)
    after = tuple(_kept(undecided, old, new) for old, new in zip(state, now, strict=True))
    return after, _shaped(policy, y, undecided)


def advance(
    stack: Sequence[Layer],
    x: Float32[np.ndarray, "n ..."],
    state: State,
    other: Callable[[Layer, np.ndarray], np.ndarray] | None = None,
    part: Callable[[layers.Dense | layers.QuantizedDense, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, State]:
    """What layers give for one step of n episodes, and what they remember then.

    Args:
        stack: the layers, to the policy's last where one of them remembers its action.
        x: their inputs.
        state: what they remember.
        other: what computes the layers without a memory, where not `apply`.
        part: what computes the linear parts of the others, where not `other`.
    """
    other = apply if other is None else other
    part = other if part is None else part
    given, after = [x], list[np.ndarray]()
    acts = list[tuple[int, layers.PreviousAction]]()
    for layer in stack:
        if isinstance(layer, layers.Memory):
            at = len(after)
            n = len(layers.state_shapes(layer, given[-1].shape[1:]))
            y, now = remember(layer, given[-1], state[at : at + n], part)
            after += now
            if isinstance(layer, layers.PreviousAction):
                acts.append((at, layer))
        else:
            y = other(layer, given[-1])
        given.append(y)
    for at, layer in acts:
        after[at] = np.concatenate([after[at][:, 1:], given[-1 - layer.head][:, None]], axis=1)
    return given[-1], tuple(after)


@final
class Rows:
    """Acts for the episodes of many rows at once, and remembers each."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._state: State = ()

    def __call__(self, observations: Any, begins: Bool[np.ndarray, " n"]) -> np.ndarray:
        """The actions; of the rows that begin an episode, what was before is forgotten."""
        if self._policy.has_memory and begins.any():
            first = start(self._policy, len(begins))
            old = self._state or first
            self._state = tuple(_kept(~begins, one, new) for one, new in zip(old, first, strict=True))
        self._state, actions = step(self._policy, self._state, observations)
        return actions


def act_episode(policy: Policy, observations: Any) -> np.ndarray:
    """The actions of one episode for its raw observations, in order: (steps, ...) to (steps, ...).

    Raises:
        LilliputError: observations of another shape.
    """
    if not policy.has_memory:
        return act(policy, observations)
    x = spaces.network_input(policy.observation_space, observations)
    if not len(x):
        raise LilliputError("an episode without observations has no actions")
    state, actions = start(policy), []
    for row in x:
        state, action = step(policy, state, row[None])
        actions.append(action[0])
    return np.stack(actions)


def act(policy: Policy, observations: Any) -> np.ndarray:
    """The actions for a batch of raw observations of a policy without memory.

    Where a number that the policy reads is NaN or infinite, the action is NaN, and every choice 0.

    Args:
        policy: the policy.
        observations: (n, *observation shape), or a mapping of such batches for a Dict space.

    Returns:
        float32 (n, *action shape) for a Box; int64 (n,) for Discrete, (n, groups) for MultiDiscrete.

    Raises:
        LilliputError: observations of another shape, or a policy with a memory.
    """
    if policy.has_memory:
        raise LilliputError(
            "the policy has a memory: it acts step by step, not on a batch; use act_episode(policy, observations) or, "
            "of an artifact, open_artifact(folder).begin()"
        )
    x, undecided = _readable(policy, observations)
    parts = [_forward(policy.layers, x[i : i + BATCH]) for i in range(0, max(len(x), 1), BATCH)]
    return _shaped(policy, np.concatenate(parts), undecided)


def _kept(kept: Bool[np.ndarray, " n"], old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What was before where it is kept, else what is new."""
    return np.where(kept.reshape(-1, *[1] * (new.ndim - 1)), old, new)


def _readable(policy: Policy, observations: Any) -> tuple[np.ndarray, np.ndarray]:
    """The network's inputs, zeros where a number that is read is not finite, and where that is."""
    x = spaces.network_input(policy.observation_space, observations)
    undecided = ~is_decided(policy, x)
    if undecided.any():
        x = np.where(undecided.reshape(-1, *[1] * (x.ndim - 1)), np.float32(0), x)
    return x, undecided


def _shaped(policy: Policy, actions: np.ndarray, undecided: np.ndarray) -> np.ndarray:
    actions[undecided] = 0 if policy.is_discrete else np.nan
    match policy.action_space:
        case spaces.Box(shape=shape):
            return actions.reshape(len(actions), *shape)
        case spaces.Discrete() | spaces.MultiDiscrete():
            return actions
        case _:
            assert_never(policy.action_space)


def is_decided(policy: Policy, x: Float32[np.ndarray, "n ..."]) -> np.ndarray:
    """Whether all numbers that the policy reads of each observation, as the network gets it, are finite."""
    for layer in policy.layers:
        if not isinstance(layer, layers.SelectInputs):
            break
        x = apply(layer, x)
    return np.asarray(np.isfinite(x).all(axis=tuple(range(1, x.ndim))))


def layer_inputs(policy: Policy, observations: Any) -> list[np.ndarray]:
    """The input of every layer for a batch of raw observations, in order, and last the action."""
    x = spaces.network_input(policy.observation_space, observations)
    inputs = [x]
    for layer in policy.layers:
        x = apply(layer, x)
        inputs.append(x)
    return inputs


def _forward(stack: tuple[Layer, ...], x: np.ndarray) -> np.ndarray:
    for layer in stack:
        x = apply(layer, x)
    return x


def remember(
    layer: layers.Memory,
    x: Float32[np.ndarray, "n ..."],
    state: State,
    given: Callable[[layers.Dense | layers.QuantizedDense, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, State]:
    """The outputs of one layer with a memory for one step of n episodes, and what it remembers then.

    What remembers the action keeps what it had: its policy's last layer has not acted yet (see `advance`).

    Args:
        layer: the layer.
        x: its inputs.
        state: what it remembers.
        given: what computes its linear parts, where not `apply`.
    """
    given = apply if given is None else given
    match layer:
        case layers.Lstm():
            h, c = state
            i, f, g, o = np.split(given(layer.input, x) + given(layer.recurrent, h), 4, axis=1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            return h, (h, c)
        case layers.Gru():
            (h,) = state
            xr, xz, xn = np.split(given(layer.input, x), 3, axis=1)
            hr, hz, hn = np.split(given(layer.recurrent, h), 3, axis=1)
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            if layer.reset_first:
                new = np.tanh(xn + np.split(given(layer.recurrent, r * h), 3, axis=1)[2])
            else:
                new = np.tanh(xn + r * hn)
            h = (np.float32(1) - z) * new + z * h
            return h, (h,)
        case layers.History():
            (history,) = state
            whole = np.concatenate([history, x[:, None]], axis=1)
            return whole.reshape(len(x), -1), (whole[:, 1:],)
        case layers.PreviousAction(start=start):
            (previous,) = state
            parts = x[:, :start], previous.reshape(len(x), -1), x[:, start:]
            return np.concatenate(parts, axis=1), state
        case _:
            assert_never(layer)


def apply(layer: Layer, x: Float32[np.ndarray, "n ..."]) -> np.ndarray:
    """The outputs of one layer without memory for a batch of its inputs.

    Raises:
        LilliputError: a layer with a memory, which gives nothing without its state.
    """
    one = np.float32(1)
    match layer:
        case layers.SelectInputs(indices=indices):
            return np.take(x, indices, axis=1)  # x[:, indices] would be column-major, and sums would depend on that
        case layers.Standardize():
            y = (x - _f32(layer.mean)) * _f32(layer.scale)
            return np.clip(y, -_f32(layer.clip), _f32(layer.clip))
        case layers.Dense() | layers.QuantizedDense() | layers.Conv2d() | layers.QuantizedConv2d():
            return linear.outputs(layer, x)
        case layers.Lstm() | layers.Gru() | layers.History() | layers.PreviousAction():
            raise LilliputError(f"{type(layer).__name__} has a memory: it takes a state (remember)")
        case layers.LayerNorm():
            centred = x - means(x)[:, None]
            variance = means(centred * centred)[:, None]
            return centred / np.sqrt(variance + np.float32(layer.epsilon)) * _f32(layer.weight) + _f32(layer.bias)
        case layers.Flatten():
            return x.reshape(len(x), -1)
        case layers.Relu():
            return np.maximum(x, np.float32(0))
        case layers.Tanh() | layers.SquashAction():
            return np.tanh(x)
        case layers.Sigmoid():
            return _sigmoid(x)
        case layers.Elu():
            return np.where(x > 0, x, np.float32(layer.alpha) * np.expm1(np.minimum(x, np.float32(0))))
        case layers.LeakyRelu():
            return np.where(x > 0, x, np.float32(layer.slope) * x)
        case layers.Silu():
            return x * _sigmoid(x)
        case layers.Gelu():
            half = np.float32(0.5)
            return half * x * (one + np.asarray(_ERF(x * np.float32(math.sqrt(0.5))), np.float32))
        case layers.HardTanh():
            return np.clip(x, np.float32(layer.low), np.float32(layer.high))
        case layers.BetaAction():
            alpha, beta = np.split(one + _softplus(x), 2, axis=1)
            return alpha / (alpha + beta)
        case layers.RescaleAction():
            return x * _f32(layer.scale) + _f32(layer.offset)
        case layers.ClipAction():
            return np.clip(x, _f32(layer.low), _f32(layer.high))
        case layers.ArgmaxAction(sizes=sizes):
            groups = np.split(x, np.cumsum(sizes)[:-1], axis=1)
            choices = np.stack([group.argmax(axis=1) for group in groups], axis=1).astype(np.int64)
            return choices[:, 0] if len(sizes) == 1 else choices
        case _:
            assert_never(layer)


def _f32(array: np.ndarray) -> Float32[np.ndarray, "..."]:
    return array.astype(np.float32, copy=False)


def _sigmoid(x: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n ..."]:
    one = np.float32(1)
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, one / (one + small), small / (one + small))


def _softplus(x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n inputs"]:
    return np.maximum(x, np.float32(0)) + np.log1p(np.exp(-np.abs(x)))
