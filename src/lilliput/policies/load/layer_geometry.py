"""Convolutions and batch normalizations as programs give them, whatever language they are written in."""

from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow
from lilliput.policies.load.flow import Flow


def conv2d(
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> layers.Conv2d:
    """The layer.

    Raises:
        LilliputError: dilation, groups, or numbers of a damaged file.
    """
    if weight.ndim != 4 or not weight.size or dilation != (1, 1) or groups != 1:
        raise flow.NoLayer("a Conv with dilation, groups or not 2-d; supported: 2-d, with stride and padding")
    if max(stride) > 1 << 16 or max(padding) > 1 << 10 or min(stride) < 1 or min(padding) < 0:
        raise LilliputError(f"a Conv with the strides {stride} and the padding {padding}; it is damaged")
    return layers.Conv2d(weight, bias, stride, padding)


def same_padding(weight: np.ndarray, stride: tuple[int, ...], dilation: tuple[int, ...] = (1, 1)) -> tuple[int, int]:
    """The padding of "same": that which keeps the size, on both sides alike.

    Raises:
        LilliputError: one side would get more, or what it is depends on the image.
    """
    if (
        weight.ndim != 4
        or any(size % 2 == 0 for size in weight.shape[2:])
        or set(stride) != {1}
        or set(dilation) != {1}
    ):
        raise LilliputError(
            'a Conv with padding "same" and a kernel of even size, strides or dilation, which pads one side more; '
            "supported: equal padding on both sides"
        )
    return weight.shape[2] // 2, weight.shape[3] // 2


@final
@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """What a batch normalization holds; no gain: 1, no bias: 0."""

    gain: np.ndarray | None
    bias: np.ndarray | None
    mean: np.ndarray
    var: np.ndarray
    epsilon: float


def batch_norm(x: Flow, statistics: BatchStatistics) -> Flow:
    """The value normalized over its second axis, whatever stands behind that.

    Raises:
        LilliputError: numbers that do not fit each other or the value.
    """
    channels = x.shape[1] if len(x.shape) > 1 else 1
    given = [part for part in (statistics.gain, statistics.bias, statistics.mean, statistics.var) if part is not None]
    if {part.shape for part in given} != {(channels,)} or (statistics.var < 0).any():
        raise LilliputError("a BatchNormalization whose numbers do not fit each other; it is damaged")
    scale = (1.0 if statistics.gain is None else statistics.gain) / np.sqrt(statistics.var + statistics.epsilon)
    shift = (0.0 if statistics.bias is None else statistics.bias) - statistics.mean * scale
    wide = (channels,) + (1,) * (len(x.shape) - 2)
    return flow.affine(x, scale.reshape(wide), np.asarray(shift).reshape(wide))
