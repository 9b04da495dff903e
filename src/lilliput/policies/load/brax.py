"""Brax's parameters, of MuJoCo Playground too, as `brax.io.model.save_params` pickles them: statistics and networks.

The chain of Dense layers gives two numbers an action, of which the first half are means, and the action is their tanh;
or (`distribution_type="normal"`) a mean beside a spread of its own. Statistics are in every file, also of a run that
did not normalize.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.actor import n_outputs, vector_policy
from lilliput.policies.load.inert_numpy import array_of
from lilliput.policies.load.inert_pickle import Global, InertCall, is_call, read_pickle, state_of, string_keys
from lilliput.policies.load.layout import listed
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK: Final = "brax"
POLICY_KEY: Final = "state"
"""What of a dict of observations the policy sees by default (`policy_obs_key`)."""
LAYER_NORM_EPSILON: Final = 1e-6
"""Flax's."""
MAX_DEPTH: Final = 8

_STATISTICS: Final = Global("brax.training.acme.running_statistics", "RunningStatisticsState")
_FROZEN: Final = Global("flax.core.frozen_dict", "FrozenDict")
_JAX_ARRAY: Final = Global("jax._src.array", "_reconstruct_array")
_CHAIN: Final = r"(?:hidden_\d+\.(?:kernel|bias)|LayerNorm_\d+\.(?:scale|bias))"
_TANH: Final = rf"params\.{_CHAIN}"
_NORMAL: Final = rf"params\.(?:MLP_0\.{_CHAIN}|Dense_[01]\.(?:kernel|bias)|std_(?:log)?param\.\w+)"
_WAY_OUT: Final = "rebuild it as a torch module or in TensorFlow, and export that as ONNX (docs/formats.md)"


def is_brax(data: bytes) -> bool:
    """Whether it is a pickle that begins with brax's statistics of the observation."""
    return data.startswith(b"\x80") and _STATISTICS.module.encode() in data[:256]


def check_folder(folder: Path) -> None:
    """Check that the folder is none of brax's checkpoints, nor one of them, which orbax packs in a format of its own.

    Raises:
        LilliputError: it is; with the way out.
    """
    for config in (*folder.glob("*_network_config.json"), *folder.glob("*/*_network_config.json")):
        kind = config.name.partition("_")[0]
        raise LilliputError(
            f"folder {config.parent.name!r} is a checkpoint of brax's {kind.upper()[:8]} (orbax), which is not read; "
            f"write its parameters where brax is installed: from brax.training.agents.{kind[:8]} import checkpoint; "
            "from brax.io import model; model.save_params('policy.params', checkpoint.load(folder)), the folder by its "
            "whole path, and give policy.params"
        )


def read_brax(source: Source) -> Policy:
    """The deterministic policy in brax's parameters: (statistics, policy, value), as its inference function acts.

    Raises:
        LilliputError: other networks than brax's chains, a dict of observations without the policy's, or no activation
            was given.
    """
    name = source.name
    value, _ = read_pickle(source.data, name)
    if not isinstance(value, list | tuple) or len(value) < 2 or not is_call(value[0], _STATISTICS):
        raise LilliputError(f"{name} is no (statistics, policy, value) of brax; save params as make_policy takes them")
    arrays = dict(_leaves(value[1], "", name, 0))
    is_tanh, other = min(
        ((kind == _TANH, [key for key in arrays if not re.fullmatch(kind, key)]) for kind in (_TANH, _NORMAL)),
        key=lambda one: len(one[1]),
    )
    if other:
        raise LilliputError(f"{name} has {listed(other)} in its policy, which is no chain of brax's; {_WAY_OUT}")
    activation = source.options.activation_layers(
        name, "swish, which is silu, by default in brax's PPO and MuJoCo Playground; relu in brax's SAC"
    )
    chain = _chain(arrays, activation, name, final=not is_tanh)
    if is_tanh:
        chain = _first_half(chain, name)
        said = "its outputs are taken for means and spreads, and the action for the tanh of the means, as in brax"
    else:
        chain.append(_dense(arrays, "params.Dense_0", name))
        said = "the mean is taken as it is, without brax's mean_clip_scale, which is in no file"
    inputs = next(layer for layer in chain if isinstance(layer, layers.Dense)).weight.shape[1]
    front, guesses = _normalizer(state_of(value[0]) or {}, inputs, source)
    provenance = Provenance(framework=FRAMEWORK, algorithm="" if is_tanh else "PPO", guesses=(said, *guesses))
    stack = [*front, *chain]
    if is_tanh:
        return vector_policy([*stack, layers.SquashAction()], "continuous", source, provenance, within=(-1.0, 1.0))
    unbounded = "brax leaves the bounds of a normal distribution's action to the environment: taken as it is"
    return vector_policy(stack, "continuous", source, provenance, unbounded=unbounded)


