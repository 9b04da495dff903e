"""What a student that sees images begins with: the filters of its teacher's convolutions that say most."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch.nn import functional

from lilliput.policies import layers
from lilliput.policies.layers import Layer

Filters = tuple[np.ndarray, np.ndarray]
"""Weight and bias of a convolution."""


def inherited(
    stack: Sequence[Layer], channels: Sequence[int], images: UInt8[np.ndarray, "n c h w"]
) -> tuple[Filters, ...]:
    """The student's first convolutions, on bytes, as many as can be had of the teacher's.

    Of each layer those channels stay whose changes change most of what the next one gives (their variance on the
    images by their squared weights there). Each layer is scaled to outputs of the size 1, as new weights have it.
    """
    plain, rest = _on_bytes(stack)
    found: list[Filters] = []
    given = torch.from_numpy(images.astype(np.float32))
    # What the student's layers give, from which of the teacher's channels, and what is 1 there.
    kept_given, inputs, unit = given, np.arange(images.shape[1]), 1.0
    for index, (n, convolution) in enumerate(zip(channels, plain, strict=False)):
        bias = np.zeros(len(convolution.weight), np.float32) if convolution.bias is None else convolution.bias
        if n > len(bias):
            break
        given = _behind(given, convolution.weight, bias, convolution)
        after = _weights_after(plain[index + 1 :], rest, len(bias))
        if after is None:
            break
        says = given.var((0, 2, 3)).numpy() * np.square(after).sum((0, 2))
        kept = np.sort(np.argsort(-says, kind="stable")[:n])
        weight, bias = convolution.weight[np.ix_(kept, inputs)], bias[kept] / unit
        size = float(_behind(kept_given, weight, bias, convolution).square().mean().sqrt())
        if size == 0:
            break
        found.append(((weight / size).astype(np.float32), (bias / size).astype(np.float32)))
        kept_given, inputs, unit = _behind(kept_given, *found[-1], convolution), kept, unit * size
    return tuple(found)


def _on_bytes(stack: Sequence[Layer]) -> tuple[list[layers.Conv2d], Sequence[Layer]]:
    """The real convolutions that the stack begins with, each behind the last one's ReLU, and what comes after them."""
    scale = 1.0
    if stack and isinstance(first := stack[0], layers.Standardize):
        if first.scale.ndim or first.mean.any() or np.isfinite(first.clip).any():
            return [], stack
        scale, stack = float(first.scale), stack[1:]
    found: list[layers.Conv2d] = []
    at = 0
    while at + 1 < len(stack) and isinstance(layer := stack[at], layers.Conv2d):
        if not isinstance(stack[at + 1], layers.Relu):
            break
        factor = np.float32(1.0 if found else scale)
        found.append(layers.Conv2d(layer.weight.astype(np.float32) * factor, layer.bias, layer.stride, layer.padding))
        at += 2
    return found, stack[at:]


def _weights_after(
    convolutions: Sequence[layers.Conv2d], rest: Sequence[Layer], n: int
) -> Float32[np.ndarray, "outputs n places"] | None:
    """What the next layer weights n channels by; None where it is no layer of weights."""
    if convolutions:
        weight = convolutions[0].weight
    else:
        dense = next((layer for layer in rest if not isinstance(layer, layers.Flatten)), None)
        if not isinstance(dense, layers.Dense):
            return None
        weight = dense.weight
    return weight.astype(np.float32).reshape(len(weight), n, -1)


def _behind(x: torch.Tensor, weight: np.ndarray, bias: np.ndarray, convolution: layers.Conv2d) -> torch.Tensor:
    """What those filters give, after ReLU."""
    given = (torch.from_numpy(np.array(part, np.float32)) for part in (weight, bias))
    return torch.relu(functional.conv2d(x, *given, stride=convolution.stride, padding=convolution.padding))
