"""How well a variational autoencoder explains pictures: its evidence lower bound, one value a picture."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.models import data
from lilliput.models.images import Part, Pictures, read_pictures, spread
from lilliput.models.model import Family, Model, Port
from lilliput.models.picture import batch_of, picture_of, picture_port, size_of
from lilliput.models.session import Session
from lilliput.models.task.task import Answers, Task, check_part, check_pictures
from lilliput.parameter import check_fields, check_integer

NOISE = "noise"
OUTPUTS = ("logits", "mean", "log_variance")


@final
@dataclass(frozen=True)
class Elbo(Task):
    """Kingma and Welling 2013, arXiv 1312.6114, equation 10: log likelihood of the pixels minus the divergence (nats).

    The model takes a picture in [0, 1] and `noise`, and gives `logits` of every pixel (Bernoulli), and `mean` and
    `log_variance` of the code; the noise is the same for all models. Chance calls every pixel even.

    Attributes:
        images: an .npz, a folder, or MNIST's file.
        n: how many, evenly spread; None: all.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
        samples: codes that are drawn for each picture.
    """

    NAME: ClassVar[str] = "elbo"
    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "-ELBO (nats)"
    BETTER: ClassVar[str] = "lower"
    FAMILY: ClassVar[Family] = "generation"

    images: str
    n: int | None = None
    part: Part = "held_out"
    samples: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        check_part(self, self.part, self.n)
        check_integer(self, "samples", self.samples, 1, 1000)

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The bound of each picture."""
        pictures, noise_port = self._pictures(), _noise_port(model)
        check_pictures(self, pictures, size_of(model))
        size = noise_port.axes[-1]
        assert isinstance(size, int)
        noise = np.random.default_rng(0).standard_normal((self.samples, len(pictures), size)).astype(np.float32)
        values: list[np.ndarray] = []
        done, port = 0, picture_port(model)
        for batch in pictures.inputs(picture_of(model), size_of(model), batch_of(model)):
            here = slice(done, done + len(batch))
            asked = [session.answer({port.name: batch, noise_port.name: one[here]}) for one in noise]
            values.append(np.mean([_bounds(batch, one) for one in asked], axis=0))
            done += len(batch)
            if progress is not None:
                progress(done, len(pictures))
        return Answers(np.concatenate(values), pictures.names)

    def floor(self, n_tokens: int = 0) -> Answers:
        """Every pixel as likely dark as light, and nothing coded."""
        pictures = self._pictures()
        shapes = [pictures.pixels(index).shape for index in range(len(pictures))]
        return Answers(np.array([-math.log(2) * height * width for height, width, _ in shapes]), pictures.names)

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """Minus the mean bound."""
        return -float(np.mean(values))

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        if self.part == "whole" and data.locate(source) == data.locate(self.images):
            raise LilliputError(f"elbo: {self.images!r} calibrates and judges whole; judge on part='held_out'")

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures."""
        return data.digest(self.images)

    def _pictures(self) -> Pictures:
        return spread(read_pictures(self.images, self.part), self.n)


def _noise_port(model: Model) -> Port:
    found = [port for port in model.inputs if port.name == NOISE and isinstance(port.axes[-1], int)]
    if len(model.inputs) != 2 or len(found) != 1 or set(OUTPUTS) - {port.name for port in model.outputs}:
        shown = ", ".join(port.name for port in (*model.inputs, *model.outputs))
        raise LilliputError(
            f"the model has {shown}; an autoencoder takes a picture and `noise`, and gives {', '.join(OUTPUTS)}"
        )
    return found[0]


def _bounds(pixels: np.ndarray, given: Mapping[str, np.ndarray]) -> Float64[np.ndarray, " n"]:
    logits, mean, log_variance = (np.asarray(given[name], np.float64).reshape(len(pixels), -1) for name in OUTPUTS)
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    likelihood = (flat * logits - np.logaddexp(0, logits)).sum(axis=1)
    with np.errstate(over="ignore"):
        divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    bound = likelihood - divergence
    if not np.isfinite(bound).all():
        raise LilliputError("the model's bound is not finite; use more bits")
    return bound
