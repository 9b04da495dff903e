"""What models are judged on: one module a task (`perplexity`, `choices`, ...), rows in `table`."""

from lilliput import recipe as grammar
from lilliput.errors import LilliputError, closest
from lilliput.models.task.table import SHORT, TASKS
from lilliput.models.task.task import Answers, Task
from lilliput.parameter import called

__all__ = ["TASKS", "Answers", "Task", "format_task", "parse_task"]


def parse_task(text: str) -> Task:
    """The task that the text calls, such as `perplexity(text="wiki")`, or in short `text:wiki`, `images:val/`.

    Raises:
        LilliputError: it is no task, or more than one.
    """
    kind, _, path = text.partition(":")
    if path and kind.isidentifier():
        if kind not in SHORT:
            raise LilliputError(
                f"no task is called {kind}: in short; {closest(kind, SHORT)}there are: {', '.join(SHORT)}"
            )
        return SHORT[kind](path)
    calls = grammar.parse(text)
    if len(calls) != 1:
        raise LilliputError(f"{text[:60]!r} is {len(calls)} tasks; write one, such as: {next(iter(TASKS))}(...)")
    return called(calls[0], TASKS, "task")


def format_task(task: Task) -> str:
    """The canonical text: parameters by name, in the order of their declaration, defaults left out."""
    return grammar.format_calls([grammar.call_of(task.NAME, task)])
