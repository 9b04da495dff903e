"""The tasks there are."""

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
