"""rl_games' and skrl's checkpoints, as Isaac Lab writes them: statistics inside, activation and bounds to be said."""

import itertools
import re
from functools import partial
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network, recurrent
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import unit_policy, vector_policy
from lilliput.policies.load.layout import WAY_OUT, Layout, linear, numbered
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

CLIP = 5.0
"""Of both normalizers; it is in no file."""

_NETWORK = "a2c_network"
_STATISTICS = ("running_mean_std.running_mean", "running_mean_std.running_var")


def _rl_games(head: str, keys: tuple[str, ...], memory: str, saved: Saved, source: Source) -> Policy | Checkpoint:
    """rl_games' player: clip((x - mean) / sqrt(var + 1e-5), -5, 5), and the action clipped to [-1, 1] and rescaled."""
    state, name = saved.arrays, saved.name
    activation = source.options.activation_layers(name, "elu in most configurations; mlp: activation says it")
    mlp, _ = network.sequential(state, f"{_NETWORK}.actor_mlp", activation, name)
    last = network.dense(state, f"{_NETWORK}.{head}", name)
    stack: list[Layer] = [*(_remembering(mlp, last, memory, saved) if memory else mlp), last]
    guesses: list[str] = []
    if keys:
        mean, var = (network.double(state, key, name) for key in keys)
        stack = [network.standardize(mean, 1 / np.sqrt(var + 1e-5), CLIP), *stack]
        guesses.append("the normalizer's epsilon and clip are not in the file: 1e-5 and 5, as in rl_games")
    if memory:
        guesses.append("the memory begins with zeros, as in rl_games")
    said = Provenance(framework="rl_games", algorithm="PPO", guesses=tuple(guesses))
    if head == "logits":
        return vector_policy(stack, "discrete", source, said)
    policy = unit_policy(stack, source, said)
    spread = f"{_NETWORK}.sigma"
    return with_std(policy, state, spread, moved=True) if spread in state else policy  # else one by state


def _remembering(mlp: list[Layer], last: layers.Dense, memory: str, saved: Saved) -> list[Layer]:
    """The hidden layers with the LSTM or GRU behind them, or in front of them (before_mlp), which their sizes tell.

    Raises:
        LilliputError: they tell both, or neither (concat_input, concat_output).
    """
    state, name = saved.arrays, saved.name
    levels = recurrent.levels(state, f"{_NETWORK}.{memory}.rnn", name)
    norm = f"{_NETWORK}.{memory.removesuffix('rnn')}layer_norm"
    behind = list[Layer](levels)
    if f"{norm}.weight" in state:
        weight, bias = (network.array(state, f"{norm}.{part}", name) for part in ("weight", "bias"))
        behind.append(layers.LayerNorm(weight, bias))
    dense = [one for one in mlp if isinstance(one, layers.Dense)]
    takes, gives = levels[0].input.weight.shape[1], levels[-1].recurrent.weight.shape[1]
    ends, head = (dense[0].weight.shape[1], dense[-1].weight.shape[0]), last.weight.shape[1]
    after, before = (takes, head) == (ends[1], gives), (gives, head) == ends
    if after == before:
        raise LilliputError(
            f"{name}: its memory takes {takes} numbers and gives {gives}, its MLP takes {ends[0]} and gives {ends[1]}, "
            f"and {head} of them make the action: which comes first (before_mlp), or what is joined (concat_input, "
            f"concat_output), is not in the file; {WAY_OUT}"
        )
    return [*mlp, *behind] if after else [*behind, *mlp]


