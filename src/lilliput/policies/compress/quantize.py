"""Post-training quantization: integer weights, and integer inputs by a dynamic or a static range."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np
from jaxtyping import Float32, Float64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.parameter import check_fields, check_integer
from lilliput.policies import constants, layers, reference
from lilliput.policies.affine import (
    MAX_BITS,
    MIN_BITS,
    QuantizedTensor,
    check_bits,
    quantize_unsigned,
    quantize_weights,
    unsigned_max,
)
from lilliput.policies.compress import quantize_memory
from lilliput.policies.compress.calibrate import Calibration, input_range, static_range, weight_scale
from lilliput.policies.compress.chain import forward, layer_inputs
from lilliput.policies.compress.context import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Context, Source
from lilliput.policies.compress.gptq import gptq
from lilliput.policies.compress.mixed import allocations
from lilliput.policies.compress.regression import moments, outputs, refitted, samples
from lilliput.policies.compress.step import Step
from lilliput.policies.compress.still_inputs import is_still, told, with_room
from lilliput.policies.policy import Policy, replace_layers
from lilliput.sums import exact_products, products

Scheme = Literal["dynamic", "static", "weight_only"]
QuantizedLinear = layers.QuantizedDense | layers.QuantizedConv2d


@final
@dataclass(frozen=True)
class Quantize(Step):
    """Quantizes every linear layer that still has real weights.

    Weights are symmetric signed codes. What is quantized of the first layer's input is the
    normalized observation.

    Attributes:
        weight_bits: 2 to 8; 2 bits are ternary (-1, 0, 1). `auto`: each layer gets its own, so that the policy takes at
            most `max_bytes` and the actions on calibration observations move least.
        activation_bits: 2 to 8.
        scheme: `dynamic`: each observation's own range, at run time (the literature's PTDQ); `static`: ranges fixed
            on calibration observations (PTSQ); `weight_only`: inputs stay real.
        granularity: of the weight scale: one a layer, or one an output.
        calibration: how ranges are set: `minmax`; `percentile` of the inputs (static only); `mse`: the least squared
            error, of inputs and weights.
        input: of a static range: `per_tensor`, or `per_dimension`: the first layer has a range for each of its
            inputs, since the numbers of an observation differ in kind; `every_dimension`: every Dense layer.
            Convolutions have one for all.
        method: `nearest`: each weight to the nearest code; `gptq`: one after another, those that follow making good
            what was lost on calibration observations (with `mse`, scales are chosen by the error of the outputs).
        bias_correction: adds to each bias what quantization changed in the mean of the output on calibration
            observations.
        source: of calibration observations.
        observations: how many.
        draw: which draw of them; draws share no episode.
        max_bytes: the model_bytes that `auto` may use.
    """

    NAME: ClassVar[str] = "quantize"
    VERSION: ClassVar[int] = 2
    SHOWN: ClassVar[tuple[str, ...]] = ("weight_bits", "activation_bits", "scheme")
    MEMORY: ClassVar[bool] = True

    weight_bits: int | Literal["auto"] = 8
    activation_bits: int = 8
    scheme: Scheme = "dynamic"
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    calibration: Calibration = "minmax"
    input: Literal["per_tensor", "per_dimension", "every_dimension"] = "per_tensor"
    method: Literal["nearest", "gptq"] = "nearest"
    bias_correction: bool = False
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS
    draw: int = 0
    max_bytes: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.weight_bits != "auto":
            check_bits(self.weight_bits, "quantize: weight_bits")
        if (self.weight_bits == "auto") != (self.max_bytes > 0):
            raise LilliputError(
                f"quantize: weight_bits {self.weight_bits}, max_bytes {self.max_bytes}; auto and a budget go together"
            )
        check_bits(self.activation_bits, "quantize: activation_bits")
        check_integer(self, "observations", self.observations, 1, MAX_OBSERVATIONS)
        check_integer(self, "draw", self.draw, 0, 10_000)
        if self.scheme == "weight_only" and self.activation_bits != 8:
            raise LilliputError("quantize: scheme weight_only leaves the inputs real; drop activation_bits")
        if self.scheme != "static" and self.input != "per_tensor":
            raise LilliputError(f"quantize: input {self.input!r} needs scheme static; the scheme is {self.scheme}")
        if self.scheme != "static" and self.calibration == "percentile":
            raise LilliputError(f"quantize: calibration percentile needs scheme static; the scheme is {self.scheme}")
        unused = (self.source, self.observations, self.draw) != ("on_policy", DEFAULT_OBSERVATIONS, 0)
        if unused and not self._needs_observations:
            raise LilliputError(
                f"quantize: scheme {self.scheme} uses no calibration observations; drop source, observations and draw"
            )

    @property
    def _needs_observations(self) -> bool:
        return self.weight_bits == "auto" or self.scheme == "static" or self.method == "gptq" or self.bias_correction

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with quantized linear layers."""
        if policy.has_memory:
            return self._with_memory(policy, context)
        todo = [index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Dense | layers.Conv2d)]
        if not todo:
            raise NotApplicable("quantize: every linear layer is quantized already")
        if self.input != "per_tensor" and not any(isinstance(policy.layers[index], layers.Dense) for index in todo):
            raise LilliputError(
                f"quantize: input {self.input!r} needs a Dense layer; convolutions have one range for all"
            )
        inputs: list[np.ndarray] = []
        if self._needs_observations:
            observations = context.observations(self.observations, self.source, self.draw)
            inputs = layer_inputs(policy, observations)
        if self.input != "per_tensor":
            first = next(index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))
            if first in todo and inputs[first].ndim == 2:  # a convolution has one range for all
                for sentence in told(policy, first, inputs[first]):
                    context.tell(f"quantize: {sentence}")
        if self.weight_bits == "auto":
            return self._within(self.max_bytes, policy, todo, inputs)
        return self._with_bits(dict.fromkeys(todo, self.weight_bits), policy, inputs)

    def _with_memory(self, policy: Policy, context: Context) -> Policy:
        """The policy with quantized linear layers and parts, calibrated on whole episodes."""
        if self.weight_bits == "auto":
            raise LilliputError(
                "quantize: weight_bits 'auto' does not weigh the parts of a memory yet; give a number, such as "
                "weight_bits=5"
            )
        if any(isinstance(layer, layers.Conv2d | layers.QuantizedConv2d) for layer in policy.layers):
            raise LilliputError("quantize: a policy with a memory and convolutions is not supported yet; use half")
        if not any(isinstance(part, layers.Dense) for part in quantize_memory.parts(policy).values()):
            raise NotApplicable("quantize: every linear layer is quantized already")
        seen = context.episodes(self.observations, self.source, self.draw) if self._needs_observations else ()
        return self.on_episodes(policy, seen)

    def on_episodes(self, policy: Policy, episodes: Sequence[np.ndarray]) -> Policy:
        """The policy with a memory quantized, calibrated on these episodes (raw observations in order)."""
        assert self.weight_bits != "auto"
        todo = {place: part for place, part in quantize_memory.parts(policy).items() if isinstance(part, layers.Dense)}
        seen = quantize_memory.inputs(policy, episodes) if self._needs_observations else {}
        follow = self.bias_correction or self.method == "gptq"
        new: dict[quantize_memory.Place, layers.Dense | layers.QuantizedDense] = {}
        for place, part in todo.items():
            index, name = place
            if self.scheme == "static" and name == "recurrent":
                # A hidden state never leaves these bounds, whatever the episodes of calibration had.
                range_: layers.InputRange = static_range(*_bounds_of_hidden(policy, index), self.activation_bits)
            else:
                first = place == next(iter(todo)) and self.input == "per_dimension"
                separate = name != "recurrent" and (first or self.input == "every_dimension")
                range_ = self._range(policy, index, seen.get(place), per_dimension=separate)
            # As without a memory: what is made good is what those before it lose, over the same observations.
            now = quantize_memory.inputs(quantize_memory.with_parts(policy, new), episodes) if follow else seen
            real = [seen[place], reference.apply(part, seen[place])] if seen else []
            made = self._quantized(part, self.weight_bits, range_, now.get(place), real)
            assert isinstance(made, layers.QuantizedDense)
            new[place] = made
        return quantize_memory.with_parts(policy, new)

    def _within(self, max_bytes: int, policy: Policy, todo: list[int], inputs: list[np.ndarray]) -> Policy:
        """The policy within the budget, bits given out by what rounding of each layer alone does to the actions."""
        stop = len(policy.layers) - isinstance(policy.layers[-1], layers.ArgmaxAction)
        wanted = inputs[stop].astype(np.float64)

        def error_of(small: Policy, start: int) -> float:
            return float(np.square(forward(small.layers[start:stop], inputs[start]) - wanted).mean())

        error: dict[int, dict[int, float]] = {index: {} for index in todo}
        nbytes: dict[int, dict[int, int]] = {index: {} for index in todo}
        for index, bits in itertools.product(todo, range(MIN_BITS, MAX_BITS + 1)):
            alone = self._with_bits({index: bits}, policy, inputs)
            error[index][bits] = error_of(alone, index)
            nbytes[index][bits] = _stored(alone, [index])
        budget = max_bytes - _stored(policy, [index for index in range(len(policy.layers)) if index not in todo])
        # Zeros are stored sparsely, and how many there are depends on the layers before: bytes do not quite add up.
        # Nor do errors: the same bits for all, as many as fit, are tried too.
        equal = (self._with_bits(dict.fromkeys(todo, b), policy, inputs) for b in range(MAX_BITS, MIN_BITS - 1, -1))
        fitting = list(itertools.islice((small for small in equal if small.model_bytes <= max_bytes), 1))
        for slack in (1.02, 1.0, 0.98, 0.95):
            tried = [self._with_bits(bits, policy, inputs) for bits in allocations(error, nbytes, int(budget * slack))]
            fitting += [small for small in tried if small.model_bytes <= max_bytes]
            if len(fitting) > 1:
                break
        if not fitting:
            least = max_bytes - budget + sum(min(sizes.values()) for sizes in nbytes.values())
            raise LilliputError(
                f"quantize: max_bytes is {max_bytes}; the policy takes at least {least}: raise it, or prune before"
            )
        return min(fitting, key=lambda small: error_of(small, todo[0]))

    def _with_bits(self, bits: dict[int, int], policy: Policy, inputs: list[np.ndarray]) -> Policy:
        """The policy with those layers quantized to so many bits each."""
        first = next(index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))
        new = list(policy.layers)
        # What each layer gets once those before it are quantized: errors are then made good instead of adding up.
        follow = self.bias_correction or self.method == "gptq"
        x = inputs[0] if inputs else None
        for index, layer in enumerate(policy.layers):
            if isinstance(layer, layers.Dense | layers.Conv2d) and index in bits:
                separate = self.input == "every_dimension" or (self.input == "per_dimension" and index == first)
                range_ = self._range(policy, index, inputs[index] if inputs else None, per_dimension=separate)
                new[index] = self._quantized(layer, bits[index], range_, x, inputs[index : index + 2])
            if follow and x is not None:
                x = forward((new[index],), x)
        return replace_layers(policy, tuple(new))

    def _range(
        self, policy: Policy, index: int, x: Float32[np.ndarray, "n ..."] | None, *, per_dimension: bool
    ) -> layers.InputRange:
        match self.scheme:
            case "weight_only":
                return None
            case "dynamic":
                return layers.DynamicRange(self.activation_bits)
            case "static":
                assert x is not None
                separate = per_dimension and isinstance(policy.layers[index], layers.Dense | layers.Recurrent)
                low, high = input_range(x, self.activation_bits, self.calibration, per_dimension=separate)
                if separate:
                    low, high = with_room(policy, index, x, low, high)
                return static_range(low, high, self.activation_bits)
            case _:
                assert_never(self.scheme)

    def _quantized(
        self,
        layer: layers.Dense | layers.Conv2d,
        bits: int,
        range_: layers.InputRange,
        x: np.ndarray | None,
        real: list[np.ndarray],
    ) -> QuantizedLinear:
        """The layer, quantized, where it gets `x`; `real`: what it got and gave before (empty: no observations)."""
        rows, bias = absorbed(layer, range_)
        stood = _stood(range_, real)
        per_channel = self.granularity == "per_channel"
        if self.method == "gptq":
            assert x is not None
            seen, wanted = samples(layer, x).astype(np.float64), outputs(real[1]) - bias
            if isinstance(range_, layers.StaticRange):
                near = _nearest_to_zero(range_, rows.shape[1])
                codes = quantize_unsigned(x, range_.inverse_scale, range_.zero_point, range_.bits)
                padding = float(range_.zero_point) if range_.zero_point.shape == () else 0.0
                seen = samples(layer, codes, padding) - near
                wanted = wanted - _times(rows, near - range_.zero_point)
                if stood.any():  # nothing can be learned of their weights
                    wanted = wanted - exact_products(seen[:, stood], rows[:, stood])
                    seen = np.where(stood, 0.0, seen)
            # Where one stood still others nearly do, and would make good with their weights what a bias should.
            found = moments(seen, wanted, rows, centred=self.bias_correction or bool(stood.any()))
            aimed, _ = refitted(found, rows)
            aimed = np.where(np.any(rows, axis=0), aimed, 0.0)
            codes = gptq(aimed, found.hessian, bits, self.calibration, per_channel=per_channel)
        else:
            scale = weight_scale(rows, bits, self.calibration, per_channel=per_channel)
            codes = quantize_weights(rows, scale, bits)
        quantized = assembled(layer, range_, codes, rows, bias)
        if stood.any():
            quantized = _exact_where_still(quantized, layer, stood, real[0][0])
        if not self.bias_correction:
            return quantized
        assert x is not None
        missing = (real[1].astype(np.float64) - forward((quantized,), x)).mean(axis=(0, *range(2, real[1].ndim)))
        corrected = missing if quantized.bias is None else quantized.bias + missing
        return dataclasses.replace(quantized, bias=corrected.astype(np.float32))


