"""The executors there are."""

from lilliput.errors import LilliputError, closest
from lilliput.study.cluster import Ray
from lilliput.study.executor import Executor
from lilliput.study.local import Local

EXECUTORS: dict[str, type[Executor]] = {"local": Local, "ray": Ray}
"""By name, as the command line spells it."""


def executor_named(name: str) -> type[Executor]:
    """The executor of that name.

    Raises:
        LilliputError: there is none.
    """
    if name not in EXECUTORS:
        known = ", ".join(EXECUTORS)
        raise LilliputError(f"--executor is {name!r}; {closest(name, EXECUTORS)}known: {known}")
    return EXECUTORS[name]
