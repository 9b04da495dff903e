"""A torch layer that trains as it will be deployed: with a mask on its weights, on the artifact's integer codes.

The forward pass is the arithmetic of `layers.QuantizedDense` on codes held in float32, where their sums are exact, so
that what is trained is bit for bit what the reference and the C compute. Gradients pass the rounding unchanged (the
straight-through estimator, arXiv 1308.3432), and the steps are learned (arXiv 1902.08153): their gradient follows from
the same formula.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor, check_bits

MAX_EXACT: Final = 1 << 24
"""Integers up to here are exact in float32."""


@final
@dataclass(frozen=True)
class Bits:
    """How many bits codes take; activation None: weights only."""

    weight: int
    activation: int | None

    def __post_init__(self) -> None:
        check_bits(self.weight, "weight_bits")
        if self.activation is not None:
            check_bits(self.activation, "activation_bits")


class Compressed(nn.Module):
    """Stands in the place of a Linear or Conv2d; both parameters stay the ones that the optimizer knows.

    Attributes:
        mask: 1 where a weight is there, 0 where it was pruned.
        bits: None trains in float32.
        signed: whether the input can be negative; then the zero point is the middle of the codes.
        per_input: whether each input of a Linear has a step of its own: observations, whose numbers differ in size.
        largest: the largest absolute input seen so far, one or one an input; the steps begin there.
        gradient: since `watch`, the sum of the gradients of all weights, of those that are masked as if they were 0.
    """

    mask: torch.Tensor
    unit_mask: torch.Tensor
    quantized: torch.Tensor
    largest: torch.Tensor
    gradient: torch.Tensor | None

    def __init__(self, layer: nn.Linear | nn.Conv2d, bits: Bits | None, *, signed: bool, per_input: bool) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.convolution = _convolution(layer) if isinstance(layer, nn.Conv2d) else None
        self.bits, self.signed, self.per_input = bits, signed, per_input
        self.register_buffer("mask", torch.ones_like(layer.weight))
        self.register_buffer("unit_mask", torch.ones(layer.weight.shape[0]))
        self.register_buffer("quantized", torch.zeros((), dtype=torch.bool))
        shape = (layer.weight.shape[1],) if per_input else ()
        self.register_buffer("largest", torch.zeros(shape))
        self.register_buffer("gradient", None)
        self.log_inverse = nn.Parameter(torch.zeros(shape))
        self.log_step = nn.Parameter(torch.zeros(()))
        if bits is not None and bits.activation is not None:
            sums = layer.weight[0].numel() * (2**bits.activation - 1) * (2 ** (bits.weight - 1) - 1)
            if sums > MAX_EXACT:
                raise LilliputError(
                    f"a layer of {layer.weight[0].numel()} inputs at {bits.weight} and {bits.activation} bits sums up "
                    f"to {sums}, more than float32 holds exactly ({MAX_EXACT}); use fewer bits or inputs"
                )

    def steps(self) -> tuple[nn.Parameter, ...]:
        """What the optimizer does not know yet: the logarithms of the steps."""
        if self.bits is None:
            return ()
        return (self.log_step,) if self.bits.activation is None else (self.log_step, self.log_inverse)

    def begin(self) -> None:
        """Quantizes from now on, with steps that hold what was seen so far.

        Raises:
            LilliputError: nothing was seen yet.
        """
        assert self.bits is not None
        with torch.no_grad():
            if self.bits.activation is not None:
                if not bool((self.largest > 0).any()):
                    raise LilliputError("no input was seen before quantization begins; let it begin later")
                # An input that stood still has no range of its own: it takes the largest of the others.
                largest = torch.where(self.largest > 0, self.largest, self.largest.max())
                self.log_inverse.copy_(torch.log(self._top() / largest))
            step = self._scaled_weight().abs().max() / (2 ** (self.bits.weight - 1) - 1)
            self.log_step.copy_(torch.log(torch.clamp(step, min=1e-8)))
            self.quantized.fill_(True)

    def watch(self) -> None:
        """Sums up gradients from now on; whoever used them sets the sum to 0."""
        self.register_buffer("gradient", torch.zeros_like(self.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.bits is None:
            return self.product(x, self._masked(), self._bias())
        if not bool(self.quantized):
            if self.training and self.bits.activation is not None:
                self._see(x.detach())
            return self.product(x, self._masked(), self._bias())
        if self.bits.activation is None:
            codes, step = self.weight_codes()
            return self._affine(self.product(x, codes, None), step)
        zero, top = self.zero_point(), 2**self.bits.activation - 1
        return self.of_codes(torch.clamp(_rounded(x * self.inverse()) + zero, 0, top))

    def of_codes(self, inputs: torch.Tensor) -> torch.Tensor:
        """What it gives of an input's codes, once it is quantized."""
        return self._affine(self.product(inputs, self.weight_codes()[0], None), self.scale())

    def weight_codes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights' integer codes, in float32, and their step."""
        assert self.bits is not None
        top = 2 ** (self.bits.weight - 1) - 1
        step = torch.exp(self.log_step)
        return torch.clamp(_rounded(self._scaled_weight() / step), -top, top), step

    def inverse(self) -> torch.Tensor:
        """Codes a unit of the input."""
        return torch.exp(self.log_inverse)

    def scale(self) -> torch.Tensor:
        """What a unit of the integer sums is worth."""
        return torch.exp(self.log_step) if self.per_input else torch.exp(self.log_step) * (1 / self.inverse())

    def zero_point(self) -> int:
        """The code of 0."""
        assert self.bits is not None
        assert self.bits.activation is not None
        return 2 ** (self.bits.activation - 1) if self.signed else 0

    def shift(self) -> torch.Tensor:
        """The bias with the zero point taken up, one an output."""
        if self.bits is None or self.bits.activation is None or not bool(self.quantized):
            return self._bias()
        codes, _ = self.weight_codes()
        return self._bias() - codes.flatten(1).sum(1) * self.zero_point() * self.scale()

    @torch.no_grad()
    def deployed(self) -> layers.Linear:
        """The layer as an artifact has it."""
        codes, step = self.weight_codes() if self.bits is not None and bool(self.quantized) else (None, None)
        padding = self.convolution
        if codes is None or step is None or self.bits is None:
            weight, bias = _array(self.weight * self.mask), _array(self._bias())
            return layers.Dense(weight, bias) if padding is None else layers.Conv2d(weight, bias, *padding)
        scale = step if self.bits.activation is None else self.scale()
        tensor = QuantizedTensor(_array(codes).astype(np.int8), _array(scale), self.bits.weight)
        range_ = None
        if self.bits.activation is not None:
            zero = np.full(tuple(self.log_inverse.shape), self.zero_point(), np.int32)
            range_ = layers.StaticRange(_array(self.inverse()), zero, self.bits.activation)
        bias = _array(self.shift())
        if padding is None:
            return layers.QuantizedDense(tensor, bias, range_)
        return layers.QuantizedConv2d(tensor, bias, range_, *padding)

    @torch.no_grad()
    def plain(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a float32 layer that computes nearly the same, without rounding its input."""
        if self.bits is None or not bool(self.quantized):
            return self.weight * self.mask, self._bias()
        codes, step = self.weight_codes()
        weight = codes * step
        if self.per_input and self.bits.activation is not None:
            weight = weight * self.inverse()
        return weight, self._bias()

    def _bias(self) -> torch.Tensor:
        bias = torch.zeros(self.weight.shape[0]) if self.bias is None else self.bias
        return bias * self.unit_mask

    def _masked(self) -> torch.Tensor:
        weight = self.weight * self.mask
        if self.gradient is not None and weight.requires_grad:
            weight.register_hook(self.gradient.add_)
        return weight

    def _scaled_weight(self) -> torch.Tensor:
        weight = self._masked()
        if not self.per_input or self.bits is None or self.bits.activation is None:
            return weight
        return weight * (1 / self.inverse())

    def _affine(self, sums: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        shift = self.shift()
        return sums * scale + shift.reshape(1, -1, *(1,) * (sums.ndim - 2))

    def product(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """What it would give of an input with those weights."""
        if self.convolution is None:
            return functional.linear(x, weight, bias)
        return functional.conv2d(x, weight, bias, *self.convolution)

    def _top(self) -> int:
        assert self.bits is not None
        assert self.bits.activation is not None
        return 2 ** (self.bits.activation - 1) - 1 if self.signed else 2**self.bits.activation - 1

    def _see(self, x: torch.Tensor) -> None:
        seen = x.abs().amax(0) if self.per_input else x.abs().max()
        torch.maximum(self.largest, seen.reshape(self.largest.shape), out=self.largest)


def _convolution(layer: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Stride and padding."""
    if isinstance(layer.padding, str) or layer.groups != 1 or layer.dilation != (1, 1):
        raise LilliputError("a convolution with groups, dilation or named padding cannot be compressed while it trains")
    (rows, columns), (above, left) = layer.stride, layer.padding
    return (rows, columns), (above, left)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    return x + (torch.round(x) - x).detach()


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
