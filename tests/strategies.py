"""Random policies of every kind, for hypothesis: small, calibrated on their inputs, repeatable from what is drawn."""

from typing import Any, Literal, get_args

import numpy as np
from hypothesis import strategies as st

from lilliput.policies import affine, layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

Form = Literal["float32", "float16", "static", "dynamic", "weight_only"]
"""How a linear layer is stored and computed."""

FORMS: tuple[Form, ...] = get_args(Form)

N_CALIBRATION = 16

_ACTIVATIONS = st.one_of(
    st.just(layers.Relu()),
    st.just(layers.Tanh()),
    st.just(layers.Sigmoid()),
    st.builds(layers.Elu, st.sampled_from([0.5, 1.0])),
    st.builds(layers.LeakyRelu, st.sampled_from([0.01, 0.2])),
    st.just(layers.Silu()),
    st.just(layers.Gelu()),
    st.just(layers.HardTanh(-2.0, 2.0)),
)


def plausible_observations(space: spaces.ObservationSpace, n: int, rng: np.random.Generator) -> np.ndarray:
    """Raw observations (n, *input shape): whole bytes for images, else float32 about one unit wide."""
    shape = (n, *spaces.input_shape(space))
    if isinstance(space, spaces.Box) and space.dtype == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.normal(0, 1.5, shape).astype(np.float32)


