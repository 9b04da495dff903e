"""A policy as C: its constants as data and its layers as a plain sequence of calls to the kernels."""

from dataclasses import dataclass
from typing import assert_never, final

import numpy as np

from lilliput.policies import layers, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.constants import constants, store_weight
from lilliput.policies.export.c_integer import (
    IntegerLayer,
    integer_constants,
    integer_layers,
    integer_linear,
    table_bytes,
    weight_array,
)
from lilliput.policies.export.c_linear import linear
from lilliput.policies.export.c_memory import keep_actions, remember, reset_lines, state_arrays
from lilliput.policies.export.c_text import array, c_type, real
from lilliput.policies.export.c_writer import DECODED, ONLY_X86, SCRATCH, Writer, step
from lilliput.policies.fixed_point import FixedPoint
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

_BYTES = {"float": 4, "int32_t": 4, "uint32_t": 4, "int16_t": 2, "uint8_t": 1, "int8_t": 1}


@final
@dataclass(frozen=True)
class CSource:
    """What `policy.c` is made of.

    Attributes:
        data: definitions of the constant arrays, by name.
        body: the statements of one decision; kernels: those that they call.
        scratch: working memory, (C type, name, length) in order.
        stores_halves: whether a bias, scale or the like is stored in half precision.
        mixes_memories: whether constants and what is decoded of them are read by the same kernels.
        state: what is remembered, the lengths of arrays of floats by name; reset: the statements that begin an episode.
        table_bytes: of the tables that replace curved activations.
        input_type: C type of an observation's numbers; action_type: of an action's.
        units: how they count where they are integers; constant_bytes: of the constants then.
    """

    data: dict[str, str]
    body: str
    kernels: frozenset[str]
    scratch: tuple[tuple[str, str, int], ...]
    stores_halves: bool
    mixes_memories: bool
    state: dict[str, int]
    reset: tuple[str, ...]
    table_bytes: int
    input_type: str
    action_type: str
    units: FixedPoint | None = None
    constant_bytes: int = 0

    def scratch_bytes(self, *, has_floats: bool) -> int:
        """Bytes of working memory on a processor with a float unit, or on one without; see `x86_bytes`."""
        absent = (*(() if has_floats else DECODED), *ONLY_X86)
        return sum(_BYTES[kind] * length for kind, name, length in self.scratch if name not in absent)

    @property
    def x86_bytes(self) -> int:
        """Bytes of working memory beside these on x86."""
        return sum(_BYTES[kind] * length for kind, name, length in self.scratch if name in ONLY_X86)


def generate(policy: Policy) -> tuple[CSource, CSource | None]:
    """The C of a policy with floats between its layers; with integers between those that can, where any can.

    Raises:
        LilliputError: integer sums of a layer could exceed 32 bits.
    """
    able = integer_layers(policy)
    return _generated(policy, able, {}), _generated(policy, able, able) if able else None


