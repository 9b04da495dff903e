"""Several students of one shape; C computes for them what `reference` does for their layers."""

import copy
import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float32, Float64

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.affine import QuantizedTensor, unsigned_max
from lilliput.policies.layers import Layer
from lilliput.policies.students.native import MOST_LAYERS, CNetwork, CStudent, functions, pointer
from lilliput.policies.students.quantization import Quantization, best_step, static_range

Activation = Literal["silu", "relu", "tanh"]
_FAR = 6.0


@final
@dataclass(frozen=True)
class _Kind:
    layer: Layer
    lowest: float
    gain: float


ACTIVATIONS: dict[Activation, _Kind] = {
    "silu": _Kind(layers.Silu(), -0.27846, 1.7),
    "relu": _Kind(layers.Relu(), 0.0, 1.4),
    "tanh": _Kind(layers.Tanh(), -1.0, 1.2),
}
"""By name: the layer, its lowest value and a gain for the first weights."""


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """What is known of the raw observations: middle, inverse spread (0: always the same) and ends."""

    centre: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(observations: Float32[np.ndarray, "n inputs"]) -> "Inputs":
        """Of a sample of observations; the rarest at either end are left out."""
        x = observations.astype(np.float64)
        centre, spread = x.mean(axis=0), x.std(axis=0)
        low, high = np.percentile(x, [0.05, 99.95], axis=0)
        alive = spread > 1e-6 * np.maximum(np.abs(centre), 1e-3)
        scale = np.where(alive, 1 / np.where(alive, spread, 1), 0)
        margin = 0.1 * (high - low)
        return Inputs(centre, scale, low - margin, high + margin)


