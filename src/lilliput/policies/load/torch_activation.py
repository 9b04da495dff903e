"""torch's activations: the one table of those that are read, and what they are as layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never, final

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer


@final
@dataclass(frozen=True)
class TorchActivation:
    """One of torch's activations.

    Attributes:
        kind: the name of its class in `torch.nn`.
        layer: what it is with its default arguments.
        option: what `--activation` calls it; empty where that does not take it.
        pickled: whether a pickled module of that class is read.
    """

    kind: str
    layer: layers.Activation
    option: str = ""
    pickled: bool = True

    def with_arguments(self, given: Mapping[str, Any], name: str) -> layers.Activation:
        """The layer of a module with these attributes.

        >>> TorchActivation("ELU", layers.Elu()).with_arguments({"alpha": 2, "inplace": True}, "policy.pt")
        Elu(alpha=2.0)

        Raises:
            LilliputError: an attribute is no number, or it is computed otherwise than any layer.
        """
        match self.layer:
            case layers.Elu(alpha=alpha):
                return layers.Elu(_number(given, "alpha", alpha, name))
            case layers.LeakyRelu(slope=slope):
                return layers.LeakyRelu(_number(given, "negative_slope", slope, name))
            case layers.HardTanh(low=low, high=high):
                return layers.HardTanh(_number(given, "min_val", low, name), _number(given, "max_val", high, name))
            case layers.Gelu():
                how = given.get("approximate", "none")
                if isinstance(how, str) and how != "none":
                    raise LilliputError(f"{name} holds a GELU with approximate={how[:20]!r}; supported: the exact one")
                return self.layer
            case layers.Relu() | layers.Tanh() | layers.Sigmoid() | layers.Silu():
                return self.layer
            case other:
                assert_never(other)


def _number(given: Mapping[str, Any], key: str, default: float, name: str) -> float:
    value = given.get(key, default)
    if not isinstance(value, int | float):
        raise LilliputError(f"{name} holds an activation whose {key} is {value!r:.40}; it must be a number")
    return float(value)


ROWS: Final = (
    TorchActivation("ReLU", layers.Relu(), "relu"),
    TorchActivation("Tanh", layers.Tanh(), "tanh"),
    TorchActivation("ELU", layers.Elu(), "elu"),
    TorchActivation("LeakyReLU", layers.LeakyRelu(), "leaky_relu"),
    TorchActivation("SiLU", layers.Silu(), "silu"),
    TorchActivation("GELU", layers.Gelu(), "gelu"),
    TorchActivation("Sigmoid", layers.Sigmoid(), "sigmoid"),
    TorchActivation("ReLU6", layers.HardTanh(0.0, 6.0)),
    TorchActivation("CELU", layers.Elu(), pickled=False),
    TorchActivation("Hardtanh", layers.HardTanh(-1.0, 1.0)),
)

BY_CLASS: Final[Mapping[str, tuple[Layer, ...]]] = {row.kind: (row.layer,) for row in ROWS} | {"Identity": ()}
"""The layers, with default arguments, by the name of the class."""

BY_OPTION: Final[Mapping[str, tuple[Layer, ...]]] = {row.option: (row.layer,) for row in ROWS if row.option} | {
    "none": ()
}
"""The same by what --activation takes."""

PICKLED: Final[Mapping[str, TorchActivation]] = {row.kind: row for row in ROWS if row.pickled}
"""Those that are read of pickled modules, by the name of the class."""
