"""What a vision model's input says of the pictures that it takes."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.images import Picture, Pictures
from lilliput.models.model import Model, Port

_AT_ONCE, _PIXELS_AT_ONCE = 64, 1 << 22
"""At open axes of pictures; what a network makes of them in between takes many times their memory."""

_CHANNELS = (1, 3)
_MASK = "pixel_mask"
"""DETR's second input, as optimum exports it: 1 where there is a picture."""


def picture_of(model: Model) -> Picture:
    """How the model sees pictures.

    Raises:
        LilliputError: it takes no pictures.
    """
    axes = _axes(model)
    if len(axes) == 2:  # which of the two it is, is certain: three times a square is no square
        seen = model.picture or Picture()
        return dataclasses.replace(seen, order="gray") if _edge(axes, 1) else seen
    first, last = axes[1] in _CHANNELS, axes[-1] in _CHANNELS
    gray = (axes[1] if first else axes[-1]) == 1
    if model.picture is not None:
        return dataclasses.replace(model.picture, order="gray") if gray else model.picture
    layout = "channels_last" if last and not first else "channels_first"
    # Boxes are parts of the whole picture: what a crop cuts off would move them.
    fit = "stretch" if model.family == "detection" else "crop"
    return Picture(order="gray" if gray else "rgb", layout=layout, fit=fit)


def size_of(model: Model) -> tuple[int, int]:
    """Height and width of the pictures that the model takes.

    Raises:
        LilliputError: neither the input nor the picture says it.
    """
    picture, axes = picture_of(model), _axes(model)
    if len(axes) == 2:
        edge = _edge(axes, 1) or _edge(axes, 3)
        return edge, edge
    if picture.size is not None:
        return picture.size, picture.size
    height, width = axes[2:] if picture.layout == "channels_first" else axes[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        call = 'picture(size=640, fit="letterbox")' if model.family == "detection" else "picture(size=224)"
        raise LilliputError(
            f"the model takes pictures of any size ({' x '.join(map(str, axes))}); say which: --picture '{call}'"
        )
    return height, width


def batch_of(model: Model) -> int:
    """How many pictures it takes at once."""
    first = _axes(model)[0]
    if isinstance(first, int) and first > 1:
        raise LilliputError(
            f"the model takes exactly {first} pictures at once; export it with an open first axis, or 1"
        )
    height, width = size_of(model)
    return first if isinstance(first, int) else min(_AT_ONCE, max(_PIXELS_AT_ONCE // (height * width), 1))


def picture_port(model: Model) -> Port:
    """The input that takes pictures: the only one, or of several the only one with height, width and channels.

    Three axes are one picture, as torchvision exports its detectors.

    Raises:
        NotApplicable: there is none.
    """
    found = [
        port
        for port in model.inputs
        if len(port.axes) == 4 and (port.axes[1] in _CHANNELS or port.axes[-1] in _CHANNELS)
    ]
    if not found and len(model.inputs) == 1 and model.family == "detection" and _is_one(model.inputs[0]):
        found = [model.inputs[0]]
    if not found and len(model.inputs) == 1 and (_edge(model.inputs[0].axes, 1) or _edge(model.inputs[0].axes, 3)):
        found = [model.inputs[0]]
    if len(found) != 1:
        shown = "; ".join(f"{port.name} {list(port.axes)}" for port in model.inputs)
        raise NotApplicable(
            f"the model takes {shown}; a model of pictures takes one input of four axes, three channels or one of gray"
            ", or rows of a square picture's numbers"
        )
    return found[0]


def feeds_of(model: Model, batch: np.ndarray) -> dict[str, np.ndarray]:
    """All that the model takes for a batch of pictures as `inputs_of` gives them: one without an axis of pictures where
    its input has none, and a mask that hides nothing.
    """
    port = picture_port(model)
    feeds = {port.name: batch[0] if _is_one(port) else batch}
    for other in model.inputs:
        if is_mask(other):
            shape = (batch.shape[0], *batch.shape[-2:])
            axes = tuple(
                own if isinstance(own, int) and own > 1 else n for own, n in zip(other.axes, shape, strict=True)
            )
            feeds[other.name] = np.ones(axes, other.dtype)
    return feeds


def is_mask(port: Port) -> bool:
    """Whether the input says where in the batch there are pictures, as DETR's does."""
    return port.name == _MASK and len(port.axes) == 3


def _is_one(port: Port) -> bool:
    """Whether the input is one picture, channels first, without an axis of pictures."""
    return len(port.axes) == 3 and port.axes[0] in _CHANNELS


def _axes(model: Model) -> tuple[int | str, ...]:
    """Those of the input of pictures, the axis of pictures added where it has none."""
    port = picture_port(model)
    return (1, *port.axes) if _is_one(port) else port.axes


def only_port(model: Model) -> Port:
    """The input that takes pictures, of a model that takes nothing else (but a mask of them).

    Raises:
        NotApplicable: there is none, or another beside it.
    """
    port = picture_port(model)
    others = ", ".join(one.name for one in model.inputs if one.name != port.name and not is_mask(one))
    if others:
        raise NotApplicable(f"the model takes {others} besides pictures, which nothing here gives it")
    return port


def inputs_of(model: Model, pictures: Pictures, at_once: int) -> Iterator[np.ndarray]:
    """What the model takes of the pictures, in batches: in the shape and the type of its input.

    Raises:
        NotApplicable: its input is of a type that holds no pictures.
    """
    port = picture_port(model)
    for batch in pictures.inputs(picture_of(model), size_of(model), at_once):
        fed = batch.reshape(len(batch), -1) if len(port.axes) == 2 else batch
        if np.dtype(port.dtype).kind == "f":
            yield fed.astype(port.dtype, copy=False)
        elif port.dtype == "uint8":
            yield np.rint(np.clip(fed, 0, 1) * np.float32(255)).astype(np.uint8)  # it scales them itself
        else:
            raise NotApplicable(f"the model takes {port.name} as {port.dtype}; pictures are real numbers or uint8")


def _edge(axes: tuple[int | str, ...], channels: int) -> int:
    """The edge of the square picture whose numbers a row holds, one behind the other; 0: of none."""
    if len(axes) != 2 or not isinstance(axes[1], int) or axes[1] % channels:
        return 0
    edge = math.isqrt(axes[1] // channels)
    return edge if edge * edge * channels == axes[1] and edge > 1 else 0
