"""What a model of pictures is calibrated and trained on: pictures as it sees them, with the noise that it takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context
from lilliput.models.diffusion import noised, signal
from lilliput.models.images import read_pictures, spread
from lilliput.models.model import Model
from lilliput.models.picture import batch_of, feeds_of, inputs_of, is_mask, picture_port

TIMESTEPS = 1000
"""Of a diffusion model, whose file does not say how many it was trained with: Ho et al.'s, with their schedule."""

Feeds = dict[str, np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Calibration:
    """Inputs by port, one row a picture, and the label of each."""

    feeds: Feeds
    labels: Int64[np.ndarray, " n"]

    def batches(self, size: int) -> Iterator[Feeds]:
        """So many rows at a time."""
        for start in range(0, len(self.labels), size):
            yield {name: rows[start : start + size] for name, rows in self.feeds.items()}


def check_pictures(source: str) -> None:
    """Check that the source holds pictures, which are not decoded.

    Raises:
        LilliputError: it does not.
    """
    read_pictures(source)


def calibration(model: Model, source: str, observations: int | None, context: Context) -> Calibration:
    """Inputs of that many pictures of a source's calibration part.

    Raises:
        LilliputError: the source has fewer, or the model takes something that is no picture, noise or timestep.
    """
    pictures = spread(read_pictures(source, "calibration"), observations)
    port = picture_port(model)
    clean = np.concatenate(list(inputs_of(model, pictures, batch_of(model))))
    feeds: Feeds = {port.name: clean}
    rng = context.rng("feeds", every_draw=True)
    for other in model.inputs:
        if other.name == port.name:
            continue
        if len(other.axes) == 1 and len(model.inputs) == 2:
            timesteps = rng.integers(0, TIMESTEPS, len(clean))
            noise = rng.standard_normal(clean.shape).astype(np.float32)
            left = signal(TIMESTEPS, "linear")[timesteps].reshape(-1, 1, 1, 1)
            feeds = {port.name: noised(clean, noise, left), other.name: timesteps.astype(other.dtype)}
            context.tell(f"{other.name}: taken for a timestep from 0 to {TIMESTEPS - 1} of the linear schedule")
        elif is_mask(other):
            feeds |= feeds_of(model, clean)
        elif other.name == "noise" and len(other.axes) == 2 and isinstance(other.axes[1], int):
            feeds[other.name] = rng.standard_normal((len(clean), other.axes[1])).astype(other.dtype)
        else:
            raise LilliputError(f"the model takes {other.name} {list(other.axes)}, which nothing here can give it")
    return Calibration(feeds, pictures.labels)
