"""What an outcome depends on besides what was asked: versions of steps, quantities, environments and runtimes."""

import functools
from collections.abc import Sequence
from importlib import metadata

from lilliput.errors import LilliputError
from lilliput.measurement import QUANTITIES
from lilliput.record import Cell
from lilliput.task import Task

Versions = tuple[tuple[str, str], ...]
"""Sorted pairs, such as ("step.quantize", "1") and ("package.mujoco", "3.3.0")."""

_RUNTIMES = {"onnx": ("onnxruntime",)}
"""Packages that play an artifact, by its format."""


def versions(recipe: str, quantities: Sequence[str], task: Task, format_: str) -> Versions:
    """The versions of the recipe's steps, of the quantities, and of the packages that play.

    Args:
        recipe: its text.
        quantities: what is measured.
        task: what is played, to judge or to calibrate.
        format_: of the artifact.
    """
    from lilliput.policies.compress import parse

    steps = {f"step.{step.NAME}": str(step.VERSION) for step in parse(recipe)}
    measured = {f"quantity.{name}": str(QUANTITIES[name].version) for name in quantities}
    runtimes = {f"package.{name}": metadata.version(name) for name in _RUNTIMES.get(format_, ())}
    return tuple(sorted({**steps, **measured, **runtimes, **dict(packages_of(task))}.items()))


@functools.cache
def packages_of(task: Task) -> Versions:
    """The packages that the task's returns depend on, as they are installed here.

    Raises:
        LilliputError: the environment cannot be made.
    """
    from lilliput.policies.play import make_environment
    from lilliput.policies.play.origin import packages

    made = make_environment(task.id, wrappers=task.wrappers, environment_kwargs=task.kwargs)
    try:
        return packages(made)
    finally:
        made.close()


def check_here(cell: Cell) -> None:
    """Holds a cell against this machine: what another one asked for is measured with the versions that it asked for.

    Raises:
        LilliputError: other packages are installed here.
    """
    here = dict(versions(cell.recipe, cell.quantities, cell.task, cell.format))
    other = [
        f"{name.partition('.')[2]} {here.get(name, 'not')} where {version} is asked for"
        for name, version in cell.versions
        if here.get(name) != version
    ]
    if other:
        raise LilliputError(f"this machine has {', '.join(other)}; install the same on every machine of a study")
