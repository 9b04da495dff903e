"""Training at the policy's present shape and bits: by what the teacher does, or by the return itself."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal, assert_never, final

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer, check_ratio
from lilliput.policies import layers
from lilliput.policies.affine import check_bits
from lilliput.policies.compress import distill_memory
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.distill_course import Course, Settings, Start
from lilliput.policies.compress.distill_play import split_head
from lilliput.policies.compress.evolve import Evolve
from lilliput.policies.compress.step import Step
from lilliput.policies.constants import store_weight
from lilliput.policies.policy import Policy
from lilliput.policies.students import ACTIVATIONS, Activation

LEARNING_RATE = 2e-3

_RETURN = ("episodes", "each")
_IMITATION = (
    "steps", "weight_bits", "sparsity", "granularity", "activation_bits", "loss", "disturbance", "restarts",
)  # fmt: skip
"""What only one of the objectives uses."""

_SUPPORTED = "supported: dense layers with ReLU, tanh or SiLU between them, each behind a layer norm or none"

_NAMES: dict[layers.Layer, Activation] = {kind.layer: name for name, kind in ACTIVATIONS.items()}


@final
@dataclass(frozen=True)
class Finetune(Step):
    """Trains the policy as it is now on what the teacher does in the states that it gets itself into; see `distill`.

    With `objective="return"` nobody is imitated: the weights, at the bits that they have, are moved towards a higher
    return by evolution in the environment (see `evolve`), which is how a small policy may pass its teacher. Its
    episodes are neither those that judge it nor those that choose among candidates.

    A normalizer in front goes into the first layer, whose input range then does its clipping. Layer norms in front of
    the activations are trained with the weights, and stay. Weights that were pruned
    stay zero: all zeros of real weights, and those among codes where they are left out of storage.
    A policy with an LSTM or GRU keeps its layers as they are and learns over sequences, one student instead of several.

    Attributes:
        steps: optimizer steps in all.
        weight_bits: 2 to 8; None: as many as the policy has now, and real weights stay real.
        sparsity: the part of the weights that are zero in the end. The least of all layers are cut while the real
            weights are trained, more and more of them (Zhu and Gupta 2017, arXiv 1710.01878, equation 1); a weight
            counts by its square over those of its layer that are no smaller (Lee et al. 2021, arXiv 2010.07611).
        granularity, activation_bits, loss, disturbance, restarts: as for `distill`.
        objective: what is learned. `return` uses none of the above.
        episodes: that `return` plays in all; each: of every member of a generation.
    """

    NAME: ClassVar[str] = "finetune"
    VERSION: ClassVar[int] = 7
    MEMORY: ClassVar[bool] = True

    steps: int = 12_000
    weight_bits: int | None = None
    sparsity: float = 0.0
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    activation_bits: int = 8
    loss: Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"] = "auto"
    disturbance: float = 0.5
    restarts: int = 4
    objective: Literal["imitation", "return"] = "imitation"
    episodes: int = 4_000
    each: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "episodes", self.episodes, 1, 100_000_000)
        check_integer(self, "each", self.each, 1, 1000)
        other = _IMITATION if self.objective == "return" else _RETURN
        given = [one.name for one in fields(self) if one.name in other and getattr(self, one.name) != one.default]
        if given:
            raise LilliputError(f"finetune: {given[0]} is nothing that objective {self.objective!r} uses; leave it out")
        check_integer(self, "steps", self.steps, 10, 100_000_000)
        check_integer(self, "restarts", self.restarts, 1, 32)
        check_ratio(self, "sparsity", self.sparsity)
        check_bits(self.weight_bits or 8, "finetune: weight_bits")
        check_bits(self.activation_bits, "finetune: activation_bits")
        if not 0 <= self.disturbance <= 2:
            raise LilliputError(f"finetune: disturbance is {self.disturbance:g}; it must be from 0 to 2")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with better weights."""
        if self.objective == "return":
            return Evolve(self.episodes, self.each).apply(policy, context)
        if any(isinstance(layer, layers.BetaAction) for layer in policy.layers):
            other = "" if policy.has_memory else ", or objective='return'"
            raise NotApplicable(
                "finetune: the action is a Beta distribution's mean, of two numbers an action, and what learns gives "
                f"one: use distill{other}"
            )
        if any(isinstance(layer, layers.Recurrent) for layer in policy.layers):
            return self._with_memory(policy, context)
        start, activation = start_of(policy)
        hidden = tuple(len(bias) for bias in start.biases[:-1])
        bits = self._bits(policy)
        quantized_already = any(isinstance(layer, layers.QuantizedDense) for layer in policy.layers)
        if quantized_already and self.sparsity:
            raise LilliputError("finetune: sparsity needs real weights; finetune before quantizing")
        real_steps = 0 if quantized_already else self.steps if bits is None else self.steps - self.steps // 2
        settings = Settings(
            name=f"finetune {self.VERSION}",
            hidden=hidden,
            activation=activation,
            real_steps=real_steps,
            quantized_steps=self.steps - real_steps,
            weight_bits=bits,
            per_channel=self.granularity == "per_channel",
            activation_bits=self.activation_bits,
            input_range=_input_range(policy),
            loss=self.loss,
            disturbance=self.disturbance,
            restarts=self.restarts,
            learning_rate=LEARNING_RATE,
            sparsity=self.sparsity,
            history=next((layer.length for layer in policy.layers if isinstance(layer, layers.History)), None),
        )
        return Course(settings, context, start).run()

    def _with_memory(self, policy: Policy, context: Context) -> Policy:
        """The policy with an LSTM or GRU, trained over sequences."""
        default = {one.name: one.default for one in fields(self)}
        for name in ("sparsity", "restarts"):
            if getattr(self, name) != default[name]:
                raise LilliputError(f"finetune: {name} is nothing that a policy with a memory uses yet; leave it out")
        network = split_head(policy)[0]
        quantized = any(isinstance(p, layers.QuantizedDense) for one in network for p in layers.linear_parts(one))
        real = 0 if quantized else self.steps if self.weight_bits is None else self.steps - self.steps // 2
        course = distill_memory.SequenceSettings(
            name=f"finetune {self.VERSION}",
            real_steps=real,
            quantized_steps=self.steps - real,
            weight_bits=self.weight_bits,
            granularity=self.granularity,
            activation_bits=self.activation_bits,
            loss=self.loss,
            disturbance=self.disturbance,
            learning_rate=distill_memory.LATER_RATE,
        )
        return distill_memory.distilled(course, context, network)

    def _bits(self, policy: Policy) -> tuple[int, ...] | None:
        linear = [layer for layer in policy.layers if isinstance(layer, layers.Dense | layers.QuantizedDense)]
        if self.weight_bits is not None:
            return (self.weight_bits,) * len(linear)
        now = tuple(layer.weight.bits for layer in linear if isinstance(layer, layers.QuantizedDense))
        return now if len(now) == len(linear) else None


