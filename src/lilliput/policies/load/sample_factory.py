"""Sample Factory's checkpoints of vector observations: statistics inside, the rest in `config.json` one folder up."""

import itertools
import json
import re
from functools import partial
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network, recurrent
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.layout import WAY_OUT, Layout, linear, numbered
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import BY_OPTION
from lilliput.policies.policy import Policy, Provenance

EPSILON, CLIP = 1e-5, 5.0
"""Of its running statistics; in no file."""
MAX_CONFIG_BYTES: Final = 1 << 20

_STATISTICS: Final = "obs_normalizer.running_mean_std.running_mean_std.obs"
_HEAD: Final = "action_parameterization"
_PLAIN: Final[dict[str, float]] = {"obs_subtract_mean": 0.0, "obs_scale": 1.0, "continuous_tanh_scale": 0.0}
"""Settings that show in no weight, and the values that do nothing."""


def _read(
    prefix: str, statistics: bool, memory: bool, decoder: bool, std: bool, saved: Saved, source: Source
) -> Policy | Checkpoint:
    """clip((x - mean) / sqrt(var + 1e-5), -5, 5), encoder, memory, decoder, and the largest logit or the mean."""
    state, name = saved.arrays, saved.name
    config = _config(source)
    if odd := [key for key, value in _PLAIN.items() if config.get(key, value) != value]:
        raise LilliputError(f"{name}: config.json says that {odd[0]} is {config[odd[0]]!r:.40}; {WAY_OUT}")
    activation, guesses = _activation(config, source)
    stack: list[Layer] = []
    if statistics:
        mean, var = (network.double(state, f"{_STATISTICS}.{key}", name) for key in ("running_mean", "running_var"))
        stack.append(network.standardize(mean, 1 / np.sqrt(var + EPSILON), CLIP))
        guesses.append("the normalizer's epsilon and clip are not in the file: 1e-5 and 5, as in Sample Factory")
    stack += network.sequential(state, f"{prefix}encoder.encoders.obs.mlp_head", activation, name)[0]
    if memory:
        stack += recurrent.levels(state, f"{prefix}core.core", name)
        guesses.append("the memory begins with zeros, as in Sample Factory")
    if decoder:
        stack += network.sequential(state, f"{prefix}decoder.mlp", activation, name)[0]
    last = network.dense(state, f"{_HEAD}.distribution_linear", name)
    action = (source.options.take("action") or "continuous") if std else source.options.kind_of_action(name)
    if action == "tanh" or (std and action == "discrete"):
        raise LilliputError(f"{name}: Sample Factory gives no {action} action here; give another --action")
    if action == "continuous" and not std:
        last = _means(last, name)
        guesses.append("the first half of its outputs are the means of actions, the others their spreads")
    if not config:
        missing = ", ".join(_PLAIN)
        guesses.append(f"there is no config.json one folder up: {missing} are taken as by default, which is nothing")
    said = Provenance(framework="sample_factory", algorithm="APPO", guesses=tuple(guesses))
    unbounded = "Sample Factory leaves the bounds of the action to the environment: taken as it is"
    policy = vector_policy([*stack, last], action, source, said, unbounded=unbounded if action == "continuous" else "")
    return with_std(policy, state, f"{_HEAD}.learned_stddev") if std else policy


def _means(last: layers.Dense, name: str) -> layers.Dense:
    """The rows of a layer that give the means of real actions whose spreads it gives too (adaptive_stddev)."""
    half, odd = divmod(len(last.weight), 2)
    if odd:
        raise LilliputError(f"{name} gives {len(last.weight)} numbers, which are no means and spreads of real actions")
    return layers.Dense(last.weight[:half], None if last.bias is None else last.bias[:half])


def _config(source: Source) -> dict[str, Any]:
    """The settings of the run; empty where they do not stand beside the checkpoint's folder, or in it.

    Raises:
        LilliputError: they cannot be read.
    """
    for path in (source.folder.parent / "config.json", source.folder / "config.json"):
        try:
            if not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
                continue
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            raise LilliputError(f"{source.name}: config.json beside it is no readable JSON") from None
        # That it is of this program: any run may leave a config.json.
        if isinstance(found, dict) and "nonlinearity" in found and "encoder_mlp_layers" in found:
            return found
    return {}


def _activation(config: dict[str, Any], source: Source) -> tuple[tuple[Layer, ...], list[str]]:
    told = config.get("nonlinearity")
    if source.options.activation is None and isinstance(told, str):
        if told not in BY_OPTION:
            raise LilliputError(f"{source.name}: config.json says that nonlinearity is {told[:40]!r}; {WAY_OUT}")
        return BY_OPTION[told], [f"the hidden activation is {told}, as config.json one folder up says"]
    return source.options.activation_layers(source.name, "elu by default, config.json of its run says it"), []


def _layouts() -> list[Layout]:
    found: list[Layout] = []
    statistic = re.escape(f"{_STATISTICS}.")
    switches = (("", "actor_"), (True, False), (False, True), (False, True), (False, True))
    for prefix, statistics, memory, decoder, std in itertools.product(*switches):
        assert isinstance(prefix, str)
        keys = (
            *numbered(f"{prefix}encoder.encoders.obs.mlp_head"),
            *linear(f"{_HEAD}.distribution_linear"),
            *((f"{statistic}running_mean", f"{statistic}running_var") if statistics else ()),
            *(recurrent.keys(f"{prefix}core.core") if memory else ()),
            *(numbered(f"{prefix}decoder.mlp") if decoder else ()),
            *((rf"{_HEAD}\.learned_stddev",) if std else ()),
        )
        learner = (r"critic_\w+\..*", r"returns_normalizer\..*", f"{statistic}count")
        read = partial(_read, prefix, bool(statistics), bool(memory), bool(decoder), bool(std))
        parts = {
            "two networks": prefix, "statistics": statistics, "a memory": memory, "a decoder": decoder,
            "a spread of its own": std,
        }  # fmt: skip
        name = " and ".join(part for part, there in parts.items() if there)
        found.append(Layout(f"Sample Factory's model{f' with {name}' if name else ''}", keys, read, learner))
    return found


LAYOUTS: Final = tuple(_layouts())
"""With one network for actor and critic or two, with and without statistics, memory, decoder, spread of its own."""
