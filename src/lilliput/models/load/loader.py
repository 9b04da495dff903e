"""What a loader is: it recognises a source without reading all of it, and reads it without executing any of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.model import Family, Model


@final
@dataclass(frozen=True)
class LoadRequest:
    """What is to be loaded.

    Attributes:
        source: a file or a folder, where a hub id was fetched to too; or a name of a library.
        revision: of a library's name: which weights.
        module: what makes the network that a bare state dict is put into (`state_dict.architecture_of`).
        family: what the model answers to, where the source does not say.
        asked: what its task asks for, where neither says.
    """

    source: str
    revision: str = ""
    module: str = ""
    family: Family | None = None
    asked: Family | None = None


class Loader(ABC):
    """One kind of source. A loader is a frozen dataclass without state.

    Attributes:
        NAME: as provenance spells it.
        WHAT: what it reads, for an error that lists what can be read.
    """

    NAME: ClassVar[str]
    WHAT: ClassVar[str]

    @abstractmethod
    def recognise(self, request: LoadRequest) -> bool:
        """Whether the source is of this kind, by its content or its layout."""

    @abstractmethod
    def load(self, request: LoadRequest) -> Model:
        """The model, uncompressed, with its provenance.

        Raises:
            LilliputError: the source is damaged, or something that this loader does not have.
            MissingDependency: a library is not installed; the message names the extra.
        """


def check_family(request: LoadRequest, family: Family) -> None:
    """Check that what the source is, is what the user takes it for.

    Raises:
        LilliputError: another family was named.
    """
    if request.family not in (None, family):
        raise LilliputError(
            f"{request.source!r} is a model of {family}; --family {request.family} does not fit: leave it out"
        )