@final
class Students:
    """Restarts of one student.

    Attributes:
        matrices: (restarts, n): of each linear layer (outputs, inputs + 1) numbers, weights on standardized inputs and
            last the bias.
        scales: (restarts, n): the gains and then the shifts of each layer norm; behind them, once the students are
            quantized, the logarithms of all inverse input scales, then of all weight steps.
        epsilons: of the layer norm behind each layer but the last, in front of the activation; 0: there is none.
        zero_points: (restarts, 1 or inputs) of the first layer's input.
        quantization: None while the students are real.

    Raises:
        LilliputError: there are too many layers.
        MissingDependency: there is no C compiler.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation,
        restarts: int,
        inputs: Inputs,
        rng: np.random.Generator,
        epsilons: Sequence[float] = (),
    ) -> None:
        if len(sizes) - 1 > MOST_LAYERS:
            raise LilliputError(f"a student of {len(sizes) - 1} layers; at most {MOST_LAYERS} are trained")
        self.sizes, self.inputs = tuple(sizes), inputs
        self.activation: Activation = activation
        self.epsilons = (*epsilons, 0.0) if epsilons else (0.0,) * (len(sizes) - 1)
        self.quantization: Quantization | None = None
        gain = ACTIVATIONS[activation].gain
        self.matrices = np.zeros((restarts, sum(o * (i + 1) for i, o in itertools.pairwise(self.sizes))), np.float32)
        for index, matrix in enumerate(self.layers_of(self.matrices)):
            last = index == len(self.sizes) - 2
            fan_out, fan_in = matrix.shape[1], matrix.shape[2] - 1
            start = rng.standard_normal((restarts, fan_out, fan_in)) * (0.5 if last else gain)
            matrix[:, :, :-1] = start / np.sqrt(fan_in)
            if not last:
                matrix[:, :, -1] = rng.standard_normal((restarts, fan_out)) * 0.5
        norms = [np.repeat([1.0, 0.0], n) for n, epsilon in zip(sizes[1:], self.epsilons, strict=True) if epsilon]
        first = np.concatenate([np.zeros(0), *norms]).astype(np.float32)
        self.scales = np.repeat(first[None], restarts, axis=0)
        self.zero_points = np.zeros((restarts, 1), np.float32)
        self._sizes = np.array(self.sizes, np.int32)
        self._weight_bits = np.zeros(len(sizes) - 1, np.int32)
        self._epsilons = np.array(self.epsilons, np.float32)
        standard = (inputs.centre, inputs.scale)
        ends = tuple((end - inputs.centre) * inputs.scale for end in (inputs.low, inputs.high))
        self._centre, self._scale, self._low, self._high = (
            np.ascontiguousarray(array, np.float32) for array in (*standard, *ends)
        )
        self._kept: np.ndarray | None = None
        self._functions = functions()

    @property
    def restarts(self) -> int:
        """How many there are."""
        return len(self.matrices)

    def layers_of(self, matrices: Float32[np.ndarray, "restarts n"]) -> list[np.ndarray]:
        """Views (restarts, outputs, inputs + 1) of each layer's."""
        ends = list(itertools.accumulate((o * (i + 1) for i, o in itertools.pairwise(self.sizes)), initial=0))
        return [
            matrices[:, begin:end].reshape(len(matrices), fan_out, -1)
            for (begin, end), fan_out in zip(itertools.pairwise(ends), self.sizes[1:], strict=True)
        ]

    def norms(self) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """Views (restarts, outputs) of the gains and shifts behind each layer; None where there is no norm."""
        found: list[tuple[np.ndarray, np.ndarray] | None] = []
        at = 0
        for n, epsilon in zip(self.sizes[1:], self.epsilons, strict=True):
            found.append((self.scales[:, at : at + n], self.scales[:, at + n : at + 2 * n]) if epsilon else None)
            at += 2 * n if epsilon else 0
        return found

    def network_of(self) -> CNetwork:
        """What C is told of them; it points into the students."""
        quantization = self.quantization or Quantization(())
        return CNetwork(
            len(self.sizes) - 1,
            list(ACTIVATIONS).index(self.activation),
            self.quantization is not None,
            quantization.activation_bits,
            ("per_dimension", "per_tensor", "none").index(quantization.input_range),
            quantization.per_channel,
            pointer(self._sizes),
            pointer(self._weight_bits),
            *(pointer(array) for array in (self._centre, self._scale, self._low, self._high, self._epsilons)),
        )

    def student(self, restart: int) -> CStudent:
        """What C is told of one of them; it points into the students."""
        arrays = (self.matrices, self.scales, self.zero_points)
        kept = None if self._kept is None else pointer(self._kept[restart])
        return CStudent(*(pointer(array[restart]) for array in arrays), kept)

    def scratch(self, network: CNetwork, n: int) -> np.ndarray:
        """Memory that C takes for n observations."""
        return np.empty(self._functions.scratch_floats(ctypes.byref(network), n), np.float32)

    def forward(self, x: Float32[np.ndarray, "restarts n inputs"]) -> Float32[np.ndarray, "restarts n outputs"]:
        """The outputs of each student before the head."""
        x = np.ascontiguousarray(x, np.float32)
        network, n = self.network_of(), x.shape[1]
        scratch = self.scratch(network, n)
        y = np.empty((self.restarts, n, self.sizes[-1]), np.float32)
        for restart in range(self.restarts):
            given = (ctypes.byref(self.student(restart)), pointer(x[restart]), n, pointer(scratch), pointer(y[restart]))
            self._functions.forward(ctypes.byref(network), *given)
        return y

    def outputs(self, x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n outputs"]:
        """What the students give before the head: the first observations are the first student's, and so on."""
        return self.forward(x.reshape(self.restarts, -1, x.shape[1])).reshape(len(x), -1)

    def chosen(self, which: Sequence[int]) -> "Students":
        """These of them, as they are now: what is learned after that changes neither the ones nor the others."""
        found, rows = copy.copy(self), list(which)
        found.matrices, found.scales = self.matrices[rows], self.scales[rows]
        found.zero_points = self.zero_points[rows]
        found._kept = None if self._kept is None else self._kept[rows]
        return found

    @staticmethod
    def joined(every: Sequence["Students"]) -> "Students":
        """All of several, one behind the other; they have the same sizes, inputs, quantization and zeros to hold."""
        found = copy.copy(every[0])
        found.matrices = np.concatenate([one.matrices for one in every])
        found.scales = np.concatenate([one.scales for one in every])
        found.zero_points = np.concatenate([one.zero_points for one in every])
        held = [one._kept for one in every if one._kept is not None]
        found._kept = np.concatenate(held) if held else None
        return found

    def quantize(self, quantization: Quantization, observations: Float32[np.ndarray, "n inputs"]) -> None:
        """Quantize the students from now on, with ranges and steps that fit what they are.

        Raises:
            LilliputError: as many bits are given as there are not layers.
        """
        matrices = self.layers_of(self.matrices)
        if len(quantization.weight_bits) != len(matrices):
            raise LilliputError(
                f"weight_bits has {len(quantization.weight_bits)} numbers; "
                f"the student has {len(matrices)} layers: give one for all or one each"
            )
        kind, top = ACTIVATIONS[self.activation], unsigned_max(quantization.activation_bits)
        ranges: list[np.ndarray] = []
        steps: list[np.ndarray] = []
        y = np.clip((observations - self._centre) * self._scale, self._low, self._high)[None]
        for index, matrix in enumerate(matrices):
            weight = matrix[:, :, :-1]
            if index:
                y = reference.apply(kind.layer, y)
                end = np.quantile(y.reshape(self.restarts, -1)[:, :1_000_000], 0.9995, axis=1)
                inverse = (top / (np.maximum(end, 0.1) - kind.lowest)).reshape(-1, 1, 1)
                ranges.append(inverse)
                step = best_step(weight / inverse, quantization.weight_bits[index], quantization.per_channel)
            elif quantization.input_range == "none":
                step = best_step(weight * self._scale, quantization.weight_bits[index], quantization.per_channel)
            else:
                inverse, self.zero_points = self._first_range(quantization, top)
                ranges.append(inverse)
                scaled = weight * (self._scale / inverse)
                step = best_step(scaled, quantization.weight_bits[index], quantization.per_channel)
            steps.append(step)
            with np.errstate(invalid="ignore"):  # OpenBLAS raises it for nothing: see linear._matmul
                y = y @ weight.swapaxes(1, 2) + matrix[:, None, :, -1]
            if (norm := self.norms()[index]) is not None:
                gain, shift = (part[:, None] for part in norm)
                deviation = np.sqrt(y.var(axis=-1, keepdims=True) + self.epsilons[index])
                y = (y - y.mean(axis=-1, keepdims=True)) / deviation * gain + shift
        self.quantization = quantization
        self._weight_bits = np.array(quantization.weight_bits, np.int32)
        logarithms = [np.log(scale).reshape(self.restarts, -1) for scale in (*ranges, *steps)]
        self.scales = np.concatenate([self.scales, *logarithms], axis=1).astype(np.float32)

    def _first_range(self, quantization: Quantization, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The first layer's inverse scales (restarts, 1, inputs or 1), and zero points (restarts, inputs or 1)."""
        below, above = np.minimum(self.inputs.low, 0), np.maximum(self.inputs.high, 0)
        # A range with zero in it has a zero point among its codes; one far from zero would be left with few codes.
        far = above - below > _FAR * (self.inputs.high - self.inputs.low)
        low, high = np.where(far, self.inputs.low, below), np.where(far, self.inputs.high, above)
        alive = self._scale > 0
        low, high = np.where(alive, low, 0.0), np.where(alive, high, 1.0)
        if quantization.input_range == "per_tensor":
            low, high = np.minimum(low.min(keepdims=True), 0), np.maximum(high.max(keepdims=True), 0)
        # What leaves its usual number in fewer than one of two thousand observations has no ends to move between.
        with np.errstate(divide="ignore"):
            inverse = np.broadcast_to(np.minimum(top / (high - low), 60000.0), (self.restarts, 1, len(low)))
        if quantization.input_range == "per_dimension":
            # Inputs of small weight take fewer of their codes, so that their weights take more.
            weight = np.abs(self.layers_of(self.matrices)[0][:, :, :-1] * (self._scale / inverse)).max(
                axis=1, keepdims=True
            )
            relative = weight / np.maximum(weight.max(axis=2, keepdims=True), 1e-12)
            inverse = inverse * np.clip(relative, 1 / 12, 1.0)
        zero_points = np.round(-low * inverse)[:, 0].astype(np.float32)
        return inverse, np.ascontiguousarray(zero_points)

    def network(self, restart: int) -> tuple[Layer, ...]:
        """That student as layers, without the head."""
        found: list[Layer] = []
        for index in range(len(self.sizes) - 1):
            if index:
                found.append(ACTIVATIONS[self.activation].layer)
            found.append(self._real(index, restart) if self.quantization is None else self._quantized(index, restart))
            if (norm := self.norms()[index]) is not None:
                stored = np.float32 if self.quantization is None else np.float16
                gain, shift = (part[restart].astype(stored) for part in norm)
                found.append(layers.LayerNorm(gain, shift, self.epsilons[index]))
        return tuple(found)

    def _real(self, index: int, restart: int) -> layers.Dense:
        matrix = self.layers_of(self.matrices)[index][restart].astype(np.float64)
        weight, bias = matrix[:, :-1], matrix[:, -1]
        if index == 0:
            weight = weight * self.inputs.scale
            bias = bias - weight @ self.inputs.centre
        return layers.Dense(weight.astype(np.float32), bias.astype(np.float32))

    def _quantized(self, index: int, restart: int) -> layers.QuantizedDense:
        quantization = self.quantization
        assert quantization is not None
        fan_in, fan_out = self.sizes[index : index + 2]
        codes = np.empty((fan_out, fan_in), np.float32)
        bias, step = np.empty(fan_out, np.float32), np.empty(fan_out, np.float32)
        inverse, zero = np.empty(fan_in, np.float32), np.empty(fan_in, np.float32)
        network = self.network_of()
        scratch = self.scratch(network, 1)
        self._functions.layer(
            ctypes.byref(network), ctypes.byref(self.student(restart)), index, pointer(scratch),
            *(pointer(array) for array in (codes, bias, step, inverse, zero)),
        )  # fmt: skip
        scale = step.astype(np.float16)
        weight = QuantizedTensor(
            codes.astype(np.int8),
            scale if quantization.per_channel else np.asarray(scale[0]),
            quantization.weight_bits[index],
        )
        if index or quantization.input_range == "per_tensor":
            range_ = static_range(inverse[:1], zero[:1], quantization)
        else:
            range_ = None if quantization.input_range == "none" else static_range(inverse, zero, quantization)
        return layers.QuantizedDense(weight, bias.astype(np.float16), range_)

    def begin(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        rng: np.random.Generator,
        norms: Sequence[layers.LayerNorm | None] = (),
    ) -> None:
        """Start the students from weights on raw observations and from norms, all but the first a little off."""
        for norm, own in zip(norms, self.norms(), strict=False):
            if norm is not None and own is not None:
                own[0][:], own[1][:] = norm.weight, norm.bias
        for index, (matrix, weight, bias) in enumerate(
            zip(self.layers_of(self.matrices), weights, biases, strict=True)
        ):
            real, offset = weight.astype(np.float64), bias.astype(np.float64)
            if index == 0:
                scale = self.inputs.scale
                offset = offset + real @ self.inputs.centre
                real = np.where(scale > 0, real / np.where(scale > 0, scale, 1), 0)
            start = np.concatenate([real, offset[:, None]], axis=1)[None].repeat(self.restarts, axis=0)
            noise = 0.02 * np.sqrt((real**2).mean()) * rng.standard_normal(start.shape)
            noise[0] = 0
            matrix[:] = start + noise

    def hold_zeros(self, kept: Sequence[np.ndarray]) -> None:
        """Set the weights that are not kept (by layer, outputs x inputs) to zero; training leaves them so."""
        held = np.ones_like(self.matrices)
        for matrix, keep in zip(self.layers_of(held), kept, strict=True):
            matrix[:, :, :-1] = keep
        self._hold(held)

    def prune(self, sparsity: float) -> None:
        """Set the least weights of each student to zero from now on, until this part of all its weights is.

        Compared over all layers is a weight's square over the sum of those in its layer that are no smaller (Lee et al.
        2021, arXiv 2010.07611, equation 4): by size alone a small layer between large ones is cut to nothing.
        """
        held = np.ones_like(self.matrices)
        weights = [matrix[:, :, :-1].reshape(self.restarts, -1) for matrix in self.layers_of(self.matrices)]
        scores = np.concatenate([_scores(part.astype(np.float64)) for part in weights], axis=1)
        n_zero = int(sparsity * scores.shape[1] + 1e-9)
        kept = np.ones(scores.shape, bool)
        np.put_along_axis(kept, np.argsort(scores, axis=1, kind="stable")[:, :n_zero], False, axis=1)
        ends = np.cumsum([part.shape[1] for part in weights])[:-1]
        for matrix, part in zip(self.layers_of(held), np.split(kept, ends, axis=1), strict=True):
            matrix[:, :, :-1] = part.reshape(matrix[:, :, :-1].shape)
        self._hold(held)

    def _hold(self, held: Float32[np.ndarray, "restarts n"]) -> None:
        held = held if self._kept is None else held * self._kept
        self._kept = None if held.all() else held
        self.matrices *= held


def _scores(weights: Float64[np.ndarray, "restarts n"]) -> Float64[np.ndarray, "restarts n"]:
    """Each weight's square over the sum of the squares that are no smaller; 0 where all are."""
    order = np.argsort(weights**2, axis=1, kind="stable")
    squares = np.take_along_axis(weights**2, order, axis=1)
    left = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    scores = np.zeros_like(weights)
    np.put_along_axis(scores, order, squares / np.maximum(left, np.finfo(np.float64).tiny), axis=1)
    return scores
