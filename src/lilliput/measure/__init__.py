"""Measures artifacts: what they take, how long, and what they still achieve; or says why it cannot."""

from lilliput.measure.conditions import conditions
from lilliput.measure.energy import energy, episode_energy
from lilliput.measure.episode_return import episode_return
from lilliput.measure.latency import latency
from lilliput.measure.memory import memory
from lilliput.measure.size import size

__all__ = ["conditions", "energy", "episode_energy", "episode_return", "latency", "memory", "size"]
