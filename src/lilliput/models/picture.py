"""What a vision model's input says of the pictures that it takes."""

from lilliput.errors import LilliputError
from lilliput.models.images import Picture
from lilliput.models.model import Model, Port

_AT_ONCE = 64


def picture_of(model: Model) -> Picture:
    """How the model sees pictures.

    Raises:
        LilliputError: it takes no pictures.
    """
    port = _port(model)
    if model.picture is not None:
        return model.picture
    layout = "channels_last" if port.axes[-1] == 3 and port.axes[1] != 3 else "channels_first"
    return Picture(layout=layout)


def size_of(model: Model) -> tuple[int, int]:
    """Height and width of the pictures that the model takes.

    Raises:
        LilliputError: neither the input nor the picture says it.
    """
    picture, axes = picture_of(model), _port(model).axes
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
    first = _port(model).axes[0]
    if isinstance(first, int) and first > 1:
        raise LilliputError(
            f"the model takes exactly {first} pictures at once; export it with an open first axis, or 1"
        )
    return first if isinstance(first, int) else _AT_ONCE


def _port(model: Model) -> Port:
    if len(model.inputs) != 1 or len(model.inputs[0].axes) != 4 or 3 not in model.inputs[0].axes[1:]:
        shown = "; ".join(f"{port.name} {list(port.axes)}" for port in model.inputs)
        raise LilliputError(
            f"the model takes {shown}; a model of pictures takes one input of four axes, three channels"
        )
    return model.inputs[0]