def start_of(policy: Policy) -> tuple[Start, Activation]:
    """The weights, biases and norms of the policy's layers on raw observations, and the activation between them.

    Raises:
        NotApplicable: the network is no chain of dense layers with one kind of activation, each behind a layer norm
            or none.
    """
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    norms: list[layers.LayerNorm | None] = []
    activations: set[Activation] = set()
    select: layers.SelectInputs | None = None
    scale, shift = np.ones(()), np.zeros(())
    network = split_head(policy)[0]
    # A clip of the mean in front of the head (gSDE) is learned like the rest of the head's input.
    network = network[:-1] if network and isinstance(network[-1], layers.HardTanh) else network
    before: layers.Layer | None = None
    for index, layer in enumerate(network):
        match layer:
            case layers.Flatten() if not index:
                pass  # the students' view of a board
            case layers.SelectInputs() if set(map(type, network[:index])) <= {layers.Flatten}:
                select = layer
            case layers.History() if set(map(type, network[:index])) <= {layers.Flatten, layers.SelectInputs}:
                pass  # the students' view of the observation
            case layers.Standardize() if not weights:
                scale = layer.scale.astype(np.float64)
                shift = -layer.mean.astype(np.float64) * scale
            case layers.Dense() | layers.QuantizedDense() if not weights or before in _NAMES:
                weight, bias = _affine(layer)
                weights.append(weight * scale)
                biases.append(bias + (weight * shift).sum(axis=1))
                kept.append(_kept(layer))
                norms.append(None)
                scale, shift = np.ones(()), np.zeros(())
            case layers.LayerNorm() if isinstance(before, layers.Dense | layers.QuantizedDense):
                norms[-1] = layer
            case layers.Relu() | layers.Tanh() | layers.Silu() if weights and before not in _NAMES:
                activations.add(_NAMES[layer])
            case (
                layers.SelectInputs() | layers.History() | layers.Standardize() | layers.Dense()
                | layers.QuantizedDense() | layers.LayerNorm() | layers.Relu() | layers.Tanh() | layers.Silu()
                | layers.Conv2d() | layers.QuantizedConv2d() | layers.Flatten() | layers.Sigmoid() | layers.Elu()
                | layers.LeakyRelu() | layers.Gelu() | layers.HardTanh() | layers.Lstm() | layers.Gru()
                | layers.PreviousAction() | layers.SquashAction() | layers.BetaAction() | layers.RescaleAction()
                | layers.ClipAction() | layers.ArgmaxAction()
            ):  # fmt: skip
                after = "" if before is None else f" behind {type(before).__name__}"
                raise NotApplicable(f"finetune: layer {index} is {type(layer).__name__}{after}; {_SUPPORTED}")
            case _:
                assert_never(layer)
        before = layer
    if not isinstance(before, layers.Dense | layers.QuantizedDense):
        raise NotApplicable(f"finetune: the network ends in {before and type(before).__name__}; {_SUPPORTED}")
    if len(activations) > 1:
        raise NotApplicable(f"finetune: the activations are {', '.join(sorted(activations))}; they must be of one kind")
    start = Start(tuple(weights), tuple(biases), tuple(kept), select, policy.digest, tuple(norms[:-1]))
    return start, activations.pop() if activations else "silu"