def _skrl(prefix: str, normalizer: str, spread: bool, saved: Saved, source: Source) -> Policy | Checkpoint:
    """Skrl's models: clip((x - mean) / (sqrt(var) + 1e-8), -5, 5), then the network.

    A model with a `spread` is Gaussian; one without is deterministic or categorical, which no key tells.
    """
    state, name, told = saved.arrays, saved.name, "the run's configuration says it"
    if spread:
        activation = source.options.activation_layers(name, told)
        action = source.options.take("action") or "continuous"
    else:
        activation, action = source.options.hidden_and_action(name, told)
    if f"{prefix}policy_layer.weight" in state:
        found, _ = network.sequential(state, f"{prefix}net_container", activation, name)
        stack: list[Layer] = [*found, network.dense(state, f"{prefix}policy_layer", name)]
    else:
        stack = network.closed(state, f"{prefix}net_container", activation, name)
    guesses: list[str] = []
    if normalizer:
        mean, var = (network.double(state, f"{normalizer}.{key}", name) for key in ("running_mean", "running_variance"))
        stack = [network.standardize(mean, 1 / (np.sqrt(var) + 1e-8), CLIP), *stack]
        guesses.append("the normalizer's epsilon and clip are not in the file: 1e-8 and 5, as by default in skrl")
    said = Provenance(framework="skrl", algorithm="PPO" if spread else "", guesses=tuple(guesses))
    unbounded = "skrl clips no action by default: taken as it is" if action == "continuous" else ""
    policy = vector_policy(stack, action, source, said, unbounded=unbounded)
    return with_std(policy, state, f"{prefix}log_std_parameter") if spread else policy


def _rl_games_layouts() -> list[Layout]:
    learner = (
        *linear(f"{_NETWORK}.value"),
        *numbered(f"{_NETWORK}.critic_mlp"),
        r"value_mean_std\..*",
        r"running_mean_std\.count",
    )
    mean, spread = linear(f"{_NETWORK}.mu"), rf"{_NETWORK}\.sigma"
    heads = {
        "mu": (*mean, spread),
        "mu, sigma by state": (*mean, *linear(f"{_NETWORK}.sigma")),
        "logits": linear(f"{_NETWORK}.logits"),
    }
    real = "its mu_activation: none, its clip_actions: on, both by default"
    memories = [("", False), *itertools.product(("rnn", "a_rnn"), (False, True))]
    found: list[Layout] = []
    for (head, own), statistics, (memory, norm) in itertools.product(heads.items(), ((), _STATISTICS), memories):
        remembers = recurrent.keys(f"{_NETWORK}.{memory}.rnn") if memory else ()
        normed = linear(f"{_NETWORK}.{memory.removesuffix('rnn')}layer_norm") if norm else ()
        keys = (*numbered(f"{_NETWORK}.actor_mlp"), *own, *map(re.escape, statistics), *remembers, *normed)
        others = (rf"{_NETWORK}\.c_(?:rnn|layer_norm)\..*",) if memory == "a_rnn" else ()
        parts = (head, memory, "layer_norm" if norm else "", "with statistics" if statistics else "")
        what = f"rl_games' PPO ({', '.join(part for part in parts if part)})"
        output = head.partition(",")[0]
        read = partial(_rl_games, output, statistics, memory)
        behind = real if output == "mu" else ""
        found.append(Layout(what, keys, read, (*learner, *others), behind=behind, layer_norms=norm))
    return found


def _skrl_layouts() -> list[Layout]:
    """With a last layer of its own where actor and critic share the others; the policy alone, or with statistics."""
    found: list[Layout] = []
    statistics_of = ("", "state_preprocessor", "observation_preprocessor")
    kinds = (("Gaussian", "policy"), ("deterministic or categorical", "policy"), ("Q", "q_network"))
    for normalizer, shared, (kind, member) in itertools.product(statistics_of, (False, True), kinds):
        if kind == "Q" and (shared or not normalizer):  # alone in a file it has no name in front
            continue
        prefix = f"{member}." if normalizer else ""
        spread = (rf"{prefix}log_std_parameter",) if kind == "Gaussian" else ()
        last = linear(f"{prefix}policy_layer") if shared else ()
        statistics = tuple(rf"{normalizer}\.{key}" for key in ("running_mean", "running_variance") if normalizer)
        learner = (rf"{normalizer}\.current_count", *(linear(f"{prefix}value_layer") if shared else ()))
        if normalizer == "observation_preprocessor":  # then the other one is the critic's
            learner = (*learner, r"state_preprocessor\..*")
        what = f"skrl's {'shared ' if shared else ''}{kind} model{f' with {normalizer}' if normalizer else ''}"
        keys = (*numbered(f"{prefix}net_container"), *spread, *last, *statistics)
        read = partial(_skrl, prefix, normalizer, bool(spread))
        found.append(Layout(what, keys, read, learner, behind="its output: ACTIONS"))
    return found


LAYOUTS: Final = (*_rl_games_layouts(), *_skrl_layouts())
