"""What a vision model's input says of the pictures that it takes."""

import dataclasses

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.images import Picture
from lilliput.models.model import Model, Port

_AT_ONCE = 64
_CHANNELS = (1, 3)


def picture_of(model: Model) -> Picture:
    """How the model sees pictures.

    Raises:
        LilliputError: it takes no pictures.
    """
    axes = picture_port(model).axes
    first, last = axes[1] in _CHANNELS, axes[-1] in _CHANNELS
    gray = (axes[1] if first else axes[-1]) == 1
    if model.picture is not None:
        return dataclasses.replace(model.picture, order="gray") if gray else model.picture
    layout = "channels_last" if last and not first else "channels_first"
    return Picture(order="gray" if gray else "rgb", layout=layout)


def size_of(model: Model) -> tuple[int, int]:
    """Height and width of the pictures that the model takes.

    Raises:
        LilliputError: neither the input nor the picture says it.
    """
    picture, axes = picture_of(model), picture_port(model).axes
    if picture.size is not None:
        return picture.size, picture.size
    height, width = axes[2:] if picture.layout == "channels_first" else axes[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        raise LilliputError(
            f"the model takes pictures of any size ({' x '.join(map(str, axes))}); say which: --picture "
            "'picture(size=224)'"
        )
    return height, width


def batch_of(model: Model) -> int:
    """How many pictures it takes at once."""
    first = picture_port(model).axes[0]
    if isinstance(first, int) and first > 1:
        raise LilliputError(
            f"the model takes exactly {first} pictures at once; export it with an open first axis, or 1"
        )
    return first if isinstance(first, int) else _AT_ONCE


def picture_port(model: Model) -> Port:
    """The input that takes pictures: the only one, or of several the only one with height, width and channels.

    Raises:
        NotApplicable: there is none.
    """
    found = [
        port
        for port in model.inputs
        if len(port.axes) == 4 and (port.axes[1] in _CHANNELS or port.axes[-1] in _CHANNELS)
    ]
    if len(found) != 1:
        shown = "; ".join(f"{port.name} {list(port.axes)}" for port in model.inputs)
        raise NotApplicable(
            f"the model takes {shown}; a model of pictures takes one input of four axes, three channels or one of gray"
        )
    return found[0]


def only_port(model: Model) -> Port:
    """The input that takes pictures, of a model that takes nothing else.

    Raises:
        NotApplicable: there is none, or another beside it.
    """
    port = picture_port(model)
    if len(model.inputs) > 1:
        others = ", ".join(one.name for one in model.inputs if one.name != port.name)
        raise NotApplicable(f"the model takes {others} besides pictures, which nothing here gives it")
    return port
