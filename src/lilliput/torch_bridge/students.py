"""Several students of one shape trained together; torch computes for them what `reference` does for their layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from lilliput import layers
from lilliput.affine import QuantizedTensor, signed_range, unsigned_max
from lilliput.errors import LilliputError
from lilliput.layers import Layer

Activation = Literal["silu", "relu", "tanh"]
InputRange = Literal["per_dimension", "per_tensor", "none"]

_SMALLEST_SCALE = 2.0**-14
"""The smallest float16 of full precision; scales are stored in it."""
_FAR = 6.0


@final
@dataclass(frozen=True)
class _Kind:
    function: Callable[[Tensor], Tensor]
    layer: Layer
    lowest: float
    gain: float


ACTIVATIONS: dict[str, _Kind] = {
    "silu": _Kind(torch.nn.functional.silu, layers.Silu(), -0.27846, 1.7),
    "relu": _Kind(torch.relu, layers.Relu(), 0.0, 1.4),
    "tanh": _Kind(torch.tanh, layers.Tanh(), -1.0, 1.2),
}
"""By name: the function, the layer, its lowest value and a gain for the first weights."""


@final
@dataclass(frozen=True)
class Quantization:
    """How students are quantized.

    Attributes:
        weight_bits: of each linear layer.
        activation_bits: of every quantized input.
        input_range: of the first layer: one a dimension, one for all, or none (real observations, integer weights).
        per_channel: a weight scale for every output instead of one a layer.
    """

    weight_bits: tuple[int, ...]
    activation_bits: int = 8
    input_range: InputRange = "per_dimension"
    per_channel: bool = False


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
        matrices: one a linear layer: (restarts, outputs, inputs + 1), weights on standardized inputs and last the bias.
        quantization: None while the students are real.
    """

    def __init__(
        self, sizes: Sequence[int], activation: Activation, restarts: int, inputs: Inputs, rng: np.random.Generator
    ) -> None:
        self.sizes, self.activation, self.inputs = tuple(sizes), activation, inputs
        self.quantization: Quantization | None = None
        kind = ACTIVATIONS[activation]
        self.matrices: list[Tensor] = []
        for index, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            gain = kind.gain if index < len(self.sizes) - 2 else 0.5
            start = np.zeros((restarts, fan_out, fan_in + 1), np.float32)
            start[:, :, :-1] = rng.standard_normal((restarts, fan_out, fan_in)) * gain / np.sqrt(fan_in)
            if index < len(self.sizes) - 2:
                start[:, :, -1] = rng.standard_normal((restarts, fan_out)) * 0.5
            self.matrices.append(torch.tensor(start, requires_grad=True))
        self.log_steps: list[Tensor] = []
        self.log_inverse: list[Tensor] = []
        self._centre = torch.tensor(inputs.centre, dtype=torch.float32)
        self._scale = torch.tensor(inputs.scale, dtype=torch.float32)
        self._low = torch.tensor((inputs.low - inputs.centre) * inputs.scale, dtype=torch.float32)
        self._high = torch.tensor((inputs.high - inputs.centre) * inputs.scale, dtype=torch.float32)
        self._zero_points: Tensor = torch.zeros(())

    @property
    def restarts(self) -> int:
        """How many there are."""
        return len(self.matrices[0])

    @property
    def scales(self) -> list[Tensor]:
        """The learned logarithms of step sizes and ranges; none while the students are real."""
        return [scale for scale in self.log_steps + self.log_inverse if scale.requires_grad]

    def forward(self, x: Tensor) -> Tensor:
        """The outputs before the head (restarts, n, outputs) for observations (n, inputs) or (restarts, n, inputs)."""
        kind = ACTIVATIONS[self.activation]
        x = x.expand(self.restarts, -1, -1)
        if self.quantization is None:
            y = torch.clamp((x - self._centre) * self._scale, self._low, self._high)
            for index, matrix in enumerate(self.matrices):
                y = y if index == 0 else kind.function(y)
                y = torch.baddbmm(matrix[:, None, :, -1], y, matrix[:, :, :-1].mT)
            return y
        y = self._first(x, self.quantization)
        for index in range(1, len(self.matrices)):
            y = self._later(index, kind.function(y), self.quantization)
        return y

    def _first(self, x: Tensor, quantization: Quantization) -> Tensor:
        matrix = self.matrices[0]
        if quantization.input_range == "none":
            codes, step = self._codes(0, matrix[:, :, :-1] * self._scale)
            shift = _product(codes * step, self._centre)
            return torch.addcmul(_half(matrix[:, :, -1] - shift)[:, None], x @ codes.mT, step.mT)
        inverse, zero = self._input_range()
        q = _input_codes(x, inverse, zero, unsigned_max(quantization.activation_bits))
        codes, step = self._codes(0, matrix[:, :, :-1] * (self._scale / inverse))
        shift = _product(codes * step, zero + self._centre * inverse)
        return torch.addcmul(_half(matrix[:, :, -1] - shift)[:, None], q @ codes.mT, step.mT)

    def _later(self, index: int, x: Tensor, quantization: Quantization) -> Tensor:
        matrix = self.matrices[index]
        inverse, zero = self._hidden_range(index)
        q = _input_codes(x, inverse, zero, unsigned_max(quantization.activation_bits))
        codes, step = self._codes(index, matrix[:, :, :-1] / inverse)
        shift = _product(codes * step, zero.expand(-1, -1, codes.shape[-1]))
        return torch.addcmul(_half(matrix[:, :, -1] - shift)[:, None], q @ codes.mT, step.mT)

    def _input_range(self) -> tuple[Tensor, Tensor]:
        return _half(torch.exp(self.log_inverse[0])), self._zero_points

    def _hidden_range(self, index: int) -> tuple[Tensor, Tensor]:
        assert self.quantization is not None
        inverse = _half(torch.exp(self.log_inverse[index]))
        top = unsigned_max(self.quantization.activation_bits)
        zero = torch.clamp(torch.round(-ACTIVATIONS[self.activation].lowest * inverse), 0, top)
        return inverse, zero.detach()

    def _codes(self, index: int, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes (restarts, outputs, inputs) and their step (restarts, outputs or 1, 1)."""
        assert self.quantization is not None
        low, high = signed_range(self.quantization.weight_bits[index])
        step = _half(torch.exp(self.log_steps[index]).clamp(min=_SMALLEST_SCALE))
        return _rounded(torch.clamp(weight / step, low, high)), step

    def keep(self, chosen: Sequence[int]) -> None:
        """Nothing; the others are forgotten. Only while the students are real."""
        assert self.quantization is None
        rows = torch.tensor(chosen)
        self.matrices = [matrix.detach()[rows].clone().requires_grad_(True) for matrix in self.matrices]

    @torch.no_grad()
    def quantize(self, quantization: Quantization, observations: Tensor) -> None:
        """Nothing; the students are quantized from now on, with ranges and steps that fit what they are.

        Raises:
            LilliputError: as many bits are given as there are not layers.
        """
        if len(quantization.weight_bits) != len(self.matrices):
            raise LilliputError(
                f"weight_bits has {len(quantization.weight_bits)} numbers; "
                f"the student has {len(self.matrices)} layers: give one for all or one each"
            )
        kind, top = ACTIVATIONS[self.activation], unsigned_max(quantization.activation_bits)
        ends = []
        y = torch.clamp((observations - self._centre) * self._scale, self._low, self._high)
        for index, matrix in enumerate(self.matrices):
            y = y if index == 0 else kind.function(y)
            ends.append(torch.quantile(y.reshape(y.shape[0] if index else 1, -1)[:, :1_000_000], 0.9995, dim=1))
            y = y @ matrix[:, :, :-1].mT + matrix[:, None, :, -1]
        self.quantization = quantization
        self.log_inverse, self.log_steps = [], []
        learned = quantization.input_range != "none"
        for index, matrix in enumerate(self.matrices):
            if index == 0:
                inverse, self._zero_points = self._first_range(quantization, top)
                weight = matrix[:, :, :-1] * (self._scale / inverse if learned else self._scale)
            else:
                inverse = (top / (ends[index].clamp(min=0.1) - kind.lowest)).reshape(-1, 1, 1)
                weight = matrix[:, :, :-1] / inverse
            self.log_inverse.append(torch.log(inverse).clone().requires_grad_(learned or index > 0))
            step = _best_step(weight, quantization.weight_bits[index], per_channel=quantization.per_channel)
            self.log_steps.append(torch.log(step).clone().requires_grad_(True))

    def _first_range(self, quantization: Quantization, top: int) -> tuple[Tensor, Tensor]:
        """The first layer's inverse scales (restarts, 1, inputs or 1), and zero points of a byte where cheap."""
        below, above = np.minimum(self.inputs.low, 0), np.maximum(self.inputs.high, 0)
        # A range with zero in it has a zero point among its codes; one far from zero would be left with few codes.
        far = above - below > _FAR * (self.inputs.high - self.inputs.low)
        low = torch.tensor(np.where(far, self.inputs.low, below), dtype=torch.float32)
        high = torch.tensor(np.where(far, self.inputs.high, above), dtype=torch.float32)
        alive = self._scale > 0
        low, high = torch.where(alive, low, 0.0), torch.where(alive, high, 1.0)
        if quantization.input_range == "per_tensor":
            low, high = low.min().clamp(max=0).reshape(1), high.max().clamp(min=0).reshape(1)
        inverse = (top / (high - low)).clamp(max=60000.0)
        restarts = self.restarts
        inverse = inverse.expand(restarts, 1, -1).clone()
        if quantization.input_range == "per_dimension":
            # Inputs of small weight take fewer of their codes, so that their weights take more.
            weight = (self.matrices[0][:, :, :-1] * self._scale / inverse).abs().amax(dim=1, keepdim=True)
            relative = weight / weight.amax(dim=2, keepdim=True).clamp(min=1e-12)
            inverse = inverse * relative.clamp(1 / 12, 1.0)
        return inverse, torch.round(-low * inverse)

    @torch.no_grad()
    def network(self, restart: int) -> tuple[Layer, ...]:
        """That student as layers, without the head."""
        kind = ACTIVATIONS[self.activation]
        found: list[Layer] = []
        for index in range(len(self.matrices)):
            if index:
                found.append(kind.layer)
            found.append(self._real(index, restart) if self.quantization is None else self._quantized(index, restart))
        return tuple(found)

    def _real(self, index: int, restart: int) -> layers.Dense:
        matrix = self.matrices[index][restart].double().numpy()
        weight, bias = matrix[:, :-1], matrix[:, -1]
        if index == 0:
            weight = weight * self.inputs.scale
            bias = bias - weight @ self.inputs.centre
        return layers.Dense(weight.astype(np.float32), bias.astype(np.float32))

    def _quantized(self, index: int, restart: int) -> layers.QuantizedDense:
        quantization = self.quantization
        assert quantization is not None
        matrix = self.matrices[index]
        if index == 0 and quantization.input_range == "none":
            codes, step = self._codes(0, matrix[:, :, :-1] * self._scale)
            shift, range_ = _product(codes * step, self._centre), None
        elif index == 0:
            inverse, zero = self._input_range()
            codes, step = self._codes(0, matrix[:, :, :-1] * (self._scale / inverse))
            shift = _product(codes * step, zero + self._centre * inverse)
            range_ = _static(inverse[restart, 0], zero[restart, 0], quantization)
        else:
            inverse, zero = self._hidden_range(index)
            codes, step = self._codes(index, matrix[:, :, :-1] / inverse)
            shift = _product(codes * step, zero.expand(-1, -1, codes.shape[-1]))
            range_ = _static(inverse[restart, 0], zero[restart, 0], quantization)
        bias = _half(matrix[:, :, -1] - shift)[restart]
        scale = step[restart, :, 0].numpy().astype(np.float16)
        weight = QuantizedTensor(
            codes[restart].numpy().astype(np.int8),
            scale if quantization.per_channel else np.asarray(scale[0]),
            quantization.weight_bits[index],
        )
        return layers.QuantizedDense(weight, bias.numpy().astype(np.float16), range_)

    @torch.no_grad()
    def outputs(self, x: Float32[np.ndarray, "n inputs"]) -> Float32[np.ndarray, "n outputs"]:
        """What the students give before the head: the first observations are the first student's, and so on."""
        y = self.forward(torch.from_numpy(x.reshape(self.restarts, -1, x.shape[1])))
        return y.reshape(len(x), -1).numpy()

    @torch.no_grad()
    def begin(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], rng: np.random.Generator) -> None:
        """Nothing; the students start from weights on raw observations, all but the first a little off."""
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            real, offset = weight.astype(np.float64), bias.astype(np.float64)
            if index == 0:
                scale = self.inputs.scale
                offset = offset + real @ self.inputs.centre
                real = np.where(scale > 0, real / np.where(scale > 0, scale, 1), 0)
            start = np.concatenate([real, offset[:, None]], axis=1)[None].repeat(self.restarts, axis=0)
            noise = 0.02 * np.sqrt((real**2).mean()) * rng.standard_normal(start.shape)
            noise[0] = 0
            self.matrices[index] = torch.tensor((start + noise).astype(np.float32), requires_grad=True)

    def state(self) -> dict[str, np.ndarray]:
        """The real students as arrays, to go on from later."""
        return {f"matrix_{index}": matrix.detach().numpy().copy() for index, matrix in enumerate(self.matrices)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Nothing; the matrices are those that `state` gave."""
        self.matrices = [
            torch.tensor(state[f"matrix_{index}"], requires_grad=True) for index in range(len(self.matrices))
        ]


def _static(inverse: Tensor, zero: Tensor, quantization: Quantization) -> layers.StaticRange:
    inverse_scale, zero_point = inverse.numpy().astype(np.float16), zero.numpy().astype(np.int32)
    if len(inverse_scale) == 1:
        inverse_scale, zero_point = inverse_scale.reshape(()), zero_point.reshape(())
    return layers.StaticRange(inverse_scale, zero_point, quantization.activation_bits)


def _product(weight: Tensor, vector: Tensor) -> Tensor:
    """(restarts, outputs) of weights (restarts, outputs, inputs) and vectors (restarts, 1, inputs) or (inputs)."""
    return (weight * vector).sum(dim=-1)


@final
class _InputCodes(torch.autograd.Function):
    """round(x * inverse) + zero within 0 and top; the gradient passes the rounding and stops at the ends.

    As one function it passes over the batch half as often as the same in parts: this is where the time goes.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, inverse: Tensor, zero: Tensor, top: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        codes = torch.mul(x, inverse).round_().add_(zero)
        clamped = codes.clamp(0, top)
        context.save_for_backward(x, inverse, codes != clamped)
        return clamped

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, inverse, outside = context.saved_tensors
        gradient = gradient.masked_fill(outside, 0)
        of_inverse = None
        if context.needs_input_grad[1]:
            parts = (gradient.flatten(1)[:, None], x.flatten(1)[:, :, None])
            of_inverse = torch.bmm(*parts) if inverse[0].numel() == 1 else (gradient * x).sum(1, keepdim=True)
        return gradient.mul_(inverse) if context.needs_input_grad[0] else None, of_inverse, None, None


def _input_codes(x: Tensor, inverse: Tensor, zero: Tensor, top: int) -> Tensor:
    found = _InputCodes.apply(x, inverse, zero, top)
    assert isinstance(found, Tensor)
    return found


def _rounded(x: Tensor) -> Tensor:
    return x + (torch.round(x) - x).detach()


def _half(x: Tensor) -> Tensor:
    return x + (x.half().float() - x).detach()


def _best_step(weight: Tensor, bits: int, *, per_channel: bool) -> Tensor:
    """The step of least squared error (restarts, outputs or 1, 1)."""
    low, high = signed_range(bits)
    flat = weight if per_channel else weight.reshape(len(weight), 1, -1)
    most = flat.abs().amax(dim=-1, keepdim=True).clamp(min=1e-8)
    best, least = most / high, torch.full_like(most, float("inf"))
    for factor in np.linspace(0.2, 1.0, 33):
        step = most * float(factor) / max(high, 1)
        error = ((torch.clamp(torch.round(flat / step), low, high) * step - flat) ** 2).sum(dim=-1, keepdim=True)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
    return best.clamp(min=_SMALLEST_SCALE)
