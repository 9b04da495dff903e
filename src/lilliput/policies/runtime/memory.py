"""What running artifacts with a memory share: how an episode begins, and the refusal to act without one."""

from typing import NoReturn

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.artifact import Artifact, Manifest
from lilliput.policies.state import initial


def first_state(manifest: Manifest) -> dict[str, np.ndarray]:
    """The state at an episode's start, by the names of its ports."""
    return initial(manifest.state)


def refuse_without_beginning(artifact: Artifact) -> NoReturn:
    """Refuses to act outside of an episode.

    Raises:
        LilliputError: always; it names the way to act.
    """
    raise LilliputError(
        f"{artifact.folder} has a memory: an action follows from an episode; act = open_artifact(folder).begin(), then "
        "act(observation) at each step"
    )
