"""How far the pictures that a diffusion model makes are from real ones, with bootstrap weights that models share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64, UInt8

from lilliput.errors import LilliputError
from lilliput.models import location
from lilliput.models.diffusion import Schedule, sampled, signal
from lilliput.models.frechet import Weights, distances, features
from lilliput.models.images import Pictures, read_pictures
from lilliput.models.model import Family, Model
from lilliput.models.picture import batch_of, picture_of, picture_port, size_of
from lilliput.models.session import Session
from lilliput.models.task.task import Answers, Task, check_apart, check_denoises, check_part, check_pictures
from lilliput.parameter import check_fields, check_integer


@final
@dataclass(frozen=True)
class Frechet(Task):
    """Minus the Frechet distance of all pictures, then of as many draws of both sets: the same draws for all models.

    All models begin with the same noise, and nothing else is random (DDIM). Chance makes pictures of even noise.

    Attributes:
        images: the real ones: an .npz, a folder, or MNIST's file.
        samples: pictures that are made.
        steps: in which each is made.
        features: an ONNX graph whose output is compared; empty: pixels, averaged down to 8 x 8.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
        draws: of the bootstrap.
        timesteps: that the model was trained with.
        schedule: of the noise that it was trained with.
    """

    NAME: ClassVar[str] = "frechet"
    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "Frechet distance"
    FAMILY: ClassVar[Family] = "generation"
    DRAWN: ClassVar[bool] = True

    images: str
    samples: int = 500
    steps: int = 20
    features: str = ""
    part: Literal["whole", "held_out"] = "held_out"
    draws: int = 200
    timesteps: int = 1000
    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        check_fields(self)
        check_part(self, self.part, None)
        check_integer(self, "samples", self.samples, 2, 1 << 20)
        check_integer(self, "draws", self.draws, 0, 10_000)
        check_integer(self, "timesteps", self.timesteps, 2, 100_000)
        check_integer(self, "steps", self.steps, 1, self.timesteps)

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The distance of all, and of each draw, negative."""
        pictures, picture = self._pictures(), picture_of(model)
        check_pictures(self, pictures, size_of(model))
        if picture.layout != "channels_first":
            raise LilliputError("frechet: the model must take channels before height and width")
        n_channels = picture_port(model).axes[1]
        assert isinstance(n_channels, int)
        noise = np.random.default_rng(0).standard_normal((self.samples, n_channels, *size_of(model)))
        made = sampled(
            model,
            session,
            noise.astype(np.float32),
            steps=self.steps,
            left=signal(self.timesteps, self.schedule),
            at_once=batch_of(model),
            progress=progress,
        )
        return self._answers(picture.shown(made), pictures)

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        check_denoises(self, model, session, self._pictures())

    def floor(self, n_tokens: int = 0) -> Answers:
        """Pictures whose every pixel is even noise."""
        pictures = self._pictures()
        height, width, _ = pictures.pixels(0).shape
        images = _images(pictures)
        n_channels = 1 if (images[..., :1] == images).all() else 3
        noise = np.random.default_rng(0).integers(0, 256, (self.samples, height, width, n_channels))
        return self._answers(np.repeat(noise, 3 // n_channels, axis=3).astype(np.uint8), pictures)

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """Of all pictures."""
        return -float(values[0])

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        check_apart(self, self._pictures(), source)

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures, and of the graph that sees them."""
        return location.digest(self.images) + (location.digest(self.features) if self.features else "")

    def _pictures(self) -> Pictures:
        return read_pictures(self.images, self.part)

    def _answers(self, made: UInt8[np.ndarray, "n height width 3"], pictures: Pictures) -> Answers:
        real = features(_images(pictures), self.features)
        rng = np.random.default_rng(0)
        weights = [_weights(rng, n, self.draws) for n in (len(made), len(real))]
        found = distances(features(made, self.features), real, weights[0], weights[1])
        return Answers(-found, ("all", *(f"draw {n}" for n in range(self.draws))))


def _images(pictures: Pictures) -> UInt8[np.ndarray, "n height width 3"]:
    return np.stack([pictures.pixels(index) for index in range(len(pictures))])


def _weights(rng: np.random.Generator, n: int, draws: int) -> Weights:
    drawn = rng.multinomial(n, np.full(n, 1 / n), draws).astype(np.float64)
    return np.concatenate([np.ones((1, n)), drawn.reshape(draws, n)])
