"""The compression steps there are."""

from typing import Any

from lilliput.policies.compress.distill import Distill
from lilliput.policies.compress.distill_images import DistillImages
from lilliput.policies.compress.equalize import Equalize
from lilliput.policies.compress.evolve import Evolve
from lilliput.policies.compress.finetune import Finetune
from lilliput.policies.compress.fold_inputs import FoldInputs
from lilliput.policies.compress.half import Half
from lilliput.policies.compress.prune_units import PruneUnits
from lilliput.policies.compress.prune_weights import PruneWeights
from lilliput.policies.compress.quantize import Quantize
from lilliput.policies.compress.remove_dead_inputs import RemoveDeadInputs
from lilliput.policies.compress.step import Step

STEPS: dict[str, type[Step]] = {
    step.NAME: step
    for step in (
        Quantize,
        PruneUnits,
        PruneWeights,
        RemoveDeadInputs,
        FoldInputs,
        Equalize,
        Half,
        Distill,
        DistillImages,
        Finetune,
        Evolve,
    )
}
"""By name, as recipes spell it."""


def shown_defaults(name: str) -> dict[str, Any]:
    """What a canonical text leaves out of a step and a reader wants to see; nothing of an unknown step."""
    return {parameter: getattr(STEPS[name], parameter) for parameter in STEPS[name].SHOWN} if name in STEPS else {}
