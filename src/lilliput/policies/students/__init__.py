"""Students trained many at once: numpy keeps them, C made for this processor trains them."""

from lilliput.policies.students.chain import Chain
from lilliput.policies.students.quantization import InputRange, Quantization
from lilliput.policies.students.soap import Soap
from lilliput.policies.students.students import ACTIVATIONS, Activation, Inputs, Students
from lilliput.policies.students.trainer import Aim, Loss, Replay, Trainer, cut

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Aim",
    "Chain",
    "InputRange",
    "Inputs",
    "Loss",
    "Quantization",
    "Replay",
    "Soap",
    "Students",
    "Trainer",
    "cut",
]
