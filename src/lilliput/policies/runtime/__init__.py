"""What a running artifact is, and what runs those of each format: onnxruntime, or the compiled C."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lilliput.policies.artifact import Running


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
