"""Lilliput makes trained reinforcement-learning policies tiny and proves that they still do their job."""

from lilliput.compress import Context, compress
from lilliput.errors import LilliputError
from lilliput.export import export
from lilliput.load import load_policy
from lilliput.policy import Policy
from lilliput.reference import act
from lilliput.rollout import episode_returns
from lilliput.runtime import open_artifact

__all__ = [
    "Context",
    "LilliputError",
    "Policy",
    "act",
    "compress",
    "episode_returns",
    "export",
    "load_policy",
    "open_artifact",
]
