"""What is said of an ONNX operator that no layer of a policy computes: which it is, and what to do instead."""

from collections.abc import Mapping
from typing import Any, Final

from lilliput.errors import LilliputError

SUPPORTED: Final = (
    "Gemm, MatMul, Conv, Add, Sub, Mul, Div, Neg, Clip, Min, Max, Relu, Tanh, Sigmoid, Elu, Selu, Celu, LeakyRelu, "
    "Gelu, Erf (in a Gelu), Swish, LayerNormalization, BatchNormalization, Flatten, Reshape, Squeeze, Unsqueeze, "
    "Transpose, Concat, Split, Slice, Gather, GatherND, GatherElements, Identity, Dropout, Cast, Softmax, ArgMax, and "
    "the integer ones of quantized models"
)
MEMORY: Final = (
    "the policy has a memory ({}); supported: LSTM and GRU whose state is inputs and outputs of the file (obs, h_in, "
    "c_in)"
)
_ONLY: Final[Mapping[str, str]] = {
    "Min": "of a value and a constant",
    "Max": "of a value and a constant",
    "Gelu": "in its exact form (approximate='none'); train it with that one",
    "Swish": "with an alpha of 1",
    "LayerNormalization": "with one output",
    "Pow": "as a square, in a normalization or a GELU",
    "ArgMax": "of the first of equal numbers (select_last_index=0)",
}
"""How operators are supported that are so in one form."""
_RANDOM: Final = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
_TRAIN: Final = "train it with another: ReLU, tanh, ELU, SELU, LeakyReLU, SiLU (swish), GELU or sigmoid"
_OUTSIDE: Final = (
    "where the program does that to the observation, let the environment do it, and export the network alone"
)
_CONTROL: Final = "export the actor alone, in evaluation mode, for observations of a fixed size"
_STRIDES: Final = "train it with convolutions of a larger stride instead"
_ACTIVATIONS: Final[Mapping[str, str]] = {
    "Softplus": "softplus, by itself or in Mish (x * tanh(softplus(x)))",
    "Mish": "Mish",
    "PRelu": "PReLU, whose slopes are learned",
    "HardSigmoid": "hard sigmoid, by itself or in hard swish",
    "HardSwish": "hard swish",
    "Softsign": "softsign",
    "ThresholdedRelu": "thresholded ReLU",
    "Shrink": "shrink",
}
_OTHERS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(("Sin", "Cos", "Tan", "Atan", "Asin", "Acos"), ("an angle", _OUTSIDE)),
    **dict.fromkeys(("Abs", "Sign", "Exp", "Log", "Floor", "Ceil", "Mod"), ("a function", _OUTSIDE)),
    "Reciprocal": (
        "a function",
        "tf2onnx spells Keras' LayerNormalization out with it: give the model itself, model.save('policy.keras')",
    ),
    **dict.fromkeys(
        ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "LpNormalization", "CumSum"),
        ("one number of several", _OUTSIDE),
    ),
    **dict.fromkeys(
        ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "Where"),
        ("a decision between values", _OUTSIDE),
    ),
    **dict.fromkeys(("If", "Loop", "Scan"), ("a choice of what is computed", _CONTROL)),
    **dict.fromkeys(("NonZero", "TopK", "ScatterND", "ScatterElements"), ("places", _CONTROL)),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), ("a pooling", _STRIDES)
    ),
}
"""By operator: what it makes of the observation, and what to do."""


def of(node: Any) -> LilliputError:
    """The error of a node that is not read, or not in this form."""
    kind = node.op_type[:40]
    if kind in _RANDOM:
        return LilliputError(
            f"the action is drawn at random ({kind}): export the deterministic one, or name its output (output=, "
            "--output NAME)"
        )
    if kind == "RNN":
        return LilliputError(MEMORY.format(kind))
    if kind in _ONLY:
        return LilliputError(f"node {kind} is supported only {_ONLY[kind]}")
    if kind in _ACTIVATIONS:
        return LilliputError(f"node {kind!r} is the activation {_ACTIVATIONS[kind]}, which no layer computes; {_TRAIN}")
    if kind in _OTHERS:
        what, way = _OTHERS[kind]
        return LilliputError(f"node {kind!r} makes {what} of the observation's numbers, which no layer computes; {way}")
    return LilliputError(f"node {kind!r} is not supported; supported: {SUPPORTED}")