def _leaves(value: Any, path: str, name: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of nested dicts by the keys on the way to them, with dots between."""
    if depth > MAX_DEPTH:
        raise LilliputError(f"{name} has dicts in dicts, more than {MAX_DEPTH}; no network of brax has")
    if is_call(value, _FROZEN) and isinstance(value.args, tuple) and value.args:
        value = value.args[0]
    inner = string_keys(value)
    if inner is None:
        yield path, _array(value, name)
        return
    for key, item in inner.items():
        yield from _leaves(item, f"{path}.{key}".lstrip("."), name, depth + 1)


def _array(value: Any, name: str) -> np.ndarray:
    """An array of numpy's, or of JAX's, which pickles as one of numpy's with its call spelled out."""
    if is_call(value, _JAX_ARRAY) and isinstance(value.args, tuple) and len(value.args) == 4:
        maker, arguments, state, _ = value.args
        value = InertCall(maker, arguments, state)
    return array_of(value, f"a part of {name}")


def _dense(arrays: dict[str, np.ndarray], prefix: str, name: str) -> layers.Dense:
    """The Dense module of flax: its kernel is (inputs, outputs)."""
    kernel, bias = arrays.get(f"{prefix}.kernel"), arrays.get(f"{prefix}.bias")
    if kernel is None or kernel.ndim != 2:
        raise LilliputError(f"{name} has no matrix {prefix}.kernel, which its network needs; save it again")
    state = {"weight": kernel.T} | ({} if bias is None else {"bias": bias})
    return network.dense({f"{prefix}.{key}": array for key, array in state.items()}, prefix, name)


def _chain(arrays: dict[str, np.ndarray], activation: tuple[Layer, ...], name: str, *, final: bool) -> list[Layer]:
    """The Dense layers of brax's MLP, behind each the activation and, where the file has one, a layer norm; behind the
    last too if `final`.
    """
    prefix = "params.MLP_0." if final else "params."
    count = len({key.split(".")[-2] for key in arrays if key.startswith(f"{prefix}hidden_")})
    norms = len({key.split(".")[-2] for key in arrays if "LayerNorm_" in key})
    behind = count if final else count - 1
    if not count or norms not in (0, behind):
        raise LilliputError(f"{name} has {count} Dense layers and {norms} norms: no chain of brax's; {_WAY_OUT}")
    found: list[Layer] = []
    for index in range(count):
        found.append(_dense(arrays, f"{prefix}hidden_{index}", name))
        if index < behind:
            found += activation
            if norms:
                parts = (arrays.get(f"{prefix}LayerNorm_{index}.{part}") for part in ("scale", "bias"))
                weight, bias = (np.asarray(0 if part is None else part, np.float32) for part in parts)
                found.append(layers.LayerNorm(weight, bias, LAYER_NORM_EPSILON))
    return found


def _first_half(chain: list[Layer], name: str) -> list[Layer]:
    """The chain whose last layer gives the means alone."""
    n, last = n_outputs(chain), chain[-1]
    if n % 2 or not isinstance(last, layers.Dense):
        raise LilliputError(f"{name} ends in {n} outputs, which are no means and spreads as in brax; {_WAY_OUT}")
    half = n // 2
    return [*chain[:-1], layers.Dense(last.weight[:half], None if last.bias is None else last.bias[:half])]


def _normalizer(statistics: dict[str, Any], size: int, source: Source) -> tuple[list[Layer], tuple[str, ...]]:
    """(x - mean) / std of what the policy sees, and what of it is a guess."""
    name, guesses = source.name, []
    if source.options.normalizer:  # other ones, or none
        return [], ()
    parts = [dict(_leaves(statistics.get(key), "", name, 0)) for key in ("mean", "std")]
    if set(parts[0]) != set(parts[1]) or not parts[0]:
        raise LilliputError(f"{name} has a mean and a std of different things; save it again")
    key = ""
    if set(parts[0]) != {""}:
        key = POLICY_KEY
        if key not in parts[0]:
            raise LilliputError(
                f"{name} has statistics of {listed(parts[0])}, none of them of {key!r}, which brax's policies see by "
                f"default; {_WAY_OUT}"
            )
        others = listed(one for one in parts[0] if one != key)
        guesses.append(f"the policy is taken to see {key!r}, as by default in brax{others and f', not {others}'}")
    mean, std = (np.asarray(part[key], np.float64).reshape(-1) for part in parts)
    if not mean.size == std.size == size or not (std > 0).all():
        raise LilliputError(
            f"{name} has statistics of {mean.size} numbers for a network of {size}, or spreads of 0; {_WAY_OUT}"
        )
    if not mean.any() and (std == 1).all():
        return [], (*guesses, "its statistics never saw an observation: the observation is taken as it is")
    guesses.append(
        "whether the run normalized observations (normalize_observations) is not in the file, which has statistics "
        "either way: taken as normalized; --no-normalizer if it did not"
    )
    return [network.standardize(mean, 1 / std, np.inf)], tuple(guesses)
