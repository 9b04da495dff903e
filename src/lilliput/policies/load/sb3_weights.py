"""The state dict of a Stable-Baselines3 policy without its zip (`policy.pth` out of one, `model.policy.state_dict()`).

The zip says more: spaces, activation, squash. Here the options have to say what it would.
"""

from functools import partial
from typing import Final

from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.layout import Layout, linear, numbered
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

_ALONE: Final = "it is a policy's state dict without its zip, which says the spaces and the activation as well"


def _on_policy(std: bool, saved: Saved, source: Source) -> Policy | Checkpoint:
    """PPO, A2C, TRPO: the mean clipped to the bounds, or the largest logit."""
    state, name = saved.arrays, saved.name
    activation, action = source.options.hidden_and_action(name, "tanh by default of PPO and A2C; the zip says it")
    if std and action == "discrete":
        raise LilliputError(f"{name} has the spread of real actions (log_std); give another --action")
    hidden, _ = network.sequential(state, "mlp_extractor.policy_net", activation, name)
    said = Provenance(framework="torch", algorithm="PPO, A2C or TRPO", guesses=(_ALONE,))
    policy = vector_policy([*hidden, network.dense(state, "action_net", name)], action, source, said)
    return with_std(policy, state, "log_std") if std else policy


def _squashed(prefix: str, saved: Saved, source: Source) -> Policy:
    """SAC and TQC: tanh of the mean, moved to the bounds."""
    state, name = saved.arrays, saved.name
    activation = source.options.activation_layers(name, "relu by default of SAC and TQC; the zip says it")
    hidden, _ = network.sequential(state, f"{prefix}latent_pi", activation, name)
    said = Provenance(framework="torch", algorithm="SAC or TQC", guesses=(_ALONE,))
    stack = [*hidden, network.dense(state, f"{prefix}mu", name)]
    return vector_policy(stack, source.options.take("action") or "tanh", source, said)


def _deterministic(saved: Saved, source: Source) -> Policy:
    """TD3 and DDPG: tanh of the outputs, moved to the bounds."""
    activation = source.options.activation_layers(saved.name, "relu by default of TD3 and DDPG; the zip says it")
    stack = network.closed(saved.arrays, "actor.mu", activation, saved.name)
    said = Provenance(framework="torch", algorithm="TD3 or DDPG", guesses=(_ALONE,))
    return vector_policy(stack, source.options.take("action") or "tanh", source, said)


def _values(saved: Saved, source: Source) -> Policy:
    """DQN: the largest value."""
    activation = source.options.activation_layers(saved.name, "relu by default of DQN; the zip says it")
    stack = network.closed(saved.arrays, "q_net.q_net", activation, saved.name)
    said = Provenance(framework="torch", algorithm="DQN", guesses=(_ALONE,))
    return vector_policy(stack, source.options.take("action") or "discrete", source, said)


_CRITICS: Final = (r"critic(?:_target)?\..*",)
_ON_POLICY: Final = (*numbered("mlp_extractor.policy_net"), *linear("action_net"))
_VALUE: Final = (*numbered("mlp_extractor.value_net"), *linear("value_net"))

LAYOUTS: Final = (
    Layout("Stable-Baselines3's PPO without its zip", _ON_POLICY, partial(_on_policy, False), _VALUE),
    Layout(
        "Stable-Baselines3's PPO of real actions without its zip",
        (*_ON_POLICY, "log_std"),
        partial(_on_policy, True),
        _VALUE,
    ),
    *(
        Layout(
            f"Stable-Baselines3's SAC{' policy' if prefix else ' actor'} without its zip",
            (*numbered(f"{prefix}latent_pi"), *linear(f"{prefix}mu", f"{prefix}log_std")),
            partial(_squashed, prefix),
            _CRITICS,
        )
        for prefix in ("", "actor.")
    ),
    Layout(
        "Stable-Baselines3's TD3 without its zip",
        numbered("actor.mu"),
        _deterministic,
        (r"actor_target\..*", *_CRITICS),
    ),
    Layout("Stable-Baselines3's DQN without its zip", numbered("q_net.q_net"), _values, (r"q_net_target\..*",)),
)
