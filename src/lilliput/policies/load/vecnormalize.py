"""Observation statistics: VecNormalize's pickle, or an .npz or .json file with `mean` and `var`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load.archive import read_archive
from lilliput.policies.load.inert_numpy import array_of
from lilliput.policies.load.inert_pickle import (
    DICT,
    ORDERED_DICT,
    Global,
    InertCall,
    is_call,
    read_pickle,
    state_of,
    string_keys,
)
from lilliput.policies.load.npy import read_npy

DEFAULT_EPSILON = 1e-8
DEFAULT_CLIP = 10.0
MAX_JSON_BYTES = 64 << 20


@final
class ForeignNormalizer(LilliputError):
    """A normalizer of a class that is not the framework's."""


@final
@dataclass(frozen=True, eq=False)
class RunningStatistics:
    """Running mean and variance of one array of observations."""

    mean: np.ndarray
    var: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Normalizer:
    """What VecNormalize does to observations: clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs).

    Attributes:
        statistics: of the whole observation, or by key of a Dict observation; keys that are not there stay as they are.
        norm_obs: False: observations stay as they are.
        guesses: what the file did not say and the reader assumed, a sentence each.
        n_observations: that the statistics were taken over; None where it does not say.
    """

    statistics: RunningStatistics | Mapping[str, RunningStatistics]
    epsilon: float = DEFAULT_EPSILON
    clip_obs: float = DEFAULT_CLIP
    norm_obs: bool = True
    guesses: tuple[str, ...] = ()
    n_observations: float | None = None


def read_normalizer(data: bytes, name: str) -> Normalizer:
    """The normalizer in a file's bytes: a VecNormalize pickle, an .npz or a .json.

    An .npz or .json holds `mean`, `var` and where they differ from VecNormalize's `epsilon` (1e-8) and `clip` (10).

    Raises:
        LilliputError: none of these, damaged, or with numbers that cannot be statistics.
    """
    if data.startswith(b"PK"):
        return _from_npz(data, name)
    if data.lstrip()[:1] == b"{":
        return _from_json(data, name)
    if data.startswith(b"\x80"):
        return _from_pickle(data, name)
    raise LilliputError(
        f"{name} is no observation normalizer; allowed: a VecNormalize pickle, an .npz or .json file with mean and var"
    )


def is_normalizer(data: bytes, name: str) -> bool:
    """Whether a file's bytes are observation statistics, be they of those that are read or not."""
    try:
        read_normalizer(data, name)
    except ForeignNormalizer:
        return True
    except LilliputError:
        return False
    return True


def standardize(
    normalizer: Normalizer, space: spaces.ObservationSpace, name: str, frame: spaces.Box | None = None
) -> layers.Standardize | None:
    """The layer that does to a raw observation what the normalizer does; None where it does nothing.

    Its statistics may be of a `frame`, one of the observations that are stacked to one of `space`.

    Raises:
        LilliputError: the statistics are of another shape than the observation.
    """
    if not normalizer.norm_obs:
        return None
    match normalizer.statistics, space:
        case RunningStatistics() as statistics, spaces.Box(shape=shape):
            own = statistics.mean.shape
            if own != shape and (frame is None or own != frame.shape):
                parts = shape[0] // own[0] if len(own) == len(shape) == 1 and own[0] and not shape[0] % own[0] else 1
                way = f"; if that is the last {parts} of them (VecFrameStack), give --wrapper 'frame_stack({parts})'"
                raise LilliputError(
                    f"{name} holds statistics of shape {list(own)}; the policy's observation has {list(shape)}"
                    f"{way if parts > 1 and frame is None else ''}"
                )
            return _layer(statistics.mean, statistics.var, np.asarray(normalizer.clip_obs), normalizer.epsilon)
        case Mapping() as by_key, spaces.Dict(boxes=boxes):
            return _dict_layer(by_key, boxes, normalizer, name)
        case Mapping(), _:
            raise LilliputError(f"{name} holds statistics by key; the policy's observation is one array")
        case _:
            raise LilliputError(
                f"{name} holds the statistics of one array; the policy's observation has the keys {_keys(space)}"
            )


