"""Layers with a memory that learn: outputs over sequences, and the gradients through time, in numpy.

What they compute is what `reference` does for the same layers, rounded inputs and weights included; the gradient passes
a rounding as if it was none (Bengio et al. 2013, arXiv:1308.3432), and not where an input leaves its range.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32

from lilliput.errors import NotApplicable
from lilliput.policies import affine, layers, reference
from lilliput.policies.affine import QuantizedTensor, signed_range, unsigned_max
from lilliput.policies.constants import store_weight
from lilliput.policies.layers import Layer

_USUAL = 3.0
"""A usual code is taken for a weight of one part in so many."""


@final
class Linear:
    """A Dense or QuantizedDense layer, or such a part of one; a quantized weight learns as a real number of codes.

    Attributes:
        weight, bias: as they are now; `gradients` are theirs after `backward`.
    """

    def __init__(self, layer: layers.Dense | layers.QuantizedDense) -> None:
        self._layer = layer
        self.bias = None if layer.bias is None else layer.bias.astype(np.float32)
        if isinstance(layer, layers.Dense):
            self.weight: np.ndarray = layer.weight.astype(np.float32)
            self._kept = self.weight != 0
        else:
            self.weight = layer.weight.values.astype(np.float32)
            sparse = store_weight(layer.weight).encoding != "dense"
            self._kept = self.weight != 0 if sparse else np.ones(self.weight.shape, bool)
            if self.bias is not None:
                self.bias = self.bias + self.offset()
        self._centred, self._absorbed = self.bias is not None, list[Linear]()
        # Codes are learned in the units of usual weights.
        size = float(np.sqrt(np.mean(self.weight**2))) if self._kept.any() else 1.0
        self._unit = np.float32(1 if isinstance(layer, layers.Dense) else 1 / (_USUAL * max(size, 0.5)))
        self.gradients: list[np.ndarray] = []
        self.begin()

    @property
    def matrix_of_all(self) -> np.ndarray:
        """What is learned: weights and, last, the bias, (outputs, inputs + 1) where it has one; a copy."""
        weight = self.weight * self._unit
        return weight if self.bias is None else np.concatenate([weight, self.bias[:, None]], axis=1)

    @property
    def gradient_of_all(self) -> np.ndarray:
        """The gradient of the same."""
        weight = self.gradients[0] / self._unit
        return weight if self.bias is None else np.concatenate([weight, self.gradients[1][:, None]], axis=1)

    def take(self, matrix: np.ndarray) -> None:
        """Be that from now on."""
        n = self.weight.shape[1]
        self.weight = matrix[:, :n] / self._unit
        self.bias = None if self.bias is None else matrix[:, n].copy()

    def absorb(self, other: "Linear") -> None:
        """Have the bias of another that has none, whose outputs are added to these."""
        if self.bias is not None and other.bias is None:
            self.bias = self.bias + other.offset()
            other._centred = True
            self._absorbed.append(other)

    def begin(self) -> None:
        """Take up the parameters as they are now."""
        self.weight *= self._kept
        if isinstance(self._layer, layers.Dense):
            self.matrix = self.weight
        else:
            low, high = signed_range(self._layer.weight.bits)
            np.clip(self.weight, low, high, out=self.weight)
            self.matrix = np.rint(self.weight) * self._scale
        self.gradients = [np.zeros_like(one) for one in (self.weight, self.bias) if one is not None]

    def read(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The inputs as they are multiplied, and what a change of them counts there; None: what it is."""
        if isinstance(self._layer, layers.Dense) or self._layer.input is None:
            return x, None
        range_ = self._layer.input
        top = np.float32(unsigned_max(range_.bits))
        if isinstance(range_, layers.DynamicRange):
            flat = x.reshape(-1, x.shape[-1])
            scale, zero = affine.dynamic_range(flat, range_.bits)
            codes = np.clip(np.rint(flat / scale) + zero.astype(np.float32), 0, top) - zero.astype(np.float32)
            return (codes * scale).reshape(x.shape), None
        inverse, zero = range_.inverse_scale.astype(np.float32), range_.zero_point.astype(np.float32)
        codes = np.rint(x * inverse) + zero
        taken = np.clip(zero, 0, top) if self._centred else np.float32(0)
        return np.clip(codes, 0, top) - taken, np.where((codes >= 0) & (codes <= top), inverse, np.float32(0))

    def give(self, read: np.ndarray) -> np.ndarray:
        """The outputs for what `read` made of the inputs."""
        y = read @ self.matrix.T
        return y if self.bias is None else y + self.bias

    def learn(self, read: np.ndarray, dy: np.ndarray) -> None:
        """Add up the gradients of the parameters."""
        rows, columns = dy.reshape(-1, dy.shape[-1]), read.reshape(-1, read.shape[-1])
        of_weight = rows.T @ columns
        self.gradients[0] += (
            of_weight * self._kept if isinstance(self._layer, layers.Dense) else (of_weight * self._scale * self._kept)
        )
        if self.bias is not None:
            self.gradients[1] += rows.sum(axis=0)

    def back(self, dy: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        """The gradient of the inputs."""
        dx = dy @ self.matrix
        return dx if counts is None else dx * counts

    def layer(self) -> layers.Dense | layers.QuantizedDense:
        """As it is now."""
        self.begin()
        old = self._layer.bias
        if isinstance(self._layer, layers.Dense):
            weight = self.weight.astype(self._layer.weight.dtype)
            return layers.Dense(weight, None if old is None or self.bias is None else self.bias.astype(old.dtype))
        codes = np.rint(self.weight)
        tensor = QuantizedTensor(codes.astype(np.int8), self._layer.weight.scale, self._layer.weight.bits)
        if old is None or self.bias is None:
            return replace(self._layer, weight=tensor)
        offset = self.offset() + sum(other.offset() for other in self._absorbed)
        return replace(self._layer, weight=tensor, bias=(self.bias - offset).astype(old.dtype))

    @property
    def _scale(self) -> np.ndarray:
        assert isinstance(self._layer, layers.QuantizedDense)
        return self._layer.weight.scale.astype(np.float32).reshape(-1, 1)

    def offset(self) -> np.ndarray:
        """What the code nearest to an input of zero adds to the outputs, which a bias has taken up: what is learned are
        weights on codes that are counted from it.
        """
        if isinstance(self._layer, layers.Dense) or not isinstance(self._layer.input, layers.StaticRange):
            return np.zeros(len(self.weight), np.float32)
        codes = np.rint(self.weight).astype(np.float64)
        range_ = self._layer.input
        nearest = np.clip(range_.zero_point.astype(np.float64), 0, unsigned_max(range_.bits))
        zero = np.broadcast_to(nearest, codes.shape[1:])
        return (self._scale[:, 0] * (codes @ zero)).astype(np.float32)


Backward = Callable[[np.ndarray], np.ndarray]
"""From the gradient of a layer's outputs to that of its inputs; those of parameters are added up on the way."""


@final
class Chain:
    """A stack of layers that learns.

    Raises:
        NotApplicable: a layer that does not learn here stands in it.
    """

    def __init__(self, stack: Sequence[Layer]) -> None:
        self._stack = tuple(stack)
        self._linear: list[list[Linear]] = []
        for index, layer in enumerate(self._stack):
            if isinstance(layer, layers.Gru) and layer.reset_first:
                raise NotApplicable(f"layer {index} is a GRU that resets first; only those of torch's kind learn")
            if not isinstance(layer, _TAKEN):
                raise NotApplicable(
                    f"layer {index} is {type(layer).__name__}; with a memory learn LSTM, GRU, History and dense layers"
                )
            parts = layers.linear_parts(layer)
            made = [Linear(p) for p in parts if isinstance(p, layers.Dense | layers.QuantizedDense)]
            if isinstance(layer, layers.Lstm):
                made[0].absorb(made[1])
            self._linear.append(made)

    @property
    def linear(self) -> list[Linear]:
        """All that learns, in order."""
        return [one for parts in self._linear for one in parts]

    def forward(
        self, x: Float32[np.ndarray, "steps rows ..."], begins: Bool[np.ndarray, "steps rows"]
    ) -> tuple[Float32[np.ndarray, "steps rows outputs"], Backward]:
        """The outputs of sequences that begin without a memory, and what goes back."""
        tape: list[Backward] = []
        for one in self.linear:
            one.begin()
        for layer, parts in zip(self._stack, self._linear, strict=True):
            x, back = _forward(layer, parts, x, begins)
            tape.append(back)

        def backward(dy: np.ndarray) -> np.ndarray:
            for back in reversed(tape):
                dy = back(dy)
            return dy

        return x, backward

    def stack(self) -> tuple[Layer, ...]:
        """The layers as they are now."""
        found: list[Layer] = []
        for layer, parts in zip(self._stack, self._linear, strict=True):
            made = [one.layer() for one in parts]
            if isinstance(layer, layers.Recurrent):
                found.append(replace(layer, input=made[0], recurrent=made[1]))
            else:
                found.append(made[0] if made else layer)
        return tuple(found)


_TAKEN = (
    layers.Flatten | layers.SelectInputs | layers.Standardize | layers.History | layers.Dense | layers.QuantizedDense
    | layers.Recurrent | layers.Relu | layers.Tanh | layers.Sigmoid | layers.Elu | layers.LeakyRelu | layers.Silu
    | layers.HardTanh
)  # fmt: skip


def _forward(layer: Layer, parts: list[Linear], x: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, Backward]:
    match layer:
        case layers.Dense() | layers.QuantizedDense():
            return _dense(parts[0], x)
        case layers.Lstm():
            return _lstm(layer, parts[0], parts[1], x, begins)
        case layers.Gru():
            return _gru(layer, parts[0], parts[1], x, begins)
        case layers.History():
            return _history(layer.length, x, begins)
        case layers.Flatten() | layers.SelectInputs() | layers.Standardize():
            y = reference.apply(layer, x.reshape(-1, *x.shape[2:])).reshape(*x.shape[:2], -1)
            return y, _no_gradient  # they stand in front of all that learns
        case _:
            y = reference.apply(layer, x)
            slope = _slope(layer, x, y)
            return y, lambda dy: dy * slope


def _no_gradient(dy: np.ndarray) -> np.ndarray:
    return dy


def _dense(linear: Linear, x: np.ndarray) -> tuple[np.ndarray, Backward]:
    read, counts = linear.read(x)

    def back(dy: np.ndarray) -> np.ndarray:
        linear.learn(read, dy)
        return linear.back(dy, counts)

    return linear.give(read), back


def _slope(layer: Layer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    one = np.float32(1)
    match layer:
        case layers.Relu():
            return (x > 0).astype(np.float32)
        case layers.Tanh():
            return one - y * y
        case layers.Sigmoid():
            return y * (one - y)
        case layers.Elu():
            return np.where(x > 0, one, y + np.float32(layer.alpha))
        case layers.LeakyRelu():
            return np.where(x > 0, one, np.float32(layer.slope))
        case layers.Silu():
            gate = _sigmoid(x)
            return gate + y * (one - gate)
        case layers.HardTanh():
            return ((x > layer.low) & (x < layer.high)).astype(np.float32)
        case _:
            raise AssertionError(type(layer).__name__)


def _history(length: int, x: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, Backward]:
    steps = np.arange(len(x))[:, None]
    since = steps - np.maximum.accumulate(np.where(begins, steps, 0), axis=0)  # the episode began so many steps ago
    n, found = x.shape[-1], []
    for ago in range(length - 1, -1, -1):
        moved = np.roll(x, ago, axis=0) if ago else x
        found.append(np.where((since >= ago)[..., None], moved, np.float32(0)))

    def back(dy: np.ndarray) -> np.ndarray:
        dx = np.zeros_like(x)
        for k, ago in enumerate(range(length - 1, -1, -1)):
            part = np.where((since >= ago)[..., None], dy[..., k * n : (k + 1) * n], np.float32(0))
            dx[: len(x) - ago] += part[ago:]
        return dx

    return np.concatenate(found, axis=2), back


def _sigmoid(x: np.ndarray) -> np.ndarray:
    half = np.float32(0.5)
    return half + half * np.tanh(half * x)


def _lstm(
    layer: layers.Lstm, given: Linear, recurrent: Linear, x: np.ndarray, begins: np.ndarray
) -> tuple[np.ndarray, Backward]:
    n, (steps, rows) = layers.n_units(layer), x.shape[:2]
    first_h, first_c = layers.initial_state(layer, x.shape[2:])
    read, counts = given.read(x)
    gates = given.give(read)
    h, c = (np.broadcast_to(one, (rows, n)) for one in (first_h, first_c))
    kept: list[Any] = []
    out = np.empty((steps, rows, n), np.float32)
    for t in range(steps):
        new = begins[t][:, None]
        h, c = np.where(new, first_h, h), np.where(new, first_c, c)
        seen, of_h = recurrent.read(h)
        pre = gates[t] + recurrent.give(seen)
        gate = _sigmoid(pre)
        i, f, o = gate[:, :n], gate[:, n : 2 * n], gate[:, 3 * n :]
        g = np.tanh(pre[:, 2 * n : 3 * n])
        before, c = c, f * c + i * g
        tanh_c = np.tanh(c)
        h = out[t] = o * tanh_c
        kept.append((new, seen, of_h, i, f, g, o, before, tanh_c))

    def back(dy: np.ndarray) -> np.ndarray:
        d_gates = np.empty_like(gates)
        dh, dc = np.zeros((rows, n), np.float32), np.zeros((rows, n), np.float32)
        for t in range(steps - 1, -1, -1):
            new, _, of_h, i, f, g, o, before, tanh_c = kept[t]
            dh = dh + dy[t]
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            d = d_gates[t]
            d[:, :n], d[:, n : 2 * n] = dc * g * i * (1 - i), dc * before * f * (1 - f)
            d[:, 2 * n : 3 * n], d[:, 3 * n :] = dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
            dh = np.where(new, np.float32(0), recurrent.back(d, of_h))
            dc = np.where(new, np.float32(0), dc * f)
        recurrent.learn(np.stack([one[1] for one in kept]), d_gates)
        given.learn(read, d_gates)
        return given.back(d_gates, counts)

    return out, back


def _gru(
    layer: layers.Gru, given: Linear, recurrent: Linear, x: np.ndarray, begins: np.ndarray
) -> tuple[np.ndarray, Backward]:
    n, (steps, rows) = layers.n_units(layer), x.shape[:2]
    (first,) = layers.initial_state(layer, x.shape[2:])
    read, counts = given.read(x)
    gates = given.give(read)
    h = np.broadcast_to(first, (rows, n))
    kept: list[Any] = []
    out = np.empty((steps, rows, n), np.float32)
    for t in range(steps):
        new = begins[t][:, None]
        h = np.where(new, first, h)
        seen, of_h = recurrent.read(h)
        of_state = recurrent.give(seen)
        both = _sigmoid(gates[t, :, : 2 * n] + of_state[:, : 2 * n])
        r, z = both[:, :n], both[:, n:]
        candidate = np.tanh(gates[t, :, 2 * n :] + r * of_state[:, 2 * n :])
        before, h = h, (1 - z) * candidate + z * h
        out[t] = h
        kept.append((new, seen, of_h, r, z, candidate, before, of_state[:, 2 * n :]))

    def back(dy: np.ndarray) -> np.ndarray:
        d_gates, d_state = np.empty_like(gates), np.empty_like(gates)
        dh = np.zeros((rows, n), np.float32)
        for t in range(steps - 1, -1, -1):
            new, _, of_h, r, z, candidate, before, of_new = kept[t]
            dh = dh + dy[t]
            d_new = dh * (1 - z) * (1 - candidate * candidate)
            d, s = d_gates[t], d_state[t]
            d[:, :n] = s[:, :n] = d_new * of_new * r * (1 - r)
            d[:, n : 2 * n] = s[:, n : 2 * n] = dh * (before - candidate) * z * (1 - z)
            d[:, 2 * n :], s[:, 2 * n :] = d_new, d_new * r
            dh = np.where(new, np.float32(0), dh * z + recurrent.back(s, of_h))
        recurrent.learn(np.stack([one[1] for one in kept]), d_state)
        given.learn(read, d_gates)
        return given.back(d_gates, counts)

    return out, back
