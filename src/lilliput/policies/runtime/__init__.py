"""Open an artifact as a function from the raw observation to the environment's action, on the runtime that runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.artifact import Artifact, Running, read_artifact


@runtime_checkable
class Actor(Running, Protocol):
    """A running artifact."""

    def __call__(self, observation: Any) -> Any:
        """The environment's action for one raw observation: an array of the action's shape, or an int for Discrete."""
        ...

    def batch(self, observations: Any) -> np.ndarray:
        """The actions for a batch of raw observations, batch first; each equal to that of its observation alone."""
        ...

    def begin(self, seed: int = 0) -> Callable[[Any], Any]:
        """The act of an episode of its own, one observation after another; without a memory it is the actor itself."""
        ...


def _onnxruntime(artifact: Artifact) -> Actor:
    if artifact.manifest.state:
        from lilliput.policies.runtime.onnx_episodes import OnnxEpisodes

        return OnnxEpisodes(artifact)
    from lilliput.policies.runtime.onnxruntime import OnnxActor

    return OnnxActor(artifact)


def _native(artifact: Artifact) -> Actor:
    from lilliput.policies.runtime.native import open_native

    return open_native(artifact)


RUNTIMES: dict[str, Callable[[Artifact], Actor]] = {"onnx": _onnxruntime, "c": _native}
"""What runs an artifact, by its format."""


def open_artifact(folder: str | Path) -> Actor:
    """The artifact in `folder`, running.

    Raises:
        LilliputError: no artifact, or nothing here that runs it.
    """
    artifact = read_artifact(folder)
    format_ = artifact.manifest.format
    if format_ not in RUNTIMES:
        raise LilliputError(f"{folder} is of the format {format_!r}; this version runs {' and '.join(RUNTIMES)}")
    return RUNTIMES[format_](artifact)
