"""The format c: C99 without dependencies, compiled where it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from lilliput.policies.artifact import Artifact
from lilliput.policies.export.exporter import Exporter
from lilliput.policies.export.golden import Golden
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor


@final
@dataclass(frozen=True)
class C(Exporter):
    """Sources, a self-test with the golden examples, and a README for whoever compiles them."""

    NAME: ClassVar[str] = "c"
    BUILD_S: ClassVar[float] = 4.0  # it is compiled; measured on two cores

    def write(self, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        """See `Exporter.write`."""
        from lilliput.policies.export import c

        c.write(policy, folder, golden.observations, golden.actions, golden.tolerance, name=name)
        return {}

    def open(self, artifact: Artifact) -> Actor:
        """The artifact compiled for this processor."""
        from lilliput.policies.runtime.native import open_native

        return open_native(artifact)

    def symbol(self, name: str) -> str:
        """The function of an action."""
        return f"{name}_act"
