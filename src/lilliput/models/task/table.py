"""The tasks there are."""

from collections.abc import Callable

from lilliput.models.task.choices import Choices
from lilliput.models.task.classification import Classification
from lilliput.models.task.denoising import Denoising
from lilliput.models.task.detection import Detection
from lilliput.models.task.elbo import Elbo
from lilliput.models.task.frechet import Frechet
from lilliput.models.task.perplexity import Perplexity
from lilliput.models.task.task import Task

TASKS: dict[str, type[Task]] = {
    task.NAME: task for task in (Perplexity, Choices, Classification, Detection, Elbo, Denoising, Frechet)
}
"""By name, as studies and the command line spell it."""

SHORT: dict[str, Callable[[str], Task]] = {"images": Classification, "text": Perplexity, "questions": Choices}
"""Tasks of which nothing but a file or folder is said, by what it holds: `images:val/`."""