def _generated(policy: Policy, able: dict[int, IntegerLayer], in_integers: dict[int, IntegerLayer]) -> CSource:
    writer = Writer(policy)
    data: dict[str, str] = {}
    until = 0
    checked = writer.x != "observation"  # bytes are finite
    for index, layer in enumerate(policy.layers):
        writer.index, writer.name = index, f"layer{index}"
        how = in_integers.get(index)
        keep_actions(writer)
        if not checked and not isinstance(layer, layers.SelectInputs):
            _check_finite(writer)
            checked = True
        within_codes = index < until or _is_cut_off_by_codes(policy, index)
        about = f"{writer.name}: {describe(layer, writer.in_shape, writer.out_shape)}"
        writer.comment(f"{about}, within the codes" if within_codes else about)
        if within_codes:
            continue
        for part, values in constants(layer).items():
            name = f"{writer.name}_{part}"
            if how is not None and part in _unread(how):
                continue
            if (
                part == "weight"
                and index in able
                and isinstance(layer, layers.QuantizedDense)
                and layer.weight.bits == 8
            ):
                data[name] = weight_array(name, layer)
            else:
                data[name] = array(name, values)
        if how is not None:
            assert isinstance(layer, layers.QuantizedDense)
            data |= integer_constants(writer.name, layer, how)
            integer_linear(writer, layer, how)
            until = how.following or 0
        else:
            _write(writer, layer)
    if not policy.is_discrete and writer.x != "action":
        writer.index = len(policy.layers) - 1
        _finish(writer)
    writer.index = len(policy.layers)
    keep_actions(writer)
    reset = tuple(reset_lines(writer))
    scratch = tuple((kind, name, writer.scratch[name]) for name, kind in SCRATCH.items() if name in writer.scratch)
    return CSource(
        data=data,
        body="".join(f"    {line}\n" if line else "\n" for line in [*writer.declarations, *writer.lines]),
        kernels=frozenset(writer.kernels),
        scratch=scratch,
        stores_halves=writer.stores_halves,
        mixes_memories=writer.mixes_memories,
        state=state_arrays(policy),
        reset=reset,
        table_bytes=table_bytes(in_integers),
        input_type=c_type(np.dtype(spaces.input_dtype(policy.observation_space))),
        action_type="int32_t" if policy.is_discrete else "float",
    )


def _check_finite(writer: Writer) -> None:
    """Write what the policy answers to numbers that are none."""
    fill = "no_choice" if writer.policy.is_discrete else "no_action"
    n_actions = int(np.prod(spaces.action_shape(writer.policy.action_space)))
    writer.lines += [
        "",
        f"if (!{writer.kernel('all_finite', f'{writer.x}, {int(np.prod(writer.in_shape))}')}) {{",
        f"    {writer.kernel(fill, f'action, {n_actions}')};",
        "    return 1;",
        "}",
    ]


def _is_cut_off_by_codes(policy: Policy, index: int) -> bool:
    """Whether this is a ReLU in front of codes from zero up, which cut off what it would."""
    following = index + 1
    while following < len(policy.layers) and isinstance(policy.layers[following], layers.Flatten):
        following += 1
    if not isinstance(policy.layers[index], layers.Relu) or following == len(policy.layers):
        return False
    after = policy.layers[following]
    return (
        isinstance(after, layers.QuantizedDense | layers.QuantizedConv2d)
        and isinstance(after.input, layers.StaticRange)
        and not after.input.zero_point.any()
        and bool(np.any(after.weight.values))
    )


def _unread(how: IntegerLayer) -> set[str]:
    """The constants that a layer in integers does without."""
    ranges = {"inverse_scale", "zero_point"} if how.gets_codes else set()
    return ranges | ({"weight_scale", "bias"} if how.requantization is not None else set())


def _finish(writer: Writer) -> None:
    """Hand over, as an action, the image that a policy ends in."""
    size = int(np.prod(writer.out_shape))
    if writer.is_channels_last:
        channels, height, width = writer.out_shape
        writer.call("channels_first", f"{writer.x}, {channels}, {height * width}, action")
    else:
        writer.call("copy_floats", f"{writer.x}, {size}, action")


