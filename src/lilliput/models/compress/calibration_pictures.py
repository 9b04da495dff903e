"""What a model of pictures is calibrated and trained on: pictures as it sees them, with the noise that it takes."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context
from lilliput.models.diffusion import noised, signal
from lilliput.models.images import Pictures, read_pictures, spread
from lilliput.models.model import Model, Port
from lilliput.models.picture import batch_of, feeds_of, inputs_of, is_mask, picture_port

TIMESTEPS = 1000
"""Of a diffusion model, whose file does not say how many it was trained with: Ho et al.'s, with their schedule."""

Feeds = dict[str, np.ndarray]


def check_pictures(source: str, observations: int | None = None) -> None:
    """Check that the source holds pictures, and so many that calibrate; they are not decoded.

    Raises:
        LilliputError: it does not.
    """
    there = len(read_pictures(source, "calibration"))
    if observations is not None and observations > there:
        raise LilliputError(
            f"{source!r} has {there} pictures that calibrate, one in five of each class; observations is {observations}"
        )


def calibration(model: Model, source: str, observations: int | None, context: Context) -> Iterator[Feeds]:
    """Inputs by port, of that many pictures of a source's calibration part, as many at once as the model takes.

    Pictures are read when they are asked for: a detector's do not fit into memory together.

    Raises:
        LilliputError: the source has fewer, or the model takes something that is no picture, noise or timestep.
    """
    pictures = spread(read_pictures(source, "calibration"), observations)
    port, rng = picture_port(model), context.rng("feeds", every_draw=True)
    others = [other for other in model.inputs if other.name != port.name and not is_mask(other)]
    timed = [other for other in others if len(other.axes) == 1 and len(model.inputs) == 2]
    noisy = [other for other in others if other.name == "noise" and len(other.axes) == 2 and _width(other)]
    unknown = [other for other in others if other not in timed and other not in noisy]
    if unknown:
        shown = f"{unknown[0].name} {list(unknown[0].axes)}"
        raise LilliputError(f"the model takes {shown}, which nothing here can give it")
    times = {other.name: rng.integers(0, TIMESTEPS, len(pictures)) for other in timed}
    for other in timed:
        context.tell(f"{other.name}: taken for a timestep from 0 to {TIMESTEPS - 1} of the linear schedule")
    return _feeds(model, pictures, times, noisy, rng)


def _feeds(
    model: Model,
    pictures: Pictures,
    times: Mapping[str, Int64[np.ndarray, " n"]],
    noisy: Sequence[Port],
    rng: np.random.Generator,
) -> Iterator[Feeds]:
    port, schedule, start = picture_port(model), signal(TIMESTEPS, "linear"), 0
    types = {other.name: other.dtype for other in model.inputs}
    for clean in inputs_of(model, pictures, batch_of(model)):
        feeds: Feeds = {**feeds_of(model, clean), port.name: clean}
        for name, every in times.items():
            now = every[start : start + len(clean)]
            noise = rng.standard_normal(clean.shape).astype(np.float32)
            feeds |= {
                port.name: noised(clean, noise, schedule[now].reshape(-1, 1, 1, 1)),
                name: now.astype(types[name]),
            }
        feeds |= {one.name: rng.standard_normal((len(clean), _width(one))).astype(one.dtype) for one in noisy}
        start += len(clean)
        yield feeds


def _width(port: Port) -> int:
    """How many numbers a picture its second axis holds; 0: any."""
    return axis if isinstance(axis := port.axes[1], int) else 0
