"""State dicts of CleanRL's scripts: continuous and discrete PPO, DQN, their Atari variants, SAC, TD3 and DDPG.

What the scripts fix (activations, images) is noted as a guess; the observation statistics of PPO's continuous script
are in no file. A network named `actor` or `network` may be anybody's: it is CleanRL's where the file or its folder is
named as the scripts do, or where its layers have the very sizes that the script gives them.
"""

import dataclasses
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.actor import UNBOUNDED, atari_policy, convention, n_outputs, vector_policy
from lilliput.policies.load.layout import Layout, linear, numbered
from lilliput.policies.load.network import State
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "cleanrl"
DQN_UNITS, PPO_UNITS = (120, 84), (64, 64)
"""The hidden layers of CleanRL's dqn.py and ppo_continuous_action.py."""

_STATISTICS = (
    "observation statistics are not in the file: give them as normalizer=, if the script normalized observations"
)
_ATARI = "the observation is taken to be an Atari game's, prepared as CleanRL does: four frames of 84 x 84, over 255"


def trained_on(folder: str) -> str:
    """The environment that the folder of a run names, "Env__script__seed__time"; "" where it is none."""
    parts = folder.split("__")
    return parts[0] if len(parts) == 4 else ""


def is_cleanrl(source: Source) -> bool:
    """Whether the file or its folder is named as CleanRL's scripts name them."""
    return source.name.strip("'\"").endswith(".cleanrl_model") or bool(trained_on(source.folder.name))


def _ppo_continuous(saved: Saved, source: Source) -> Policy:
    if is_cleanrl(source) or _hidden(saved.arrays, "actor_mean") == PPO_UNITS:
        activation, guess = (layers.Tanh(),), (_activation("Tanh"),)
    else:
        activation, guess = (
            source.answers.activation_layers(saved.name, "tanh in CleanRL's ppo_continuous_action.py"),
            (),
        )
    stack = network.closed(saved.arrays, "actor_mean", activation, saved.name)
    space, origin = source.answers.action_space(n_outputs(stack), saved.name, trained_on(source.folder.name))
    said = Provenance(
        framework=FRAMEWORK,
        algorithm="PPO",
        guesses=(*guess, _STATISTICS, UNBOUNDED, origin),
        action_std=network.action_std(saved.arrays, "actor_logstd", space),
    )
    return Policy(_vector(stack), space, (*stack, *network.clip_head(space)), said)


def _actor_critic(saved: Saved, source: Source) -> Policy:
    """Of CleanRL's discrete PPO where the names say so; else what PPO-PyTorch and many own programs write as well."""
    if is_cleanrl(source):
        stack = network.closed(saved.arrays, "actor", (layers.Tanh(),), saved.name)
        choice = "the action is taken to be one choice (Discrete)"
        said = Provenance(framework=FRAMEWORK, algorithm="PPO", guesses=(_activation("Tanh"), choice))
        return vector_policy(stack, "discrete", source, said)
    activation, action = source.answers.hidden_and_action(saved.name, "tanh in CleanRL's and PPO-PyTorch's programs")
    stack = network.closed(saved.arrays, "actor", activation, saved.name)
    said = Provenance(framework="torch", algorithm="actor-critic", guesses=("its last layer is Linear",))
    return vector_policy(stack, action, source, said)


def _dqn(saved: Saved, source: Source) -> Policy:
    state = saved.arrays
    if is_cleanrl(source) or _hidden(state, "network") == DQN_UNITS:
        stack = network.closed(state, "network", (layers.Relu(),), saved.name)
        return vector_policy(
            stack, "discrete", source, Provenance(framework=FRAMEWORK, algorithm="DQN", guesses=(_activation("ReLU"),))
        )
    activation, action = source.answers.hidden_and_action(saved.name, "relu in CleanRL's dqn.py")
    stack = network.closed(state, "network", activation, saved.name)
    return vector_policy(stack, action, source, Provenance(framework="torch"))


def _ppo_atari(saved: Saved, _: Source) -> Policy:
    state, name = saved.arrays, saved.name
    rest = [network.dense(state, "network.7", name), layers.Relu(), network.dense(state, "actor", name)]
    return _atari([*_convolutions(state, name), *rest], "PPO", name)


def _dqn_atari(saved: Saved, _: Source) -> Policy:
    state, name = saved.arrays, saved.name
    rest = [network.dense(state, "network.7", name), layers.Relu(), network.dense(state, "network.9", name)]
    return _atari([*_convolutions(state, name), *rest], "DQN", name)


def _atari(stack: list[Layer], algorithm: str, name: str) -> Policy:
    guesses = (_activation("ReLU"), _ATARI)
    return atari_policy(stack, name, Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=guesses))


