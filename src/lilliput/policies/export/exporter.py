"""What a format of artifact is: it writes a folder that others run, and opens it again as they would."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from lilliput.policies.artifact import Artifact
from lilliput.policies.export.golden import Golden
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor


class Exporter(ABC):
    """One format. An exporter is a frozen dataclass without state; what it needs is imported where it is used.

    Attributes:
        NAME: as the command line spells it.
        RUNTIME: what runs its artifacts, in the words of a measurement's method.
        PACKAGES: that play its artifacts; records hold their versions.
        BUILD_S: about the seconds that one takes to write and check.
    """

    NAME: ClassVar[str]
    RUNTIME: ClassVar[str]
    PACKAGES: ClassVar[tuple[str, ...]] = ()
    BUILD_S: ClassVar[float] = 0.0

    @abstractmethod
    def write(self, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        """The versions that wrote its files into an empty folder.

        Raises:
            LilliputError: the format cannot hold this policy.
        """

    @abstractmethod
    def open(self, artifact: Artifact) -> Actor:
        """The artifact, running.

        Raises:
            LilliputError: it is damaged, or nothing here runs it.
        """

    def symbol(self, name: str) -> str:
        """The function that a program calls; empty where it calls none by name."""
        return ""
