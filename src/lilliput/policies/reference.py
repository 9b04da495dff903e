"""What every layer means, in numpy: the oracle for the ONNX and C formats. Batch first.

A row's result depends on neither the others nor the processor's BLAS.
"""

import math
from collections.abc import Callable
from typing import Any, assert_never, final

import numpy as np
from jaxtyping import Bool, Float32, Num

from lilliput.errors import LilliputError
from lilliput.policies import affine, layers, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, layer_shapes
from lilliput.sums import means, products

BATCH = 4096
"""Observations evaluated at once, to bound the memory."""

_ERF = np.frompyfunc(math.erf, 1, 1)


State = tuple[np.ndarray, ...]
"""What a policy remembers of each of n episodes, float32 (n, ...), layer after layer; empty for one without memory."""


def start(policy: Policy, n: int = 1) -> State:
    """The state of n episodes that begin."""
    found = []
    for layer, shape in zip(policy.layers, layer_shapes(policy), strict=False):
        if isinstance(layer, layers.Memory):
            found += [np.repeat(one[None], n, axis=0) for one in layers.initial_state(layer, shape)]
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
    y, left, after = x, list(state), list[np.ndarray]()
    for layer in policy.layers:
        if isinstance(layer, layers.Memory):
            n = len(layers.state_shapes(layer, y.shape[1:]))
            before, left = left[:n], left[n:]
            y, now = remember(layer, y, tuple(before))
            after += [_kept(undecided, old, new) for old, new in zip(before, now, strict=True)]
        else:
            y = apply(layer, y)
    return tuple(after), _shaped(policy, y, undecided)


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
    linear: Callable[[layers.Dense | layers.QuantizedDense, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, State]:
    """The outputs of one layer with a memory for one step of n episodes, and what it remembers then.

    Args:
        layer: the layer.
        x: its inputs.
        state: what it remembers.
        linear: what computes its linear parts, where not `apply`.
    """
    given = apply if linear is None else linear
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
        case layers.Dense():
            return _add(_matmul(_f32(layer.weight), x), layer.bias)
        case layers.QuantizedDense():
            return _quantized(layer, x)
        case layers.Conv2d():
            n, height, width = _output_size(layer, x)
            patches = _patches(x, layer).reshape(n * height * width, -1)
            y = _add(_matmul(_f32(layer.weight).reshape(len(layer.weight), -1), patches), layer.bias)
            return _channels_first(y, n, height, width)
        case layers.QuantizedConv2d():
            return _quantized_conv2d(layer, x)
        case layers.Lstm() | layers.Gru() | layers.History():
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


def _add(y: Float32[np.ndarray, "n outputs"], bias: np.ndarray | None) -> Float32[np.ndarray, "n outputs"]:
    return y if bias is None else y + _f32(bias)


def _sigmoid(x: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n ..."]:
    one = np.float32(1)
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, one / (one + small), small / (one + small))


def _softplus(x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n inputs"]:
    return np.maximum(x, np.float32(0)) + np.log1p(np.exp(-np.abs(x)))


def _matmul(
    weight: Float32[np.ndarray, "outputs inputs"], x: Float32[np.ndarray, "n inputs"]
) -> Float32[np.ndarray, "n outputs"]:
    # What a policy makes of numbers that are not finite is seen in its actions.
    with np.errstate(invalid="ignore"):
        return products(x, weight)


def _quantized(layer: layers.QuantizedDense, x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n outputs"]:
    return _integer_linear(layer.weight, layer.bias, layer.input, x, layer.weight.values)


def _integer_linear(
    weight: QuantizedTensor,
    bias: np.ndarray | None,
    range_: layers.InputRange,
    x: Float32[np.ndarray, "n inputs"],
    codes: Num[np.ndarray, "outputs inputs"],
) -> Float32[np.ndarray, "n outputs"]:
    scale = _f32(weight.scale)
    match range_:
        case None:
            return _add(_matmul(codes.astype(np.float32), x) * scale, bias)
        case layers.StaticRange():
            q = affine.quantize_unsigned(x, _f32(range_.inverse_scale), range_.zero_point, range_.bits)
            return _add(_exact(q, codes) * scale, bias)
        case layers.DynamicRange(bits=bits):
            x_scale, zero_point = affine.dynamic_range(x, bits)
            q = np.clip(np.rint(x / x_scale).astype(np.float64) + zero_point, 0, affine.unsigned_max(bits)) - zero_point
            return _add(_exact(q, codes) * (scale * x_scale), bias)
        case _:
            assert_never(range_)


def _exact(q: np.ndarray, codes: np.ndarray) -> Float32[np.ndarray, "n outputs"]:
    # Integers below 2**53 in float64: exact in any order of summation. float32 rounds once, as C's int32 to float does.
    return (q @ codes.astype(np.float64).T).astype(np.float32)


def _patches(x: np.ndarray, layer: layers.Conv2d | layers.QuantizedConv2d, fill: float = 0.0) -> np.ndarray:
    """(n, height, width, channels * kernel * kernel) windows of the padded input."""
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    x = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(x, layer.weight.shape[2:], axis=(2, 3))[:, :, ::step_y, ::step_x]
    windows = windows.transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(*windows.shape[:3], -1)


def _output_size(layer: layers.Conv2d | layers.QuantizedConv2d, x: np.ndarray) -> tuple[int, int, int]:
    _, height, width = layers.output_shape(layer, x.shape[1:])
    return len(x), height, width


def _channels_first(y: np.ndarray, n: int, height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(y.reshape(n, height, width, -1).transpose(0, 3, 1, 2))


def _quantized_conv2d(
    layer: layers.QuantizedConv2d, x: Float32[np.ndarray, "n c h w"]
) -> Float32[np.ndarray, "n o y x"]:
    n, height, width = _output_size(layer, x)
    rows = layer.weight.values.reshape(len(layer.weight.values), -1)
    if isinstance(layer.input, layers.DynamicRange):
        # The range is that of the whole image, so it is taken before the windows are cut.
        x_scale, zero_point = affine.dynamic_range(x.reshape(n, -1), layer.input.bits)
        s, z = x_scale[:, :, None, None], zero_point[:, :, None, None]
        q = np.clip(np.rint(x / s).astype(np.float64) + z, 0, affine.unsigned_max(layer.input.bits)) - z
        acc = _exact(_patches(q, layer).reshape(n * height * width, -1), rows)
        y = _add(acc * (_f32(layer.weight.scale) * np.repeat(x_scale, height * width, axis=0)), layer.bias)
    elif isinstance(layer.input, layers.StaticRange):
        q = affine.quantize_unsigned(x, _f32(layer.input.inverse_scale), layer.input.zero_point, layer.input.bits)
        patches = _patches(q, layer, fill=float(layer.input.zero_point))
        y = _add(_exact(patches.reshape(n * height * width, -1), rows) * _f32(layer.weight.scale), layer.bias)
    else:
        patches = _patches(x, layer).reshape(n * height * width, -1)
        y = _integer_linear(layer.weight, layer.bias, None, patches, rows)
    return _channels_first(y, n, height, width)