@st.composite
def policies(
    draw: st.DrawFn,
    *,
    networks: tuple[str, ...] = ("mlp", "mlp", "cnn"),
    forms: tuple[Form, ...] = FORMS,
    actions: tuple[str, ...] = ("box", "discrete", "multi_discrete"),
    max_width: int = 20,
    min_bits: int = 2,
) -> Policy:
    """A policy whose linear layers take any of `forms`, with every activation, head and space that policies have."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    network = draw(st.sampled_from(networks))
    space = draw(image_spaces() if network == "cnn" else vector_spaces())
    x = spaces.network_input(space, plausible_observations(space, N_CALIBRATION, rng))
    stack: list[Layer] = []

    def add(layer: Layer) -> None:
        nonlocal x
        stack.append(layer)
        x = reference.apply(layer, x)

    def linear(**shape: Any) -> Layer:
        form = draw(st.sampled_from(forms))
        bits = draw(st.integers(min_bits, 8)), draw(st.integers(max(min_bits, 3), 8))
        options = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([0.0, 0.0, 0.7]))
        return random_linear(
            x, form, rng, bits=bits, per_channel=options[0], has_bias=options[1], sparsity=options[2],
            per_dimension=draw(st.booleans()), may_be_wide=True, **shape,
        )  # fmt: skip

    if network == "cnn":
        add(layers.Standardize(_one(0), _one(1 / 255), _one(np.inf)))
        for _ in range(draw(st.integers(1, 2))):
            kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
            add(
                linear(
                    outputs=draw(st.integers(1, 4)), kernel=kernel, stride=(stride, stride), padding=(padding, padding)
                )
            )
            add(draw(_ACTIVATIONS))
        add(layers.Flatten())
    else:
        if x.shape[1] > 1 and draw(st.booleans()):
            kept = np.sort(rng.choice(x.shape[1], rng.integers(1, x.shape[1] + 1), replace=False))
            add(layers.SelectInputs(kept.astype(np.uint16)))
        if draw(st.booleans()):
            add(_normalizer(x.shape[1], draw(st.sampled_from([2.0, 10.0, np.inf])), rng))
    for _ in range(draw(st.integers(0, 2))):
        add(linear(outputs=draw(st.integers(1, max_width))))
        if draw(st.booleans()):
            weight, bias = rng.normal(1, 0.2, x.shape[1]), rng.normal(0, 0.2, x.shape[1])
            add(layers.LayerNorm(weight.astype(np.float32), bias.astype(np.float32)))
        add(draw(_ACTIVATIONS))
    match draw(st.sampled_from(actions)):
        case "box":
            shape = draw(st.sampled_from([(1,), (3,), (6,), (2, 2)]))
            size = int(np.prod(shape))
            add(linear(outputs=size))
            low, high = -rng.uniform(0.5, 2, size).astype(np.float32), rng.uniform(0.5, 2, size).astype(np.float32)
            if draw(st.booleans()):
                low, high = np.asarray(low[0]), np.asarray(high[0])
            for layer in draw(st.sampled_from(_heads(low, high))):
                add(layer)
            bounds = [np.broadcast_to(bound, size).reshape(shape).astype(np.float64) for bound in (low, high)]
            return Policy(space, spaces.Box(shape, bounds[0], bounds[1]), tuple(stack))
        case "discrete":
            n = draw(st.integers(1, 6))
            add(linear(outputs=n))
            add(layers.ArgmaxAction((n,)))
            return Policy(space, spaces.Discrete(n), tuple(stack))
        case _:
            sizes = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
            add(linear(outputs=sum(sizes)))
            add(layers.ArgmaxAction(sizes))
            return Policy(space, spaces.MultiDiscrete(sizes), tuple(stack))


@st.composite
def vector_spaces(draw: st.DrawFn) -> spaces.ObservationSpace:
    """A Box of one axis, bounded or not, or a Dict of two boxes."""
    dtype = draw(st.sampled_from(["float32", "float64", "int64"]))
    bound = np.array(draw(st.sampled_from([5.0, np.inf])))
    low = np.array(-bound)
    box = spaces.Box((draw(st.integers(1, 12)),), low, bound, dtype)
    if draw(st.integers(0, 3)):
        return box
    other = spaces.Box((2, draw(st.integers(1, 3))), low, bound)
    return spaces.Dict((("goal", other), ("body", box)))


@st.composite
def image_spaces(draw: st.DrawFn) -> spaces.Box:
    """A small image of whole bytes, channels first."""
    shape = draw(st.integers(1, 3)), draw(st.integers(7, 11)), draw(st.integers(7, 11))
    return spaces.Box(shape, np.zeros(()), np.array(255.0), "uint8")


def random_linear(
    x: np.ndarray,
    form: Form,
    rng: np.random.Generator,
    *,
    outputs: int,
    bits: tuple[int, int] = (8, 8),
    per_channel: bool = True,
    has_bias: bool = True,
    sparsity: float = 0.0,
    kernel: int | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    per_dimension: bool = True,
    may_be_wide: bool = False,
) -> Layer:
    """A linear layer with random weights for the inputs `x`, a convolution where `kernel` is given.

    Args:
        x: (n, *shape) inputs that its ranges are calibrated on.
        form: how it is stored and computed.
        rng: of the weights.
        outputs: rows of the weight.
        bits: of the weights and of the input's codes.
        per_channel: one weight scale a row.
        has_bias: whether there is one (a static layer whose zero point is not 0 always has).
        sparsity: how many weights are zero.
        kernel: size of a convolution's window.
        stride: of a convolution.
        padding: of a convolution.
        may_be_wide: whether the lowest code, too, stands for a weight now and then, as where others quantized.
        per_dimension: with `per_channel`, whether a static Dense layer has one input scale a dimension or one in all.
    """
    shape = (outputs, *x.shape[1:]) if kernel is None else (outputs, x.shape[1], kernel, kernel)
    weight = rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
    weight[rng.random(shape) < sparsity] = 0
    bias = rng.normal(0, 0.3, outputs).astype(np.float32) if has_bias else None
    if form in ("float32", "float16"):
        dtype = np.dtype(form)
        halved = weight.astype(dtype), None if bias is None else bias.astype(dtype)
        return layers.Dense(*halved) if kernel is None else layers.Conv2d(*halved, stride, padding)
    range_: layers.InputRange = layers.DynamicRange(bits[1]) if form == "dynamic" else None
    if form == "static":
        range_ = _calibrated(x, bits[1], per_dimension=per_dimension and per_channel and kernel is None)
        weight = weight / range_.inverse_scale
    top = np.abs(weight.reshape(outputs, -1)).max(axis=1) if per_channel else np.abs(weight).max()
    scale = np.asarray(np.where(top == 0, 1, top / affine.signed_range(bits[0])[1]), np.float32)
    tensor = affine.quantize_weights(weight, scale, bits[0])
    is_wide = bool(rng.integers(2))
    if is_wide and may_be_wide:
        lowest = affine.signed_range(bits[0])[0]
        values = np.where(tensor.values == lowest + 1, np.int8(lowest), tensor.values)
        tensor = affine.QuantizedTensor(values, scale, bits[0])
    if isinstance(range_, layers.StaticRange):
        offsets = np.broadcast_to(
            range_.zero_point.reshape(range_.zero_point.shape + (1,) * (3 * (kernel is not None))), shape[1:]
        )
        shift = (tensor.dequantize() * offsets).reshape(outputs, -1).sum(axis=1)
        bias = (np.zeros(outputs, np.float32) if bias is None else bias) - shift.astype(np.float32)
    if kernel is None:
        return layers.QuantizedDense(tensor, bias, range_)
    return layers.QuantizedConv2d(tensor, bias, range_, stride, padding)


def _calibrated(x: np.ndarray, bits: int, *, per_dimension: bool) -> layers.StaticRange:
    low, high = (x.min(axis=0), x.max(axis=0)) if per_dimension else (x.min(), x.max())
    span = np.where(high > low, high - low, 1).astype(np.float32)
    inverse = (affine.unsigned_max(bits) / span).astype(np.float32)
    # The range need not hold 0: where it does not, the zero point lies outside the codes.
    return layers.StaticRange(np.asarray(inverse), np.asarray(np.rint(-low * inverse).astype(np.int32)), bits)


def _normalizer(size: int, clip: float, rng: np.random.Generator) -> layers.Standardize:
    mean, scale = rng.normal(0, 0.5, size), rng.uniform(0.5, 2, size)
    return layers.Standardize(mean.astype(np.float32), scale.astype(np.float32), _one(clip))


def _heads(low: np.ndarray, high: np.ndarray) -> list[tuple[Layer, ...]]:
    half, middle = np.asarray((high - low) / 2), np.asarray((high + low) / 2)
    rescale, clip = layers.RescaleAction(half, middle), layers.ClipAction(low, high)
    return [
        (),
        (clip,),
        (layers.SquashAction(), rescale),
        (layers.HardTanh(-1.0, 1.0), rescale, clip),
        (layers.SquashAction(),),
    ]


def _one(value: float) -> np.ndarray:
    return np.array(value, np.float32)
