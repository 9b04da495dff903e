"""The only gate to torch outside of training: students trained many at once, and the optimizer that trains them."""

from lilliput.torch_bridge.soap import Soap
from lilliput.torch_bridge.students import ACTIVATIONS, Activation, InputRange, Inputs, Quantization, Students
from lilliput.torch_bridge.training import Loss, Replay, Trainer, one_thread

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "InputRange",
    "Inputs",
    "Loss",
    "Quantization",
    "Replay",
    "Soap",
    "Students",
    "Trainer",
    "one_thread",
]
