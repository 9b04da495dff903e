"""A student that sees images, trained by torch: convolutions and dense layers behind ReLU, real or on integer codes.

What is trained quantized is what an artifact computes, bit for bit: see `torch_layer`.
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn
from torch.nn import functional

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.layers import Layer
from lilliput.policies.students.frames import Frames
from lilliput.policies.students.inheritance import Filters
from lilliput.policies.students.torch_layer import Bits, Compressed

BATCH: Final = 64
_AT_ONCE: Final = 256
_LAST_RATE: Final = 1e-5
_TOP: Final = 255


@final
@dataclass(frozen=True)
class Shape:
    """Of a student: what it sees, and its layers.

    Attributes:
        image: channels, height, width.
        windows: (kernel, stride, padding) of each convolution, each of two numbers.
        channels: of the convolutions; hidden: units of the dense layers behind them; outputs: numbers that it gives.
    """

    image: tuple[int, int, int]
    windows: tuple[tuple[tuple[int, int], tuple[int, int], tuple[int, int]], ...]
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int

    def modules(self) -> list[nn.Linear | nn.Conv2d]:
        """New layers.

        Raises:
            LilliputError: a convolution that is larger than what it sees.
        """
        made: list[nn.Linear | nn.Conv2d] = []
        shape: tuple[int, ...] = self.image
        for n, (kernel, stride, padding) in zip(self.channels, self.windows, strict=True):
            made.append(nn.Conv2d(shape[0], n, kernel, stride, padding))
            empty = layers.Conv2d(np.zeros((n, shape[0], *kernel), np.float32), None, stride, padding)
            shape = layers.output_shape(empty, shape)
        sizes = (math.prod(shape), *self.hidden, self.outputs)
        return [*made, *(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))]


@final
class ImageStudent:
    """One student: real at first, then quantized.

    Args:
        shape: of it.
        weight_bits: of each layer; None: it stays real.
        activation_bits: of every layer's input but the image, whose bytes are taken as they are.
        seed: of its first weights.

    Raises:
        LilliputError: as many bits as there are not layers, or sums that float32 does not hold exactly.
    """

    def __init__(self, shape: Shape, weight_bits: Sequence[int] | None, activation_bits: int, seed: int) -> None:
        torch.set_num_threads(1)  # the same numbers wherever it is trained
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            modules = shape.modules()
            for module in modules[:-1]:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if weight_bits is not None and len(weight_bits) != len(modules):
            raise LilliputError(
                f"weight_bits has {len(weight_bits)} numbers; the student has {len(modules)} layers: give one for all "
                "or one each"
            )
        bits: list[Bits | None] = [None] * len(modules)
        if weight_bits is not None:
            bits = [Bits(n, activation_bits if index else 8) for index, n in enumerate(weight_bits)]
        self._layers = [
            Compressed(module, own, signed=False, per_input=False) for module, own in zip(modules, bits, strict=True)
        ]
        self._layers[0].log_inverse.requires_grad_(False)  # its codes are the bytes
        self._n_convolutions = len(shape.channels)
        # Zeros around an image are no grey: behind padding bytes cannot be centred and taken back.
        self._centred = not any(modules[0].padding) if isinstance(modules[0], nn.Conv2d) else False
        self._centre, self._spread = 0.0, 1.0
        self._optimizer: torch.optim.Adam | None = None

    def outputs(self, images: UInt8[np.ndarray, "n c h w"]) -> Float32[np.ndarray, "n outputs"]:
        """What it gives before the head."""
        with torch.no_grad():
            parts = [self._forward(images[i : i + _AT_ONCE]).numpy() for i in range(0, len(images), _AT_ONCE)]
        return np.concatenate(parts)

    def train(
        self,
        frames: Frames,
        targets: Float32[np.ndarray, "n outputs"],
        groups: Sequence[int],
        rows: np.ndarray,
        rates: Sequence[float],
        deadline: float | None = None,
    ) -> float:
        """The mean loss of a step for each row of `rows` (steps, batch) at its rate, until the deadline.

        The loss is the divergence of the softmaxes of student and teacher, group by group; `targets` are in units of
        the usual gap between the two best.

        Raises:
            LilliputError: a loss is not finite.
        """
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(self._parameters(), fused=True)
        losses = [0.0]
        for batch, rate in zip(rows, rates, strict=True):
            if deadline is not None and time.monotonic() > deadline:
                break
            for group in self._optimizer.param_groups:
                group["lr"] = rate + _LAST_RATE
            wanted = torch.from_numpy(targets[batch])
            given = self._forward(frames.rows(batch), training=True)
            loss = torch.zeros(())
            for said, want in zip(given.split(list(groups), 1), wanted.split(list(groups), 1), strict=True):
                loss = loss + functional.cross_entropy(said, torch.softmax(2 * want, dim=1))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise LilliputError("distill_images: the loss is not finite; take another seed or more bits")
        return float(np.mean(losses))

    def begin(self, images: UInt8[np.ndarray, "n c h w"], inherited: Sequence[Filters] = ()) -> None:
        """Take bytes in units of their spread around their mean: most of a frame is background.

        The first convolutions are those that it inherits, on bytes.
        """
        parts = images.astype(np.float32) / _TOP
        self._centre = float(parts.mean(dtype=np.float64)) if self._centred else 0.0
        self._spread = max(float(parts.std(dtype=np.float64)), 1e-3)
        with torch.no_grad():
            for index, (layer, filters) in enumerate(zip(self._layers, inherited, strict=False)):
                weight, bias = (torch.from_numpy(part.copy()) for part in filters)
                if index == 0:  # the inverse of what `_on_parts` and the division by 255 will do
                    bias = bias + self._centre * _TOP * weight.flatten(1).sum(1)
                    weight = weight * (_TOP * self._spread)
                for parameter, value in zip(_learned(layer), (weight, bias), strict=True):
                    parameter.copy_(value)

    def quantize(self, images: UInt8[np.ndarray, "n c h w"]) -> None:
        """Quantize it from now on, with ranges and steps that fit what it is on these images."""
        with torch.no_grad():
            for parameter, value in zip(_learned(self._layers[0]), self._on_parts(), strict=True):
                parameter.copy_(value)
            self._centre, self._spread = 0.0, 1.0
            for layer in self._layers:
                layer.largest.zero_()
            for i in range(0, len(images), _AT_ONCE):
                self._forward(images[i : i + _AT_ONCE], training=True)
            self._layers[0].largest.fill_(1.0)
            for layer in self._layers:
                layer.begin()
                layer.log_step.copy_(torch.log(_best_step(layer)))
        self._optimizer = None

    def network(self) -> tuple[Layer, ...]:
        """Its layers on raw images, without the head."""
        found: list[Layer] = []
        for index, layer in enumerate(self._layers):
            made = layer.deployed()
            if index == 0:
                made = self._on_bytes(made)
            if index == self._n_convolutions:
                found.append(layers.Flatten())
            found.append(made)
            if index < len(self._layers) - 1:
                found.append(layers.Relu())
        return tuple(found)

    def state(self) -> dict[str, np.ndarray]:
        """Its real weights, and what it takes bytes for."""
        found = {"bytes": np.array([self._centre, self._spread])}
        for index, layer in enumerate(self._layers):
            found |= {
                f"{index}.{name}": parameter.detach().numpy().copy()
                for name, parameter in zip(("weight", "bias"), _learned(layer), strict=True)
            }
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take those weights."""
        self._centre, self._spread = (float(number) for number in state["bytes"])
        with torch.no_grad():
            for index, layer in enumerate(self._layers):
                for name, parameter in zip(("weight", "bias"), _learned(layer), strict=True):
                    parameter.copy_(torch.from_numpy(state[f"{index}.{name}"]))

    def _forward(self, images: np.ndarray, *, training: bool = False) -> torch.Tensor:
        # Channels last: convolutions of few channels take half the time.
        x = torch.from_numpy(images).to(torch.float32, memory_format=torch.channels_last)
        for index, layer in enumerate(self._layers):
            layer.train(training)
            x = x.flatten(1) if index == self._n_convolutions else x
            x = layer(x) if index else self._first(x)
            x = torch.relu(x) if index < len(self._layers) - 1 else x
        return x

    def _first(self, x: torch.Tensor) -> torch.Tensor:
        """What the first layer gives of bytes: its few weights are turned to them, not the many bytes to its units."""
        first = self._layers[0]
        if bool(first.quantized):
            return first.of_codes(x)
        weight, bias = self._on_parts()
        return first.product(x, weight / _TOP, bias)

    def _on_parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the first layer on parts of 255."""
        weight, bias = _learned(self._layers[0])
        weight = weight / self._spread
        return weight, bias - self._centre * weight.flatten(1).sum(1)

    def _on_bytes(self, layer: Layer) -> Layer:
        """The first layer as deployed, for bytes: their codes are those of parts of 255."""
        match layer:
            case layers.QuantizedConv2d(input=layers.StaticRange() as range_):
                one = np.ones_like(range_.inverse_scale)
                return dataclasses.replace(layer, input=dataclasses.replace(range_, inverse_scale=one))
            case layers.Conv2d():
                with torch.no_grad():
                    weight, bias = (part.numpy().copy() for part in self._on_parts())
                return dataclasses.replace(layer, weight=weight / np.float32(_TOP), bias=bias)
            case _:
                raise AssertionError(type(layer))

    def _parameters(self) -> list[nn.Parameter]:
        found: list[nn.Parameter] = []
        for index, layer in enumerate(self._layers):
            found += _learned(layer)
            if bool(layer.quantized):
                found += [layer.log_step, *(() if index == 0 else (layer.log_inverse,))]
        return found


def _learned(layer: Compressed) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias."""
    assert isinstance(layer.weight, nn.Parameter)
    assert isinstance(layer.bias, nn.Parameter)
    return layer.weight, layer.bias


