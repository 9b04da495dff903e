"""Students trained many at once: numpy keeps them, C made for this processor trains them."""

from lilliput.policies.students.students import ACTIVATIONS, Activation, InputRange, Inputs, Quantization, Students
from lilliput.policies.students.trainer import Loss, Replay, Trainer

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "InputRange",
    "Inputs",
    "Loss",
    "Quantization",
    "Replay",
    "Students",
    "Trainer",
]
