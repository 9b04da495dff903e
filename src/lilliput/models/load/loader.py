"""What a loader is: it recognises a source without reading all of it, and reads it without executing any of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from lilliput.models.model import Family, Model


@final
@dataclass(frozen=True)
class Request:
    """What is to be loaded.

    Attributes:
        source: a file, a folder or a hub id, as the user wrote it.
        revision: of a hub id: a branch, tag or commit.
        module: `python:package.module:function`, which makes the module that a bare state dict is put into.
        family: what the model answers to, where the source does not say.
    """

    source: str
    revision: str = ""
    module: str = ""
    family: Family | None = None


class Loader(ABC):
    """One kind of source. A loader is a frozen dataclass without state.

    Attributes:
        NAME: as provenance spells it.
        WHAT: what it reads, for an error that lists what can be read.
    """

    NAME: ClassVar[str]
    WHAT: ClassVar[str]

    @abstractmethod
    def recognise(self, request: Request) -> bool:
        """Whether the source is of this kind, by its content or its layout."""

    @abstractmethod
    def load(self, request: Request) -> Model:
        """The model, uncompressed, with its provenance.

        Raises:
            LilliputError: the source is damaged, or something that this loader does not have.
            MissingDependency: a library is not installed; the message names the extra.
        """