def _write(writer: Writer, layer: Layer) -> None:
    """Write one layer."""
    n, name = int(np.prod(writer.in_shape)), writer.name
    if not isinstance(layer, layers.Activation | layers.Linear):
        writer.put_channels(last=False)
    match layer:
        case layers.SelectInputs(indices=indices):
            target = writer.target(indices.size)
            if "mask" in constants(layer):
                writer.call("select_inputs_mask", f"{name}_mask, {indices[-1] + 1}, {writer.x}, {target}")
            else:
                kind = "u8" if indices[-1] < 256 else "u16"
                writer.call(f"select_inputs_{kind}", f"{name}_indices, {indices.size}, {writer.x}, {target}")
            writer.x = target
        case layers.Standardize():
            mean, scale = writer.real(0, "mean", layer.mean), writer.real(1, "scale", layer.scale)
            target = writer.x if writer.x != "observation" else writer.target(n)
            steps = step(layer.mean), step(layer.scale)
            writer.call("standardize", f"{writer.x}, {n}, {mean}, {steps[0]}, {scale}, {steps[1]}, {target}")
            writer.x = target
            if np.isfinite(layer.clip).any():
                writer.call("limit", f"{writer.x}, {n}, {writer.real(2, 'clip', layer.clip)}, {step(layer.clip)}")
        case layers.Dense() | layers.QuantizedDense() | layers.Conv2d() | layers.QuantizedConv2d():
            linear(writer, layer)
        case layers.Flatten():
            pass
        case layers.Lstm() | layers.Gru() | layers.History() | layers.PreviousAction():
            remember(writer, layer)
        case layers.LayerNorm():
            weight, bias = writer.real(0, "weight", layer.weight), writer.real(1, "bias", layer.bias)
            writer.call("layer_norm", f"{writer.in_place()}, {n}, {weight}, {bias}, {real(layer.epsilon)}")
        case layers.Relu():
            writer.call("relu", f"{writer.in_place()}, {n}")
        case layers.Tanh() | layers.SquashAction():
            writer.call("tanh_all", f"{writer.in_place()}, {n}")
        case layers.Sigmoid():
            writer.call("sigmoid", f"{writer.in_place()}, {n}")
        case layers.Elu():
            writer.call("elu", f"{writer.in_place()}, {n}, {real(layer.alpha)}")
        case layers.LeakyRelu():
            writer.call("leaky_relu", f"{writer.in_place()}, {n}, {real(layer.slope)}")
        case layers.Silu():
            writer.call("silu", f"{writer.in_place()}, {n}")
        case layers.Gelu():
            writer.call("gelu", f"{writer.in_place()}, {n}")
        case layers.HardTanh():
            writer.call("hard_tanh", f"{writer.in_place()}, {n}, {real(layer.low)}, {real(layer.high)}")
        case layers.BetaAction():
            target = writer.target(n // 2)
            writer.call("beta_mean", f"{writer.x}, {n // 2}, {target}")
            writer.x = target
        case layers.RescaleAction():
            scale, offset = writer.real(0, "scale", layer.scale), writer.real(1, "offset", layer.offset)
            steps = step(layer.scale), step(layer.offset)
            writer.call("rescale", f"{writer.in_place()}, {n}, {scale}, {steps[0]}, {offset}, {steps[1]}")
        case layers.ClipAction():
            low, high = writer.real(0, "low", layer.low), writer.real(1, "high", layer.high)
            steps = step(layer.low), step(layer.high)
            writer.call("clip", f"{writer.in_place()}, {n}, {low}, {steps[0]}, {high}, {steps[1]}")
        case layers.ArgmaxAction(sizes=sizes):
            starts = np.cumsum((0, *sizes[:-1]))
            for group, (start, length) in enumerate(zip(starts, sizes, strict=True)):
                at = f"{writer.x} + {start}" if start else writer.x
                writer.lines.append(f"action[{group}] = {writer.kernel('argmax', f'{at}, {length}')};")
        case _:
            assert_never(layer)


def describe(layer: Layer, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> str:
    """One short line on what a layer is and how it is stored."""
    sizes = f"{'x'.join(map(str, shape))} -> {'x'.join(map(str, out_shape)) or '1'}"
    if isinstance(layer, layers.Recurrent):
        return f"{type(layer).__name__}, {sizes}, {_bits(layer.input)} and {_bits(layer.recurrent)} weights"
    if not isinstance(layer, layers.Linear):
        return f"{type(layer).__name__}, {sizes}"
    encoding = {"dense": "", "bitmask": ", zeros left out (bit mask)", "indexed": ", zeros left out (indices)"}
    return f"{type(layer).__name__}, {sizes}, {_bits(layer)} weights{encoding[store_weight(layer.weight).encoding]}"


def _bits(layer: layers.Linear) -> str:
    weight = layer.weight
    return f"{weight.bits}-bit" if isinstance(weight, QuantizedTensor) else str(weight.dtype)