def _dict_layer(
    by_key: Mapping[str, RunningStatistics],
    boxes: tuple[tuple[str, spaces.Box], ...],
    normalizer: Normalizer,
    name: str,
) -> layers.Standardize:
    unknown = sorted(set(by_key) - {key for key, _ in boxes})
    if unknown:
        raise LilliputError(
            f"{name} holds statistics of the key {unknown[0][:40]!r}; the policy's observation has "
            f"{', '.join(k for k, _ in boxes)}"
        )
    mean, var, clip = [], [], []
    for key, box in boxes:
        if key not in by_key:
            mean.append(np.zeros(box.size))
            var.append(np.full(box.size, 1.0 - normalizer.epsilon))
            clip.append(np.full(box.size, np.inf))
            continue
        statistics = by_key[key]
        if statistics.mean.shape != box.shape:
            raise LilliputError(
                f"{name}: the statistics of {key[:40]!r} have the shape {list(statistics.mean.shape)}; the "
                f"observation's is {list(box.shape)}"
            )
        mean.append(statistics.mean.reshape(-1))
        var.append(statistics.var.reshape(-1))
        clip.append(np.full(box.size, normalizer.clip_obs))
    clips = np.concatenate(clip)
    return _layer(
        np.concatenate(mean),
        np.concatenate(var),
        clips[:1].reshape(()) if (clips == clips[0]).all() else clips,
        normalizer.epsilon,
    )


def _layer(mean: np.ndarray, var: np.ndarray, clip: np.ndarray, epsilon: float) -> layers.Standardize:
    scale = 1.0 / np.sqrt(var.astype(np.float64) + epsilon)
    return layers.Standardize(mean.astype(np.float32), scale.astype(np.float32), clip.astype(np.float32))


def _keys(space: spaces.ObservationSpace) -> str:
    return ", ".join(key for key, _ in space.boxes) if isinstance(space, spaces.Dict) else "none"


def _statistics(mean: np.ndarray, var: np.ndarray, name: str) -> RunningStatistics:
    mean, var = (array.astype(np.float64) for array in (mean, var))
    if mean.shape != var.shape:
        raise LilliputError(
            f"{name}: the mean has the shape {list(mean.shape)}, the variance {list(var.shape)}; they must agree"
        )
    if not np.isfinite(mean).all() or not np.isfinite(var).all() or (var < 0).any():
        raise LilliputError(f"{name} holds statistics that are not finite or a negative variance; it is damaged")
    return RunningStatistics(mean, var)


def _number(value: np.ndarray, what: str, name: str) -> float:
    if value.size != 1:
        raise LilliputError(f"{name}: {what} is {value.size} numbers; it must be one")
    return float(value.reshape(-1)[0])


def _positive(value: Any, what: str, name: str, *, zero: bool) -> float:
    unclipped = not zero and value == np.inf
    number = float(value) if isinstance(value, int | float) and (abs(value) < 2**63 or unclipped) else float("nan")
    if not (number > 0 or (zero and number == 0)):
        raise LilliputError(f"{name}: {what} is {str(value)[:40]!r}; it must be a positive number")
    return number


