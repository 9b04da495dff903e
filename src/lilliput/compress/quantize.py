"""Post-training quantization: integer weights, and integer inputs by a dynamic or a static range."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never, final

import numpy as np
from jaxtyping import Float32, Float64

from lilliput import layers, reference
from lilliput.affine import QuantizedTensor, check_bits, quantize_weights, unsigned_max
from lilliput.compress.calibrate import Calibration, input_range, static_range, weight_scale
from lilliput.compress.context import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Context, Source
from lilliput.compress.step import Step, check_fields, check_integer
from lilliput.errors import LilliputError, NotApplicable
from lilliput.policy import Policy, replace_layers

Scheme = Literal["dynamic", "static", "weight_only"]
QuantizedLinear = layers.QuantizedDense | layers.QuantizedConv2d


@final
@dataclass(frozen=True)
class Quantize(Step):
    """Quantizes every linear layer that still has real weights.

    Weights are symmetric signed codes, rounded to the nearest. What is quantized of the first layer's input is the
    normalized observation.

    Attributes:
        weight_bits: 2 to 8; 2 bits are ternary (-1, 0, 1).
        activation_bits: 2 to 8.
        scheme: `dynamic`: each observation's own range, at run time (the literature's PTDQ); `static`: ranges fixed
            on calibration observations (PTSQ); `weight_only`: inputs stay real.
        granularity: of the weight scale: one a layer, or one an output.
        calibration: how ranges are set: `minmax`; `percentile` of the inputs (static only); `mse`: the least squared
            error, of inputs and weights.
        input: of a static range: `per_tensor`, or `per_dimension`: the first layer has a range for each of its
            inputs, since the numbers of an observation differ in kind; `every_dimension`: every Dense layer.
            Convolutions have one for all.
        bias_correction: adds to each bias what quantization changed in the mean of the output on calibration
            observations.
        source: of calibration observations.
        observations: how many.
        draw: which draw of them; draws share no episode.
    """

    NAME: ClassVar[str] = "quantize"
    VERSION: ClassVar[int] = 1

    weight_bits: int = 8
    activation_bits: int = 8
    scheme: Scheme = "dynamic"
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    calibration: Calibration = "minmax"
    input: Literal["per_tensor", "per_dimension", "every_dimension"] = "per_tensor"
    bias_correction: bool = False
    source: Source = "on_policy"
    observations: int = DEFAULT_OBSERVATIONS
    draw: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_bits(self.weight_bits, "quantize: weight_bits")
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
        return self.scheme == "static" or self.bias_correction

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with quantized linear layers."""
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
            inputs = reference.layer_inputs(policy, observations)
        first = next(index for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear))
        new = list(policy.layers)
        x = inputs[0] if inputs else np.zeros(0, np.float32)
        for index, layer in enumerate(policy.layers):
            if isinstance(layer, layers.Dense | layers.Conv2d):
                separate = self.input == "every_dimension" or (self.input == "per_dimension" and index == first)
                range_ = self._range(layer, inputs[index] if inputs else x, per_dimension=separate)
                quantized = self._quantized(layer, range_, inputs[index] if inputs else None)
                new[index] = self._corrected(quantized, x, inputs[index + 1]) if self.bias_correction else quantized
            if self.bias_correction:
                x = reference.apply(new[index], x)
        return replace_layers(policy, tuple(new))

    def _range(
        self, layer: layers.Dense | layers.Conv2d, x: Float32[np.ndarray, "n ..."], *, per_dimension: bool
    ) -> layers.InputRange:
        match self.scheme:
            case "weight_only":
                return None
            case "dynamic":
                return layers.DynamicRange(self.activation_bits)
            case "static":
                separate = per_dimension and isinstance(layer, layers.Dense)
                low, high = input_range(x, self.activation_bits, self.calibration, per_dimension=separate)
                return static_range(low, high, self.activation_bits)
            case _:
                assert_never(self.scheme)

    def _quantized(
        self, layer: layers.Dense | layers.Conv2d, range_: layers.InputRange, x: np.ndarray | None
    ) -> QuantizedLinear:
        rows, bias = absorbed(layer, range_, x)
        scale = weight_scale(rows, self.weight_bits, self.calibration, per_channel=self.granularity == "per_channel")
        return assembled(layer, range_, quantize_weights(rows, scale, self.weight_bits), rows, bias)

    def _corrected(self, layer: QuantizedLinear, x: np.ndarray, target: np.ndarray) -> QuantizedLinear:
        """The layer with the bias at which its mean output is the target's."""
        error = target.astype(np.float64) - reference.apply(layer, x)
        missing = error.mean(axis=(0, *range(2, error.ndim)))
        bias = missing if layer.bias is None else layer.bias + missing
        return dataclasses.replace(layer, bias=bias.astype(np.float32))


def absorbed(
    layer: layers.Dense | layers.Conv2d, range_: layers.InputRange, x: np.ndarray | None
) -> tuple[Float64[np.ndarray, "rows columns"], Float64[np.ndarray, " rows"]]:
    """The weights for codes instead of real inputs, the input's scale taken up, and the bias.

    An input that was the same number `x` in every calibration observation gets no weight: what it adds goes into the
    bias, exactly.
    """
    rows = layer.weight.astype(np.float64).reshape(len(layer.weight), -1)
    bias = np.zeros(len(rows)) if layer.bias is None else layer.bias.astype(np.float64)
    if not isinstance(range_, layers.StaticRange):
        return rows, bias
    scale = 1 / range_.inverse_scale.astype(np.float64)
    if range_.inverse_scale.shape == () or x is None:
        return rows * scale, bias
    constant = (x == x[0]).all(axis=0)
    return rows * np.where(constant, 0.0, scale), bias + rows @ np.where(constant, x[0].astype(np.float64), 0.0)


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
        # The code nearest to zero that there is: what an input of a far-off range always adds goes through unrounded
        # weights.
        near = np.clip(range_.zero_point, 0, unsigned_max(range_.bits)).astype(np.float64)
        integers = codes.values.astype(np.float64).reshape(len(rows), -1)
        ones = np.ones(rows.shape[1])
        bias = (
            bias
            + rows @ ((near - range_.zero_point) * ones)
            - codes.scale.astype(np.float64) * (integers @ (near * ones))
        )
        keep_none = keep_none and not bias.any()
    new_bias = None if keep_none else bias.astype(np.float32)
    match layer:
        case layers.Dense():
            return layers.QuantizedDense(weight, new_bias, range_)
        case layers.Conv2d():
            return layers.QuantizedConv2d(weight, new_bias, range_, layer.stride, layer.padding)
        case _:
            assert_never(layer)
