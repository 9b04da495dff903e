"""The tasks there are."""

from lilliput.models.task.choices import Choices
from lilliput.models.task.classification import Classification
from lilliput.models.task.detection import Detection
from lilliput.models.task.perplexity import Perplexity
from lilliput.models.task.task import Task

TASKS: dict[str, type[Task]] = {task.NAME: task for task in (Perplexity, Choices, Classification, Detection)}
"""By name, as studies and the command line spell it."""