def _from_pickle(data: bytes, name: str) -> Normalizer:
    value, _ = read_pickle(data, name)
    # A dict or object with mean and var of its own (Gymnasium's NormalizeObservation.obs_rms) will do as well.
    state = string_keys(value) or state_of(value) or {}
    if "obs_rms" not in state and "norm_obs" not in state and not {"mean", "var"} <= set(state):
        raise LilliputError(
            f"{name} is a pickle of something else than VecNormalize; give the file that VecNormalize.save wrote"
        )
    if (kind := _foreign(value)) and "mean" not in state:
        raise ForeignNormalizer(
            f"{name} is of the class {kind[:80]!r}, which is not the framework's VecNormalize and may normalize "
            "otherwise; if it does not, give its mean, var, epsilon and clip as an .npz or .json file"
        )
    if own := _METHODS & state.keys():
        raise ForeignNormalizer(
            f"{name} has a {min(own)!r} of its own instead of its class's, code that is not read; if it normalizes as "
            "VecNormalize does, give its mean, var, epsilon and clip as an .npz or .json file"
        )
    if "mean" in state and (others := sorted(state.keys() - _RUNNING)):
        raise LilliputError(
            f"{name} holds {', '.join(map(repr, others))[:80]} beside mean and var, which is not read; allowed: "
            f"{', '.join(sorted(_RUNNING))}, or an .npz or .json file of mean, var, epsilon and clip"
        )
    norm_obs = _number(array_of(state.get("norm_obs", True), f"{name}: norm_obs"), "norm_obs", name) != 0
    pickled = state.get("obs_rms", value)
    if not norm_obs:
        return Normalizer({}, norm_obs=False)
    if is_call(pickled, DICT, ORDERED_DICT) and pickled is not value:
        by_key = {
            key: _running(item, f"{name}, key {key[:40]!r}") for key, item in (string_keys(pickled) or {}).items()
        }
        chosen = state.get("norm_obs_keys")
        is_chosen = isinstance(chosen, list)
        statistics = {key: item for key, item in by_key.items() if key in chosen} if is_chosen else by_key
    else:
        statistics = _running(pickled, name)
    guesses = [
        f"the normalizer does not say {what}: {default:g}, VecNormalize's default"
        for what, default in _DEFAULTS.items()
        if what not in state
    ]
    if "norm_obs" in state and (own := sorted(map(str, state.keys() - _OF_VECNORMALIZE))):
        guesses.append(f"the normalizer holds {', '.join(own)[:80]}, which VecNormalize does not and which is not read")
    epsilon, clip = (
        _number(array_of(state.get(what, default), f"{name}: {what}"), what, name)
        for what, default in _DEFAULTS.items()
    )
    return Normalizer(
        statistics,
        _positive(epsilon, "epsilon", name, zero=True),
        _positive(clip, "clip_obs", name, zero=False),
        guesses=tuple(guesses),
        n_observations=_count(pickled),
    )


_RUNNING = {"mean", "var", "count", "epsilon", "clip_obs"}
"""What a dict or object of running statistics may hold."""
_OF_VECNORMALIZE = {
    "num_envs", "observation_space", "action_space", "render_mode", "metadata", "reset_infos", "_seeds", "_options",
    "norm_obs", "norm_reward", "norm_obs_keys", "obs_keys", "obs_spaces", "obs_rms", "ret_rms", "clip_obs",
    "clip_reward", "gamma", "epsilon", "training", "old_obs", "old_reward", "spec", "actions", "waiting",
}  # fmt: skip
"""What the framework's VecNormalize keeps, in any of its versions."""
_METHODS = {"normalize_obs", "_normalize_obs", "step_wait", "reset"}
"""Of VecNormalize: what is set on one in their place is how it normalizes."""
_FRAMEWORKS = ("stable_baselines3", "stable_baselines", "gymnasium", "gym", "baselines", "collections", "builtins")
"""Packages whose normalizers are what `Normalizer` says."""


def _foreign(value: Any) -> str:
    """The class of a pickled object by its full name, where it is of none of these packages; else empty."""
    maker = value.maker if isinstance(value, InertCall) else None
    if isinstance(value, InertCall) and maker in _REBUILT and isinstance(value.args, tuple) and value.args:
        maker = value.args[0]
    if isinstance(maker, Global):
        known = maker.module.partition(".")[0] in _FRAMEWORKS
        return "" if known else f"{maker.module}.{maker.name}"
    return "" if maker is None else "made by its own code"


_REBUILT = (
    Global("copyreg", "_reconstructor"),
    Global("copyreg", "__newobj__"),
    Global("copyreg", "__newobj_ex__"),
)
"""What makes an object of the class that is its first argument."""

