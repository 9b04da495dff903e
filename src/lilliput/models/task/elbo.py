"""How well a variational autoencoder explains pictures: its evidence lower bound, one value a picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64, Num

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models import location
from lilliput.models.images import Part, Pictures, read_pictures, spread
from lilliput.models.model import Family, Model, Port, not_finite
from lilliput.models.picture import batch_of, picture_of, picture_port, size_of
from lilliput.models.session import Session
from lilliput.models.task.task import Answers, Task, check_apart, check_part, check_pictures
from lilliput.parameter import check_fields, check_integer

NOISE = "noise"
OUTPUTS = ("logits", "mean", "log_variance")
_REAL = ("reconstruction", *OUTPUTS[1:])


@final
@dataclass(frozen=True)
class Elbo(Task):
    """Kingma and Welling 2013, arXiv 1312.6114, equation 10: log likelihood of the pixels minus the divergence (nats).

    The model takes a picture and `noise`, and gives `mean` and `log_variance` of the code; the noise is the same for
    all models. A Bernoulli model takes pixels in [0, 1] and gives their `logits`; chance calls every pixel even. A
    Gaussian one takes them in [-1, 1] and gives a `reconstruction`; chance calls every pixel gray.

    Attributes:
        images: an .npz, a folder, or MNIST's file.
        n: how many, evenly spread; None: all.
        part: `whole`, or the four fifths that never calibrate (`held_out`).
        samples: codes that are drawn for each picture.
        likelihood: of a pixel.
        deviation: of a Gaussian pixel from its reconstruction; pixels are from -1 to 1.
    """

    NAME: ClassVar[str] = "elbo"
    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "-ELBO (nats)"
    FAMILY: ClassVar[Family] = "generation"

    images: str
    n: int | None = None
    part: Part = "held_out"
    samples: int = 1
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    deviation: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        check_part(self, self.part, self.n)
        check_integer(self, "samples", self.samples, 1, 1000)
        if not 1e-3 <= self.deviation <= 10:
            raise LilliputError(f"elbo: deviation is {self.deviation:g}; it must be from 0.001 to 10")

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The bound of each picture."""
        outputs = self._outputs
        pictures, noise_port = self._pictures(), _noise_port(model, outputs)
        check_pictures(self, pictures, size_of(model))
        shape = (self.samples, len(pictures), *map(int, noise_port.axes[1:]))
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        values: list[np.ndarray] = []
        done, port = 0, picture_port(model)
        for batch in pictures.inputs(picture_of(model), size_of(model), batch_of(model)):
            here = slice(done, done + len(batch))
            asked = [session.answer({port.name: batch, noise_port.name: one[here]}) for one in noise]
            values.append(np.mean([self._bounds(batch, *(one[name] for name in outputs)) for one in asked], axis=0))
            done += len(batch)
            if progress is not None:
                progress(done, len(pictures))
        return Answers(np.concatenate(values), pictures.names)

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        _noise_port(model, self._outputs)
        check_pictures(self, self._pictures(), size_of(model))

    def floor(self, n_tokens: int = 0) -> Answers:
        """Every pixel as likely dark as light, or gray, and nothing coded."""
        pictures = self._pictures()
        pixels = (pictures.pixels(index) for index in range(len(pictures)))
        if self.likelihood == "bernoulli":
            values = [-math.log(2) * one.shape[0] * one.shape[1] for one in pixels]
        else:
            values = [float(self._likelihood(one[None] / 127.5 - 1, np.zeros((1, *one.shape)))[0]) for one in pixels]
        return Answers(np.array(values), pictures.names)

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """Minus the mean bound."""
        return -float(np.mean(values))

    def check_source(self, source: str) -> None:
        """Check that the calibration pictures are others than those that judge."""
        check_apart(self, self._pictures(), source)

    @property
    def data_digest(self) -> str:
        """sha256 of the pictures."""
        return location.digest(self.images)

    @property
    def _outputs(self) -> tuple[str, ...]:
        return OUTPUTS if self.likelihood == "bernoulli" else _REAL

    def _pictures(self) -> Pictures:
        return spread(read_pictures(self.images, self.part), self.n)

    def _likelihood(
        self, pixels: Num[np.ndarray, "n ..."], given: Num[np.ndarray, "n ..."]
    ) -> Float64[np.ndarray, " n"]:
        """The logarithm of that of each picture: of the logits, or of the reconstruction, that are given of it."""
        flat, x = (one.reshape(len(pixels), -1).astype(np.float64) for one in (pixels, given))
        if self.likelihood == "bernoulli":
            return (flat * x - np.logaddexp(0, x)).sum(axis=1)
        even = math.log(self.deviation * math.sqrt(2 * math.pi))
        return -(((flat - x) / self.deviation) ** 2 / 2 + even).sum(axis=1)

    def _bounds(
        self,
        pixels: Num[np.ndarray, "n ..."],
        given: Num[np.ndarray, "n ..."],
        mean: Num[np.ndarray, "n ..."],
        log_variance: Num[np.ndarray, "n ..."],
    ) -> Float64[np.ndarray, " n"]:
        mean, log_variance = (one.reshape(len(pixels), -1).astype(np.float64) for one in (mean, log_variance))
        with np.errstate(over="ignore"):
            divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
        bound = self._likelihood(pixels, given) - divergence
        if not np.isfinite(bound).all():
            raise not_finite("bound is")
        return bound


def _noise_port(model: Model, outputs: tuple[str, ...]) -> Port:
    found = [port for port in model.inputs if port.name == NOISE and all(isinstance(n, int) for n in port.axes[1:])]
    if len(model.inputs) != 2 or len(found) != 1 or set(outputs) - {port.name for port in model.outputs}:
        shown = ", ".join(port.name for port in (*model.inputs, *model.outputs))
        raise NotApplicable(
            f"the model has {shown}; an autoencoder takes a picture and `noise`, and gives {', '.join(outputs)}"
            + ("; likelihood='gaussian' asks for a reconstruction" if outputs is OUTPUTS else "")
        )
    return found[0]
