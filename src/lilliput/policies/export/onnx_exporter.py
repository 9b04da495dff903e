"""The format onnx: one model, run by onnxruntime."""

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
class Onnx(Exporter):
    """model.onnx, whose names are always the same."""

    NAME: ClassVar[str] = "onnx"
    RUNTIME: ClassVar[str] = "onnxruntime"
    PACKAGES: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    BUILD_S: ClassVar[float] = 0.5  # measured on two cores

    def write(self, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        """See `Exporter.write`."""
        from lilliput.policies.export import onnx

        return onnx.write(policy, folder)

    def open(self, artifact: Artifact) -> Actor:
        """The model in onnxruntime, on one thread."""
        if artifact.manifest.state:
            from lilliput.policies.runtime.onnx_episodes import OnnxEpisodes

            return OnnxEpisodes(artifact)
        from lilliput.policies.runtime.onnxruntime import OnnxActor

        return OnnxActor(artifact)
