"""The compression steps of this wing."""

from lilliput.models.compress.finetune import Finetune
from lilliput.models.compress.half import Half
from lilliput.models.compress.lora import Lora
from lilliput.models.compress.prune_units import PruneUnits
from lilliput.models.compress.prune_weights import PruneWeights
from lilliput.models.compress.quantize import Quantize
from lilliput.models.compress.step import Step

STEPS: dict[str, type[Step]] = {step.NAME: step for step in (Quantize, PruneWeights, PruneUnits, Half, Lora, Finetune)}
"""By name, as recipes spell it."""
