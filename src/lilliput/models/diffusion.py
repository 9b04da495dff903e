"""Denoising diffusion: how much of a picture is left at each time, and pictures made of noise, the same each time.

Ho et al. 2020, arXiv 2006.11239 (what is learned); Song et al. 2020, arXiv 2010.02502 (DDIM, equation 12 with eta = 0).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from lilliput.errors import NotApplicable
from lilliput.models.model import Model, Port, not_finite
from lilliput.models.picture import picture_port
from lilliput.models.session import Session

Schedule = Literal["linear", "cosine"]
Noise = Float[np.ndarray, "n channels height width"]


def signal(timesteps: int, schedule: Schedule) -> Float64[np.ndarray, " timesteps"]:
    """The part of the variance that is still the picture's after each timestep.

    `linear`: the variances of Ho et al., 0.0001 to 0.02 for 1,000 timesteps; `cosine`: arXiv 2102.09672, equation 17.
    """
    if schedule == "linear":
        added = np.linspace(1e-4, 0.02, timesteps) * (1000 / timesteps)
    else:
        at = np.linspace(0, 1, timesteps + 1)
        left = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
        added = 1 - left[1:] / left[:-1]
    return np.cumprod(1 - np.minimum(added, 0.999))


def noised(clean: Noise, noise: Noise, left: float | Float64[np.ndarray, "n 1 1 1"]) -> Noise:
    """Pictures with that part of their variance left, the rest being noise."""
    return (np.sqrt(left) * clean + np.sqrt(1 - left) * noise).astype(np.float32)


def predicted(model: Model, session: Session, pictures: Noise, timestep: int, at_once: int) -> Noise:
    """The noise that the model finds in pictures of one timestep.

    Raises:
        NotApplicable: it takes something else than pictures and a timestep, or gives no picture's worth of numbers.
        LilliputError: what it gives is not finite.
    """
    port, time = picture_port(model), _time(model)
    found = []
    for start in range(0, len(pictures), at_once):
        some = pictures[start : start + at_once]
        shape = (len(some),) if time.axes else ()
        feeds = {port.name: some, time.name: np.full(shape, timestep).astype(time.dtype)}
        answer = session.answer(feeds)[model.outputs[0].name]
        if answer.shape != some.shape:
            raise NotApplicable(
                f"the model gives {list(answer.shape)} for pictures {list(some.shape)}; it must give the noise of each"
            )
        if not np.isfinite(answer).all():
            raise not_finite("numbers are")
        found.append(answer)
    return np.concatenate(found)


def sampled(
    model: Model,
    session: Session,
    noise: Noise,
    *,
    steps: int,
    left: Float64[np.ndarray, " timesteps"],
    at_once: int,
    progress: Callable[[int, int], None] | None = None,
) -> Noise:
    """The pictures that the model makes of the noise in so many steps, nothing else being random."""
    times = np.linspace(len(left) - 1, 0, steps).round().astype(int)
    now = noise
    for number, timestep in enumerate(times):
        before = 1.0 if number + 1 == len(times) else float(left[times[number + 1]])
        found = predicted(model, session, now, int(timestep), at_once)
        here = float(left[timestep])
        # Pictures lie in [-1, 1]: what is predicted outside is cut, as is usual for pixels.
        clean = np.clip((now - np.sqrt(1 - here) * found) / np.sqrt(here), -1, 1)
        direction = (now - np.sqrt(here) * clean) / np.sqrt(1 - here)
        now = noised(clean, direction, before)
        if progress is not None:
            progress(number + 1, len(times))
    return now


def _time(model: Model) -> Port:
    others = [port for port in model.inputs if port.name != picture_port(model).name]
    if len(others) != 1 or len(others[0].axes) > 1 or len(model.outputs) != 1:
        shown = ", ".join(port.name for port in (*model.inputs, *model.outputs))
        raise NotApplicable(f"the model has {shown}; one that denoises takes a picture and a timestep, and gives noise")
    return others[0]