def _best_step(layer: Compressed) -> torch.Tensor:
    """The step of least squared error of the weights; from the largest alone few bits would be few codes."""
    assert layer.bits is not None
    top = 2 ** (layer.bits.weight - 1) - 1
    weight = layer.weight.detach()
    most = weight.abs().max().clamp(min=1e-8) / top
    steps = [most * factor for factor in np.linspace(0.2, 1.0, 33)]
    errors = [((torch.clamp(torch.round(weight / step), -top, top) * step - weight) ** 2).sum() for step in steps]
    return steps[int(torch.stack(errors).argmin())]


def outputs_of(stack: Sequence[Layer], images: UInt8[np.ndarray, "n c h w"]) -> Float32[np.ndarray, "n outputs"]:
    """What the layers give: `reference` up to the order of sums, several times as fast on images."""
    with torch.no_grad():
        parts = [_played(stack, images[i : i + _AT_ONCE]) for i in range(0, len(images), _AT_ONCE)]
    return np.concatenate(parts).reshape(len(images), -1).astype(np.float32)


def _played(stack: Sequence[Layer], images: np.ndarray) -> np.ndarray:
    x = images.astype(np.float32)
    for layer in stack:
        match layer:
            case layers.Conv2d():
                given = (_tensor(x), _tensor(layer.weight), None if layer.bias is None else _tensor(layer.bias))
                x = functional.conv2d(*given, stride=layer.stride, padding=layer.padding).numpy()
            case layers.Dense():
                x = x @ layer.weight.astype(np.float32).T
                x = x if layer.bias is None else x + layer.bias.astype(np.float32)
            case _:
                x = reference.apply(layer, x)
    return x


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))