def _bounds_of_hidden(policy: Policy, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest that a number of the layer's hidden state can be: an episode may begin farther out."""
    layer = policy.layers[index]
    assert isinstance(layer, layers.Recurrent)
    most = 1.0 if layer.initial is None else max(1.0, float(np.abs(layer.initial[0].astype(np.float64)).max()))
    return np.asarray(-most), np.asarray(most)


def _stored(policy: Policy, indices: list[int]) -> int:
    return sum(array.nbytes for index in indices for array in constants.constants(policy.layers[index]).values())


def _nearest_to_zero(range_: layers.StaticRange, n: int) -> Float64[np.ndarray, " n"]:
    """The code nearest to zero that there is: what a far-off input always adds goes through unrounded weights."""
    near = np.clip(range_.zero_point, 0, unsigned_max(range_.bits)).astype(np.float64)
    return np.broadcast_to(near, (n,))


def _stood(range_: layers.InputRange, real: list[np.ndarray]) -> np.ndarray:
    """Which of the inputs that have ranges of their own stood still."""
    if not isinstance(range_, layers.StaticRange) or range_.inverse_scale.shape == ():
        return np.zeros(1, bool)
    return is_still(real[0])


def _times(matrix: Float64[np.ndarray, "rows n"], vector: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " rows"]:
    return products(matrix, vector[None])[:, 0]


def _exact_where_still(
    quantized: QuantizedLinear, layer: layers.Dense | layers.Conv2d, stood: np.ndarray, x: Float32[np.ndarray, " n"]
) -> QuantizedLinear:
    """The layer with a bias by which inputs that stood at `x` add there what they added before rounding."""
    assert isinstance(quantized.input, layers.StaticRange)
    range_, integers = quantized.input, quantized.weight.values.astype(np.float64)
    codes = quantize_unsigned(x[None], range_.inverse_scale, range_.zero_point, range_.bits)[0]
    near = _nearest_to_zero(range_, len(codes))
    weight = layer.weight.astype(np.float64)
    rows = weight / range_.inverse_scale.astype(np.float64)
    added = _times(rows, np.where(stood, near - range_.zero_point, 0.0))
    added += quantized.weight.scale.astype(np.float64) * _times(integers, np.where(stood, codes - near, 0.0))
    missing = _times(weight, np.where(stood, x.astype(np.float64), 0.0)) - added
    bias = missing if quantized.bias is None else quantized.bias + missing
    return dataclasses.replace(quantized, bias=bias.astype(np.float32))


def absorbed(
    layer: layers.Dense | layers.Conv2d, range_: layers.InputRange
) -> tuple[Float64[np.ndarray, "rows columns"], Float64[np.ndarray, " rows"]]:
    """The weights for codes instead of real inputs, the input's scale taken up, and the bias."""
    rows = layer.weight.astype(np.float64).reshape(len(layer.weight), -1)
    bias = np.zeros(len(rows)) if layer.bias is None else layer.bias.astype(np.float64)
    if not isinstance(range_, layers.StaticRange):
        return rows, bias
    return rows * (1 / range_.inverse_scale.astype(np.float64)), bias


def assembled(
    layer: layers.Dense | layers.Conv2d,
    range_: layers.InputRange,
    codes: QuantizedTensor,
    rows: Float64[np.ndarray, "rows columns"],
    bias: Float64[np.ndarray, " rows"],
) -> QuantizedLinear:
    """The quantized layer from the codes of the weights, and the weights and bias that `absorbed` gave."""
    weight = QuantizedTensor(codes.values.reshape(layer.weight.shape), codes.scale, codes.bits)
    keep_none = layer.bias is None and not bias.any()
    if isinstance(range_, layers.StaticRange):
        near = _nearest_to_zero(range_, rows.shape[1])
        integers = codes.values.astype(np.float64).reshape(len(rows), -1)
        bias = bias + _times(rows, near - range_.zero_point) - codes.scale.astype(np.float64) * _times(integers, near)
        keep_none = keep_none and not bias.any()
    new_bias = None if keep_none else bias.astype(np.float32)
    match layer:
        case layers.Dense():
            return layers.QuantizedDense(weight, new_bias, range_)
        case layers.Conv2d():
            return layers.QuantizedConv2d(weight, new_bias, range_, layer.stride, layer.padding)
        case _:
            assert_never(layer)