def _kept(layer: layers.Dense | layers.QuantizedDense) -> np.ndarray:
    """Which weights (outputs, inputs) were not pruned: a code of zero alone does not say that one was."""
    if isinstance(layer, layers.Dense):
        return layer.weight != 0
    codes = layer.weight.values
    return np.ones(codes.shape, bool) if store_weight(layer.weight).encoding == "dense" else codes != 0


def _affine(layer: layers.Dense | layers.QuantizedDense) -> tuple[np.ndarray, np.ndarray]:
    """The layer as weights and biases on its real input, its rounding left out."""
    bias = np.zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias.astype(np.float64)
    if isinstance(layer, layers.Dense):
        return layer.weight.astype(np.float64), bias
    weight = layer.weight.dequantize().astype(np.float64)
    if isinstance(layer.input, layers.StaticRange):
        bias = bias + (weight * layer.input.zero_point).sum(axis=1)
        weight = weight * layer.input.inverse_scale.astype(np.float64)
    return weight, bias


def _input_range(policy: Policy) -> Literal["per_dimension", "per_tensor", "none"]:
    first = next(layer for layer in policy.layers if isinstance(layer, layers.Dense | layers.QuantizedDense))
    if isinstance(first, layers.QuantizedDense) and isinstance(first.input, layers.StaticRange):
        return "per_dimension" if first.input.inverse_scale.shape else "per_tensor"
    return "none" if isinstance(first, layers.QuantizedDense) and first.input is None else "per_dimension"
