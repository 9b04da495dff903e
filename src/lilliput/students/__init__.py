"""Students trained many at once: numpy keeps them, C made for this processor trains them."""

from lilliput.students.students import ACTIVATIONS, Activation, InputRange, Inputs, Quantization, Students
from lilliput.students.trainer import Loss, Replay, Trainer

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
