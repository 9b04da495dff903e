"""The executors there are."""

from lilliput.study.cluster import Ray
from lilliput.study.executor import Executor
from lilliput.study.local import Local

EXECUTORS: dict[str, type[Executor]] = {"local": Local, "ray": Ray}
"""By name, as the command line spells it."""
