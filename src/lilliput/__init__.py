"""Lilliput makes trained reinforcement-learning policies tiny and proves that they still do their job."""

from lilliput.compare import Compared, compare
from lilliput.errors import LilliputError
from lilliput.policies.compress import Context, compress
from lilliput.policies.export import check, export, open_artifact
from lilliput.policies.learn import train
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_checkpoint, load_policy
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy
from lilliput.policies.reference import act, act_episode
from lilliput.shrink import shrink

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
