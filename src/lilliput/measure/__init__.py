"""Measures artifacts: what they take, how long, and what they still achieve; or says why it cannot."""

from lilliput.measure.budget import limits
from lilliput.measure.conditions import conditions
from lilliput.measure.energy import energy, episode_energy
from lilliput.measure.episode_return import episode_return, episode_time, of_episodes
from lilliput.measure.latency import latency
from lilliput.measure.memory import memory
from lilliput.measure.size import size
from lilliput.measure.target import ON_TARGETS, TARGETS, count, on_target, target_named

__all__ = [
    "ON_TARGETS",
    "TARGETS",
    "conditions",
    "count",
    "energy",
    "episode_energy",
    "episode_return",
    "episode_time",
    "latency",
    "limits",
    "memory",
    "of_episodes",
    "on_target",
    "size",
    "target_named",
]
