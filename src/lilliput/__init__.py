"""Lilliput makes trained reinforcement-learning policies tiny and proves that they still do their job."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Modules of these names are here too: were a function found only when it is asked for, its module would stand there.
from lilliput.compare import Compared, compare
from lilliput.errors import LilliputError
from lilliput.policies.learn import train
from lilliput.shrink import shrink

if TYPE_CHECKING:
    from lilliput.policies.compress import Context, compress
    from lilliput.policies.export import check, export, open_artifact
    from lilliput.policies.learner import Checkpoint
    from lilliput.policies.load import load_checkpoint, load_policy
    from lilliput.policies.play import episode_returns
    from lilliput.policies.policy import Policy
    from lilliput.policies.reference import act, act_episode

__all__ = [
    "Checkpoint",
    "Compared",
    "Context",
    "LilliputError",
    "Policy",
    "act",
    "act_episode",
    "check",
    "compare",
    "compress",
    "episode_returns",
    "export",
    "load_checkpoint",
    "load_policy",
    "open_artifact",
    "shrink",
    "train",
]

_FOUND_IN = {
    "Checkpoint": "learner",
    "Context": "compress",
    "Policy": "policy",
    "act": "reference",
    "act_episode": "reference",
    "check": "export",
    "compress": "compress",
    "episode_returns": "play",
    "export": "export",
    "load_checkpoint": "load",
    "load_policy": "load",
    "open_artifact": "export",
}
"""The modules of what is imported when it is first asked for; a program that opens an artifact waits for no loader."""


if not TYPE_CHECKING:  # to whom any name would be one

    def __getattr__(name: str) -> Any:
        if name not in _FOUND_IN:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"lilliput.policies.{_FOUND_IN[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
