"""The compression steps of this wing."""

from lilliput.models.compress.half import Half
from lilliput.models.compress.step import Step

STEPS: dict[str, type[Step]] = {step.NAME: step for step in (Half,)}
"""By name, as recipes spell it."""
