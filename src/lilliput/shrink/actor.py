"""What plays in a trial: the reference on many rows at once, or, of images, the C artifact."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lilliput.compiler import has_compiler
from lilliput.policies import layers
from lilliput.policies.export import export, open_artifact
from lilliput.policies.play import Act, PolicyAct
from lilliput.policies.policy import Policy
from lilliput.record import REFERENCE


def has_convolutions(policy: Policy) -> bool:
    """Whether a batch gains nothing, and numpy takes milliseconds a decision."""
    return any(isinstance(layer, layers.Conv2d | layers.QuantizedConv2d) for layer in policy.layers)


def format_of(policy: Policy) -> str:
    """What plays it in trials: "c" where that is many times as fast."""
    return "c" if has_convolutions(policy) and has_compiler() else REFERENCE


@contextmanager
def acting(policy: Policy) -> Iterator[Act]:
    """What decides for one observation at a time.

    Raises:
        LilliputError: it cannot be written in C.
    """
    if format_of(policy) == REFERENCE:
        yield PolicyAct(policy)
        return

    with tempfile.TemporaryDirectory() as folder:
        export(policy, "c", Path(folder) / "artifact")
        yield open_artifact(Path(folder) / "artifact")
