"""A checkpoint file as the readers get it: its bytes, and what the user says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True, eq=False)
class Source:
    """What is read.

    Attributes:
        data: the file's bytes; name: the file as errors call it.
        folder: where it lies; what it refers to is looked for nowhere else.
        output: which of its outputs is the action; None: by its name.
        action: "discrete" where its output is a number a choice, "continuous" where it is the action itself; None: by
            what the file says.
    """

    data: bytes
    name: str
    folder: Path
    output: str | None = None
    action: str | None = None
