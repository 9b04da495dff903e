"""The compression steps there are."""

from lilliput.compress.distill import Distill
from lilliput.compress.equalize import Equalize
from lilliput.compress.evolve import Evolve
from lilliput.compress.finetune import Finetune
from lilliput.compress.fold_inputs import FoldInputs
from lilliput.compress.half import Half
from lilliput.compress.prune_units import PruneUnits
from lilliput.compress.prune_weights import PruneWeights
from lilliput.compress.quantize import Quantize
from lilliput.compress.remove_dead_inputs import RemoveDeadInputs
from lilliput.compress.step import Step

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
        Finetune,
        Evolve,
    )
}
"""By name, as recipes spell it."""