_DEFAULTS = {"epsilon": DEFAULT_EPSILON, "clip_obs": DEFAULT_CLIP}


def _count(pickled: Any) -> float | None:
    """How many observations a pickled RunningMeanStd saw, or the first of a Dict observation's; None where untold."""
    keyed = string_keys(pickled) or {}
    one = pickled if "mean" in keyed or not keyed else next(iter(keyed.values()))
    found = (string_keys(one) or state_of(one) or {}).get("count")
    try:
        return None if found is None else _number(array_of(found, "count"), "count", "count")
    except LilliputError:
        return None


def _running(value: Any, name: str) -> RunningStatistics:
    """The statistics of a pickled RunningMeanStd."""
    state = string_keys(value) or state_of(value) or {}
    if {"mean", "var"} <= set(state) and (others := sorted(map(str, state.keys() - _RUNNING))):
        raise ForeignNormalizer(
            f"{name} holds statistics with {', '.join(others)[:80]}, which the framework's do not have and which may "
            "normalize otherwise; if they do not, give mean, var, epsilon and clip as an .npz or .json file"
        )
    if not {"mean", "var"} <= set(state):
        raise LilliputError(
            f"{name} holds no running mean and variance of observations; save it with VecNormalize.save"
        )
    return _statistics(array_of(state["mean"], f"{name}: mean"), array_of(state["var"], f"{name}: var"), name)


def _from_npz(data: bytes, name: str) -> Normalizer:
    archive = read_archive(data, name)
    found: dict[str, np.ndarray] = {}
    _check_names([entry.removesuffix(".npy") for entry in archive.sizes], name)
    for entry in archive.sizes:
        if entry.removesuffix(".npy") in _NAMES:
            found[entry.removesuffix(".npy")] = read_npy(
                archive.read(entry, MAX_JSON_BYTES), f"{name}: array {entry!r}"
            )
    return _from_arrays(found, name)


def _from_json(data: bytes, name: str) -> Normalizer:
    if len(data) > MAX_JSON_BYTES:
        raise LilliputError(f"{name} has {len(data)} bytes; at most {MAX_JSON_BYTES} are read")
    try:
        parsed = json.loads(data)
        found = {key: np.asarray(parsed[key], np.float64) for key in _NAMES if key in parsed}
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LilliputError(f"{name} is not JSON with lists of numbers under mean and var") from error
    _check_names(parsed, name)
    return _from_arrays(found, name)


def _check_names(names: Iterable[str], name: str) -> None:
    """Check that a file holds nothing that would be lost, such as a clip by another name.

    Raises:
        LilliputError: it does.
    """
    if others := sorted(set(names) - {*_NAMES, "count"}):
        raise LilliputError(
            f"{name} holds {', '.join(map(repr, others))[:80]}, which is not read; it needs mean and var, and may have "
            "epsilon and clip: take the rest out, or give it by these names"
        )


_NAMES = ("mean", "var", "epsilon", "clip")


def _from_arrays(arrays: dict[str, np.ndarray], name: str) -> Normalizer:
    if not {"mean", "var"} <= set(arrays):
        raise LilliputError(f"{name} has no mean and var; it needs both, and may have epsilon and clip")
    if any(array.dtype.kind not in "fiu" for array in arrays.values()):
        raise LilliputError(f"{name}: mean, var, epsilon and clip must be numbers")
    defaults = {"epsilon": DEFAULT_EPSILON, "clip": DEFAULT_CLIP}
    guesses = tuple(
        f"the normalizer does not say {what}: {default:g}" for what, default in defaults.items() if what not in arrays
    )
    epsilon, clip = (
        _number(arrays[what], what, name) if what in arrays else default for what, default in defaults.items()
    )
    return Normalizer(
        _statistics(arrays["mean"], arrays["var"], name),
        _positive(epsilon, "epsilon", name, zero=True),
        _positive(clip, "clip", name, zero=False),
        guesses=guesses,
    )
