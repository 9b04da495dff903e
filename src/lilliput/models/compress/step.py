"""What a step of this wing is: a frozen dataclass of literal parameters that makes a model from a model."""

from abc import ABC, abstractmethod
from typing import ClassVar

from lilliput.models.compress.context import Context
from lilliput.models.model import Model


class Step(ABC):
    """One transformation of a model. A step is a frozen dataclass whose fields are its literal parameters.

    Attributes:
        NAME: as recipes spell it.
        VERSION: raised whenever the step's meaning changes, so that old records are not taken for new ones.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]

    @abstractmethod
    def apply(self, model: Model, context: Context) -> Model:
        """The compressed model; the one given is left as it is.

        Raises:
            NotApplicable: the step has nothing to do on this model.
            LilliputError: it cannot be honoured.
        """

    def check(self, model: Model) -> None:  # noqa: B027  most steps are for all
        """Check that the step, as it is called, is for such models, before anything is computed; most are for all.

        Raises:
            LilliputError: it is not.
        """

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the calibration sources that the step reads, none for most."""
        return ()

    @property
    def pictures(self) -> int | None:
        """How many pictures of each source it reads, of a model of pictures; None: all that calibrate."""
        return None