def _sac(saved: Saved, source: Source) -> Policy:
    return _squashed(saved, source, "fc_mean", "SAC")


def _td3(saved: Saved, source: Source) -> Policy:
    return _squashed(saved, source, "fc_mu", "TD3 or DDPG")


def _squashed(saved: Saved, _: Source, last: str, algorithm: str) -> Policy:
    """The policy tanh(mean) * action_scale + action_bias."""
    state, name = saved.arrays, saved.name
    scale, offset = (_row(state, key, name) for key in ("action_scale", "action_bias"))
    if (scale <= 0).any():
        raise LilliputError(f"{name}: action_scale is not positive; it must be half the range of each action")
    stack: list[Layer] = []
    for key in ("fc1", "fc2"):
        stack += [network.dense(state, key, name), layers.Relu()]
    stack += [network.dense(state, last, name), layers.SquashAction(), *network.rescale_head(scale, offset, name)]
    n_actions = n_outputs(stack)
    if scale.size not in (1, n_actions) or offset.size not in (1, n_actions):
        raise LilliputError(f"{name}: {scale.size} action scales for {n_actions} actions; they must agree")
    low, high = (np.broadcast_to(bound, (n_actions,)) for bound in (offset - scale, offset + scale))
    action_space = spaces.Box((n_actions,), low, high)
    provenance = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=(_activation("ReLU"), UNBOUNDED))
    policy = Policy(_vector(stack), action_space, tuple(stack), provenance)
    return dataclasses.replace(policy, critic=_critic(saved, policy))


def _critic(saved: Saved, policy: Policy) -> tuple[Layer, ...]:
    """The first that stands behind the actor and judges actions: fc1, fc2, fc3 on observation and action; or none."""
    assert isinstance(policy.action_space, spaces.Box)
    n_inputs = spaces.input_shape(policy.observation_space)[0] + policy.action_space.size
    try:
        first, second, last = (network.dense(saved.arrays, f"[1].{part}", saved.name) for part in ("fc1", "fc2", "fc3"))
    except LilliputError:
        return ()
    return network.intact((first, layers.Relu(), second, layers.Relu(), last), n_inputs)


def _hidden(state: State, prefix: str) -> tuple[int, ...]:
    """The outputs of a Sequential's layers but the last, where an activation stands between each two."""
    weights = {key: array for key, array in state.items() if key.startswith(f"{prefix}.") and key.endswith(".weight")}
    plain = list(weights) == [f"{prefix}.{2 * index}.weight" for index in range(len(weights))]
    return tuple(array.shape[0] for array in list(weights.values())[:-1]) if plain else ()


def _activation(kind: str) -> str:
    return convention("the hidden activation", kind, "CleanRL's script")


def _row(state: State, key: str, name: str) -> np.ndarray:
    """A buffer of action bounds; a vectorized environment gave it one row for each copy."""
    values = network.array(state, key, name)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    if not rows.size or (rows != rows[0]).any():
        raise LilliputError(
            f"{name}: {key} has the shape {list(values.shape)} and differs by row; it must be one number an action"
        )
    return rows[0]


def _convolutions(state: State, name: str) -> list[Layer]:
    return [
        network.scale_image(),
        *network.nature_convolutions(state, [f"network.{index}" for index in (0, 2, 4)], name),
    ]


def _vector(stack: list[Layer]) -> spaces.Box:
    first = stack[0]
    size = first.weight.shape[1] if isinstance(first, layers.Dense) else 0
    return spaces.Box((size,), np.asarray(-np.inf), np.asarray(np.inf))


_CRITICS = tuple(rf"\[\d\]\.{key}" for key in linear("fc1", "fc2", "fc3"))
_BOUNDS = ("action_scale", "action_bias")

LAYOUTS: Final = (
    Layout("CleanRL's continuous PPO", (*numbered("actor_mean"), "actor_logstd"), _ppo_continuous, numbered("critic")),
    Layout(
        "CleanRL's Atari PPO",
        (*linear("network.0", "network.2", "network.4", "network.7", "actor"),),
        _ppo_atari,
        linear("critic"),
    ),
    Layout("CleanRL's Atari DQN", linear(*(f"network.{index}" for index in (0, 2, 4, 7, 9))), _dqn_atari),
    Layout("CleanRL's DQN", numbered("network"), _dqn),
    Layout("an actor-critic (actor.*, critic.*)", numbered("actor"), _actor_critic, numbered("critic")),
    Layout("CleanRL's SAC", (*linear("fc1", "fc2", "fc_mean", "fc_logstd"), *_BOUNDS), _sac, _CRITICS),
    Layout("CleanRL's TD3 or DDPG", (*linear("fc1", "fc2", "fc_mu"), *_BOUNDS), _td3, _CRITICS),
)
