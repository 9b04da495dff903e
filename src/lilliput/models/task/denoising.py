"""How well a diffusion model finds the noise in pictures: its loss, one value a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float32, Float64

from lilliput.models import location
from lilliput.models.diffusion import Schedule, noised, predicted, signal
from lilliput.models.images import Part, Pictures, read_pictures, spread
from lilliput.models.model import Family, Model
from lilliput.models.picture import batch_of, picture_of, size_of
from lilliput.models.session import Session
from lilliput.models.task.task import Answers, Task, check_apart, check_denoises, check_part, check_pictures
from lilliput.parameter import check_fields, check_integer


@final
@dataclass(frozen=True)
class Denoising(Task):
    """Minus the mean squared error of the noise that the model finds (arXiv 2006.11239, equation 14), over some levels.

    The noise and its levels are the same for all models. Chance finds none.

    Attributes:
        images: an .npz, a folder, or MNIST's file.
        n: how many, evenly spread; None: all.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
        levels: timesteps, evenly spread, at each of which each picture is asked.
        timesteps: that the model was trained with.
        schedule: of the noise that it was trained with.
    """

    NAME: ClassVar[str] = "denoising"
    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "noise error"
    FAMILY: ClassVar[Family] = "generation"

    images: str
    n: int | None = None
    part: Part = "held_out"
    levels: int = 10
    timesteps: int = 1000
    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        check_fields(self)
        check_part(self, self.part, self.n)
        check_integer(self, "timesteps", self.timesteps, 2, 100_000)
        check_integer(self, "levels", self.levels, 1, self.timesteps)

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The loss of each picture, negative."""
        pictures = self._pictures()
        check_pictures(self, pictures, size_of(model))
        clean = np.concatenate(list(pictures.inputs(picture_of(model), size_of(model), len(pictures))))
        left = signal(self.timesteps, self.schedule)
        total = np.zeros(len(pictures))
        for number, (timestep, noise) in enumerate(zip(self._times(), self._noise(clean.shape), strict=True)):
            found = predicted(model, session, noised(clean, noise, float(left[timestep])), timestep, batch_of(model))
            total += ((found.astype(np.float64) - noise) ** 2).reshape(len(clean), -1).mean(axis=1)
            if progress is not None:
                progress(number + 1, self.levels)
        return Answers(-total / self.levels, pictures.names)

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        check_denoises(self, model, session, self._pictures())

    def floor(self, n_tokens: int = 0) -> Answers:
        """The loss of an answer without noise: the mean square of what is there, 1 on average over all noise."""
        pictures = self._pictures()
        return Answers(np.full(len(pictures), -1.0), pictures.names)

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """The mean loss."""
        return -float(np.mean(values))

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        check_apart(self, self._pictures(), source)

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures."""
        return location.digest(self.images)

    def _pictures(self) -> Pictures:
        return spread(read_pictures(self.images, self.part), self.n)

    def _times(self) -> list[int]:
        return [((2 * n + 1) * self.timesteps) // (2 * self.levels) for n in range(self.levels)]

    def _noise(self, shape: tuple[int, ...]) -> Float32[np.ndarray, "levels ..."]:
        return np.random.default_rng(0).standard_normal((self.levels, *shape)).astype(np.float32)
