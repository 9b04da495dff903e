"""The tasks there are."""

from lilliput.models.task.task import Task

TASKS: dict[str, type[Task]] = {task.NAME: task for task in ()}
"""By name, as studies and the command line spell it."""
