"""The format c: C99 without dependencies, compiled where it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from lilliput.policies.artifact import Artifact
from lilliput.policies.export.exporter import Exporter
from lilliput.policies.export.golden import Golden
from lilliput.policies.fixed_point import FixedPoint
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor


@final
@dataclass(frozen=True)
class C(Exporter):
    """Sources, a self-test with the golden examples, and a README for whoever compiles them.

    Attributes:
        units: of observations and actions that are integers; None: they are floats.
        dispatch: for a shared library that chooses its kernels where it runs, instead of for a microcontroller.
    """

    units: FixedPoint | None = None
    dispatch: bool = False

    NAME: ClassVar[str] = "c"
    RUNTIME: ClassVar[str] = "compiled C"
    BUILD_S: ClassVar[float] = 4.0  # it is compiled; measured on two cores

    def write(self, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        """See `Exporter.write`."""
        from lilliput.policies.export import c

        examples = golden.observations, golden.actions, golden.tolerance
        c.write(policy, folder, *examples, name=name, units=self.units, dispatch=self.dispatch)
        return {}

    def open(self, artifact: Artifact) -> Actor:
        """The artifact compiled for this processor."""
        from lilliput.policies.runtime.native import open_native, open_with_integers

        if artifact.manifest.fixed_point:
            return open_with_integers(artifact)

        return open_native(artifact)

    def symbol(self, name: str) -> str:
        """The function of an action."""
        return f"{name}_act"
