"""What an outcome depends on besides what was asked: versions of steps, quantities, environments and runtimes."""

import functools
from collections.abc import Sequence

from lilliput.errors import LilliputError
from lilliput.measurement import QUANTITIES
from lilliput.record import Cell
from lilliput.study.table import wing_of
from lilliput.study.wing import Wing
from lilliput.task import Task

Versions = tuple[tuple[str, str], ...]
"""Sorted pairs, such as ("step.quantize", "1") and ("package.mujoco", "3.3.0")."""


def versions(wing: Wing, recipe: str, quantities: Sequence[str], task: Task, format_: str) -> Versions:
    """The versions of the recipe's steps, of the quantities, and of the packages that answer.

    Args:
        wing: of the subject.
        recipe: its text.
        quantities: what is measured.
        task: what is answered, to judge or to calibrate.
        format_: of the artifact.
    """
    steps = {f"step.{name}": str(version) for name, version in wing.step_versions(recipe).items()}
    measured = {f"quantity.{name}": str(QUANTITIES[name].version) for name in quantities}
    return tuple(sorted({**steps, **measured, **dict(_packages(wing, task, format_))}.items()))


@functools.cache
def _packages(wing: Wing, task: Task, format_: str) -> Versions:
    """The packages that the answers depend on, as they are installed here."""
    return wing.packages(task, format_)


def check_here(cell: Cell) -> None:
    """Holds a cell against this machine: what another one asked for is measured with the versions that it asked for.

    Raises:
        LilliputError: other packages are installed here.
    """
    here = dict(versions(wing_of(cell.wing), cell.recipe, cell.quantities, cell.task, cell.format))
    other = [
        f"{name.partition('.')[2]} {here.get(name, 'not')} where {version} is asked for"
        for name, version in cell.versions
        if here.get(name) != version
    ]
    if other:
        raise LilliputError(f"this machine has {', '.join(other)}; install the same on every machine of a study")
