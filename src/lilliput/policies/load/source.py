"""A checkpoint file as the readers get it: its bytes, and what the user says of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from lilliput.policies.load.options import Options


@final
@dataclass(frozen=True, eq=False)
class Source:
    """What is read.

    Attributes:
        data: the file's bytes; name: the file as errors call it.
        folder: where it lies; what it refers to is looked for nowhere else.
        options: what the user says where the file is silent.
    """

    data: bytes
    name: str
    folder: Path
    options: Options = field(default_factory=Options)

    @property
    def output(self) -> str | None:
        """Which of its outputs is the action; None: by its name."""
        return self.options.take("output")

    @property
    def action(self) -> str | None:
        """How an output becomes an action, a key of ACTIONS; None: by what the file says."""
        return self.options.take("action")
