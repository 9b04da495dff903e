"""Cross-layer equalization: neighbouring layers share their weights' range fairly, and the function stays the same."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import NotApplicable
from lilliput.parameter import check_fields
from lilliput.policies import layers
from lilliput.policies.compress.chain import Hidden, check_real, hidden_layers, real_linear
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.step import Step
from lilliput.policies.policy import Policy, replace_layers

_ROUNDS = 50
_SETTLED = 1e-3


@final
@dataclass(frozen=True)
class Equalize(Step):
    """Rescales each hidden unit so that its incoming and its outgoing weights have the same largest size.

    Exact for units behind a Relu, a LeakyRelu or nothing, where a positive factor passes through (Nagel et al. 2019,
    arXiv 1906.04721, equation 11); units behind other activations or a layer norm stay as they are.
    """

    NAME: ClassVar[str] = "equalize"
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with equalized hidden units."""
        check_real(policy, self.NAME, "equalize")
        found = [hidden for hidden in hidden_layers(policy, self.NAME) if _scales_through(policy, hidden)]
        if not found:
            raise NotApplicable(
                "equalize: no hidden units behind a Relu, a LeakyRelu or nothing, where factors pass through"
            )
        for _ in range(_ROUNDS):
            largest = 0.0
            for hidden in found:
                factor = _factor(policy, hidden)
                largest = max(largest, float(np.abs(np.log(factor)).max()))
                policy = _rescaled(policy, hidden, factor)
            if largest < _SETTLED:
                break
        return policy


def _scales_through(policy: Policy, hidden: Hidden) -> bool:
    between = policy.layers[hidden.producer + 1 : hidden.consumer]
    return all(isinstance(layer, layers.Relu | layers.LeakyRelu | layers.Flatten) for layer in between)


def _factor(policy: Policy, hidden: Hidden) -> Float64[np.ndarray, " units"]:
    producer, consumer = real_linear(policy, hidden.producer), real_linear(policy, hidden.consumer)
    incoming = np.abs(producer.weight.astype(np.float64)).reshape(hidden.size, -1).max(axis=1)
    outgoing = (
        np.abs(consumer.weight.astype(np.float64)).reshape(len(consumer.weight), hidden.size, -1).max(axis=(0, 2))
    )
    both = (incoming > 0) & (outgoing > 0)
    # A dead unit has nothing to share; and float32 has an end.
    return np.where(both, np.clip(np.sqrt(outgoing / np.where(both, incoming, 1.0)), 1e-6, 1e6), 1.0)


def _rescaled(policy: Policy, hidden: Hidden, factor: Float64[np.ndarray, " units"]) -> Policy:
    producer, consumer = real_linear(policy, hidden.producer), real_linear(policy, hidden.consumer)
    rows = factor.reshape(-1, *[1] * (producer.weight.ndim - 1))
    columns = np.repeat(1 / factor, hidden.block).reshape(1, -1, *[1] * (consumer.weight.ndim - 2))
    new = list(policy.layers)
    new[hidden.producer] = dataclasses.replace(
        producer,
        weight=(producer.weight * rows).astype(np.float32),
        bias=None if producer.bias is None else (producer.bias * factor).astype(np.float32),
    )
    new[hidden.consumer] = dataclasses.replace(consumer, weight=(consumer.weight * columns).astype(np.float32))
    return replace_layers(policy, tuple(new))
