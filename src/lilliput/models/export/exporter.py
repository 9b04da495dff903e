"""What a format of artifact is: it writes a folder that others run, and opens it again as others would."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from lilliput.models.model import Model
from lilliput.models.session import Session


class Exporter(ABC):
    """One format. An exporter is a frozen dataclass without state.

    Attributes:
        NAME: as the command line spells it.
        WHAT: who runs it.
    """

    NAME: ClassVar[str]
    WHAT: ClassVar[str]

    @abstractmethod
    def write(self, model: Model, folder: Path) -> tuple[str, ...]:
        """What the user should know of the artifact, a sentence each; writes it into an empty folder.

        Raises:
            LilliputError: the format cannot hold this model.
        """

    @abstractmethod
    def open(self, folder: Path) -> Session:
        """The artifact as it is run by those who get it, with no help from the model that it was made of."""
