"""Layers out of a state dict: chains of torch modules by their keys, and what turns their output into an action."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.policies import layers, numbers, spaces
from lilliput.policies.layers import Layer

State = Mapping[str, np.ndarray]

BATCH_NORM_EPSILON = 1e-5


@final
@dataclass(frozen=True, eq=False)
class Scaling:
    """x * scale + shift: what a batch normalization does once training is over."""

    scale: Float64[np.ndarray, " features"]
    shift: Float64[np.ndarray, " features"]


def state_dict(value: Any, name: str) -> dict[str, np.ndarray]:
    """The value as a state dict: text keys, arrays; entries that are something else are left out.

    Raises:
        LilliputError: it is no dict or has no array in it.
    """
    if not isinstance(value, dict):
        raise LilliputError(f"{name} holds no state_dict; save policy.state_dict() with torch.save")
    found = {key: array for key, array in value.items() if isinstance(key, str) and isinstance(array, np.ndarray)}
    if not found:
        raise LilliputError(f"{name} holds no tensors; save policy.state_dict() with torch.save")
    return found


def has(state: State, prefix: str) -> bool:
    """Whether the state has a key that starts so."""
    return any(key.startswith(prefix) for key in state)


def sub_state(state: State, prefix: str) -> dict[str, np.ndarray]:
    """The entries whose key starts with the prefix, without it."""
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}


def array(state: State, key: str, name: str) -> np.ndarray:
    """The array of that key, float32.

    Raises:
        LilliputError: there is none.
    """
    if key not in state:
        raise LilliputError(f"{name} has no {key!r}, which its network needs; it has {_shown(state)}")
    return weights(state[key], key, name)


def double(state: State, key: str, name: str) -> np.ndarray:
    """The array of that key as one row of float64: statistics.

    Raises:
        LilliputError: there is none, or it holds integers.
    """
    array(state, key, name)
    return np.asarray(state[key], np.float64).reshape(-1)


def weights(values: np.ndarray, key: str, name: str) -> np.ndarray:
    """The array as float32.

    Raises:
        LilliputError: it holds integers or booleans: codes or counts, whose meaning is elsewhere.
    """
    if values.dtype.kind != "f":
        raise LilliputError(
            f"{name}: {key[:60]} is of {values.dtype}; weights are of float16, bfloat16, float32 or float64: save the "
            "policy before it is quantized"
        )
    return np.ascontiguousarray(values, np.float32)


def dense(state: State, prefix: str, name: str) -> layers.Dense:
    """The Linear module of that name.

    Raises:
        LilliputError: its weight is missing or no matrix.
    """
    weight = array(state, f"{prefix}.weight", name)
    if weight.ndim != 2 or not weight.size:
        raise LilliputError(
            f"{name}: {prefix}.weight has the shape {list(weight.shape)}; a Linear layer's weight is a matrix"
        )
    bias = array(state, f"{prefix}.bias", name) if f"{prefix}.bias" in state else None
    return layers.Dense(weight, bias)


def intact(critic: tuple[Layer, ...], n_inputs: int) -> tuple[Layer, ...]:
    """The critic, or none where it is damaged: that is no reason to refuse the actor."""
    try:
        *_, output = layers.output_shapes(critic, (n_inputs,))
        numbers.check_finite(critic)
    except LilliputError:
        return ()
    return critic if output == (1,) else ()


def conv2d(state: State, prefix: str, stride: int, kernel: int, name: str) -> layers.Conv2d:
    """The Conv2d module of that name, its kernel checked.

    Raises:
        LilliputError: its weight is missing or has another kernel.
    """
    weight = array(state, f"{prefix}.weight", name)
    if weight.ndim != 4 or weight.shape[2:] != (kernel, kernel) or not weight.size:
        raise LilliputError(
            f"{name}: {prefix}.weight has the shape {list(weight.shape)}; this network's convolution has a kernel of "
            f"{kernel} x {kernel}"
        )
    bias = array(state, f"{prefix}.bias", name) if f"{prefix}.bias" in state else None
    return layers.Conv2d(weight, bias, (stride, stride))


def nature_convolutions(
    state: State, prefixes: Sequence[str], name: str, activation: Sequence[Layer] = (layers.Relu(),)
) -> list[Layer]:
    """The convolutions of Mnih et al., "Human-level control through deep reinforcement learning" (2015), flattened."""
    found: list[Layer] = []
    for prefix, (kernel, stride) in zip(prefixes, ((8, 4), (4, 2), (3, 1)), strict=True):
        found += [conv2d(state, prefix, stride, kernel, name), *activation]
    return [*found, layers.Flatten()]


def sequential(
    state: State,
    prefix: str,
    activation: Sequence[Layer],
    name: str,
    *,
    epsilon: float = BATCH_NORM_EPSILON,
    closed: bool = True,
) -> tuple[list[Layer], Scaling | None]:
    """The layers of a torch Sequential, and a scaling that the next Dense layer has to take up.

    Linear, LayerNorm and batch normalizations show by their keys; a missing number is a module without parameters: the
    activation. Linear modules of consecutive numbers are a list, whose program applies the activation between them.

    Args:
        state: the state dict.
        prefix: the Sequential's name; none of its keys there: no layers.
        activation: what stands between the Linear modules.
        name: for errors.
        epsilon: of the batch normalizations.
        closed: whether an activation follows the last Linear, behind its norm or, where a number says so, before it.

    Raises:
        LilliputError: modules that are none of these.
    """
    modules = _modules(sub_state(state, f"{prefix}."), f"{name}: {prefix}")
    listed = bool(activation) and _is_listed(state, prefix, sorted(modules), name)
    found: list[Layer] = []
    pending: Scaling | None = None
    previous = -1
    opened = True
    acted = False  # whether an activation stands behind the last Linear layer
    for index, keys in sorted(modules.items()):
        gap = index - previous - 1
        if gap > 1 or (gap == 1 and previous < 0):
            raise LilliputError(
                f"{name}: {prefix} has {gap} modules without parameters before module {index}, and not which; "
                "supported: one activation between layers; else export the policy with torch.onnx.export and give the "
                "ONNX file"
            )
        if gap == 1:
            if acted:
                raise LilliputError(
                    f"{name}: {prefix} has two modules without parameters between its Linear layers, before module "
                    f"{index} and the norm ahead of it, and not which; supported: one activation between layers; else "
                    "export the policy with torch.onnx.export and give the ONNX file"
                )
            found += activation
            opened = acted = True
        previous = index
        where = f"{prefix}.{index}"
        if "running_mean" in keys or "ra_mean" in keys:
            scaling = batch_norm(sub_state(state, f"{where}."), epsilon, f"{name}: {where}")
            if found and isinstance(found[-1], layers.Dense):
                found[-1] = fold_after(found[-1], scaling, f"{name}: {where}")
            else:
                pending = scaling
                opened = False
        elif keys <= {"weight", "bias"} and "weight" in keys and state[f"{where}.weight"].ndim == 2:
            if listed and found:
                found += activation
            found.append(take_up(dense(state, where, name), pending, f"{name}: {where}"))
            pending = None
            opened, acted = True, False
        elif keys == {"weight", "bias"} and state[f"{where}.weight"].ndim == 1:
            found.append(layers.LayerNorm(array(state, f"{where}.weight", name), array(state, f"{where}.bias", name)))
        else:
            raise LilliputError(
                f"{name}: module {where} has {_shown(keys)}; supported: Linear, LayerNorm, batch normalization, "
                "activations"
            )
    if closed and modules and opened and not acted:
        found += activation
    return found, pending


def _is_listed(state: State, prefix: str, numbers: Sequence[int], name: str) -> bool:
    """Whether the Linear modules follow one another without a module between: the activation is applied elsewhere.

    Raises:
        LilliputError: some do and others do not, or a norm stands between: where the activation goes is not told.
    """
    linear = [index for index in numbers if np.ndim(state.get(f"{prefix}.{index}.weight", 0)) == 2]
    bare = [all(index in numbers for index in range(first, last)) for first, last in itertools.pairwise(linear)]
    if not any(bare):
        return False
    if not all(bare) or linear != list(numbers):
        raise LilliputError(
            f"{name}: {prefix} has Linear layers with no activation between them among its modules {_shown(numbers)}; "
            "where the program applies it is in no file: give --activation none if nowhere, or export it as ONNX"
        )
    return True


def closed(state: State, prefix: str, activation: Sequence[Layer], name: str) -> list[Layer]:
    """The layers of a torch Sequential whose last is Linear: a whole actor.

    Raises:
        LilliputError: it ends in something else, or has modules that `sequential` refuses.
    """
    found, pending = sequential(state, prefix, activation, name, closed=False)
    if pending is not None or not found or not isinstance(found[-1], layers.Dense):
        raise LilliputError(f"{name}: {prefix} does not end in a Linear layer; supported: networks that do")
    return found


def take_up(layer: layers.Dense, scaling: Scaling | None, name: str) -> layers.Dense:
    """The Dense layer on unscaled inputs that equals this one on scaled ones."""
    if scaling is None:
        return layer
    if scaling.scale.shape != (layer.weight.shape[1],):
        raise LilliputError(
            f"{name}: a batch normalization of {scaling.scale.size} features before a layer of {layer.weight.shape[1]} "
            "inputs"
        )
    weight = layer.weight.astype(np.float64)
    bias = weight @ scaling.shift + (0.0 if layer.bias is None else layer.bias)
    return layers.Dense((weight * scaling.scale).astype(np.float32), bias.astype(np.float32))


def fold_after(layer: layers.Dense, scaling: Scaling, name: str) -> layers.Dense:
    """The Dense layer that equals this one and the scaling behind it.

    Raises:
        LilliputError: they do not fit each other.
    """
    if scaling.scale.shape != (layer.weight.shape[0],):
        raise LilliputError(
            f"{name}: a batch normalization of {scaling.scale.size} features behind a layer of {layer.weight.shape[0]} "
            "outputs"
        )
    bias = scaling.shift + (0.0 if layer.bias is None else layer.bias * scaling.scale)
    return layers.Dense((layer.weight * scaling.scale[:, None]).astype(np.float32), bias.astype(np.float32))


def batch_norm(state: State, epsilon: float, name: str) -> Scaling:
    """The scaling of a BatchNorm1d, or of sb3_contrib's BatchRenorm1d with its ra_mean and ra_var.

    Raises:
        LilliputError: numbers that do not fit each other.
    """
    mean, var = ("running_mean", "running_var") if "running_mean" in state else ("ra_mean", "ra_var")
    gain = "scale" if mean == "ra_mean" else "weight"
    statistics = [array(state, key, name).astype(np.float64) for key in (mean, var)]
    factors = [
        array(state, key, name).astype(np.float64) if key in state else default
        for key, default in ((gain, 1.0), ("bias", 0.0))
    ]
    shapes = {part.shape for part in (*statistics, *factors) if isinstance(part, np.ndarray)}
    if len(shapes) != 1 or statistics[0].ndim != 1 or (statistics[1] < 0).any():
        raise LilliputError(f"{name}: a batch normalization whose numbers do not fit each other; it is damaged")
    scale = factors[0] / np.sqrt(statistics[1] + epsilon)
    return Scaling(scale, factors[1] - statistics[0] * scale)


def _modules(state: State, name: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for key in state:
        number, dot, parameter = key.partition(".")
        if not dot or not number.isascii() or not number.isdigit() or len(number) > 4:
            raise LilliputError(f"{name} has the key {key[:60]!r}; supported: a Sequential of numbered layers")
        found.setdefault(int(number), set()).add(parameter)
    return found


def clip_head(space: spaces.Box) -> list[Layer]:
    """The layer that clips to the bounds of the action space; none where there are none."""
    low, high = (_short(bound) for bound in (space.low, space.high))
    return [] if np.isneginf(low).all() and np.isposinf(high).all() else [layers.ClipAction(low, high)]


def squash_head(space: spaces.Box, name: str) -> list[Layer]:
    """The layers from an unbounded mean to the bounds of the action space: tanh, then low + (a + 1) / 2 * (high - low).

    Raises:
        LilliputError: the bounds are infinite.
    """
    return [layers.SquashAction(), *rescale_head((space.high - space.low) / 2, (space.high + space.low) / 2, name)]


def rescale_head(scale: np.ndarray, offset: np.ndarray, name: str) -> list[Layer]:
    """The layer from [-1, 1] to the bounds of the action space; none where it would change nothing.

    Raises:
        LilliputError: scale or offset is not finite.
    """
    if not np.isfinite(scale).all() or not np.isfinite(offset).all():
        raise LilliputError(
            f"{name} squashes its actions into a space without finite bounds; train it with a bounded action space"
        )
    if (scale == 1).all() and (offset == 0).all():
        return []
    return [layers.RescaleAction(_short(scale), _short(offset))]


def _short(bound: np.ndarray) -> np.ndarray:
    """One number where all are the same, else one an action; float32."""
    flat = np.asarray(bound, np.float32).reshape(-1)
    return np.asarray(flat[0]) if (flat == flat[0]).all() else flat


def standardize(mean: np.ndarray, scale: np.ndarray, clip: float) -> layers.Standardize:
    """The layer clip((x - mean) * scale, -clip, clip), in float32."""
    return layers.Standardize(*(np.asarray(part, np.float32) for part in (mean, scale, clip)))


def scale_image() -> layers.Standardize:
    """The layer that divides pixels by 255."""
    mean, scale, clip = (np.asarray(number, np.float32) for number in (0.0, 1 / 255, np.inf))
    return layers.Standardize(mean, scale, clip)


def _shown(keys: Any) -> str:
    names = [str(key) for key in sorted(keys)]
    return ", ".join(name[:60] for name in names[:6]) + (", ..." if len(names) > 6 else "")
