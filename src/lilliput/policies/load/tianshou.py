"""tianshou's policies: their files hold neither the activation, nor `unbounded`, nor `max_action`, nor the scaling.

What the environment gets is the action clipped to [-1, 1] and moved to its bounds (`action_bound_method="clip"`,
`action_scaling=True`, both by default). A `tanh` inside a network is times max_action, which is in no file: told apart
only where the bounds are [-1, 1].
"""

import re
from functools import partial
from typing import Final, Literal

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import n_outputs, unit_policy, vector_policy
from lilliput.policies.load.layout import WAY_OUT, Layout, numbered
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

Head = Literal["mu", "sac", "last"]
"""A mean with a spread of its own, one with a spread by state (SAC), or the outputs alone (choices, DDPG, TD3)."""

_SCALED = "the action is clipped to [-1, 1] and moved to the bounds, as by default in tianshou"


def _read(prefix: str, head: Head, saved: Saved, source: Source) -> Policy | Checkpoint:
    state, name = saved.arrays, saved.name
    activation, action = source.options.hidden_and_action(name, "relu by tianshou's default")
    hidden, _ = network.sequential(state, f"{prefix}preprocess.model.model", activation, name)
    last = network.closed(state, f"{prefix}{'last' if head == 'last' else 'mu'}.model", activation, name)
    stack: list[Layer] = [*hidden, *last]
    guess = "the activation is taken to stand behind the last layer of preprocess too, as where it has no output_dim"
    algorithm = {"mu": "PPO", "sac": "SAC", "last": ""}[head]
    said = Provenance(framework="tianshou", algorithm=algorithm, guesses=(guess,))
    if (head == "last" and action == "continuous") or (head != "last" and action == "discrete"):
        raise LilliputError(f"{name}: an actor with {prefix}{head} gives no {action} action in tianshou; give another")
    if action == "continuous":
        policy = unit_policy(stack, source, said, _SCALED)
    else:
        policy = vector_policy(stack, action, source, said)
        if action == "tanh" and head != "sac":
            _check_unit(policy, n_outputs(stack), name)
    return with_std(policy, state, f"{prefix}sigma_param", moved=True) if head == "mu" else policy


def _check_unit(policy: Policy, n: int, name: str) -> None:
    space = policy.action_space
    assert isinstance(space, spaces.Box)
    if not (np.array_equal(space.low, -np.ones(n)) and np.array_equal(space.high, np.ones(n))):
        raise LilliputError(
            f"{name}: tianshou's tanh is times max_action, which is in no file, and the bounds are "
            f"{spaces.describe(space)} rather than [-1, 1]; {WAY_OUT}"
        )


def _layouts() -> list[Layout]:
    found: list[Layout] = []
    heads: dict[Head, tuple[str, ...]] = {"mu": ("mu",), "sac": ("mu", "sigma"), "last": ("last",)}
    for prefix in ("actor.", "policy.actor."):
        for head, parts in heads.items():
            keys = numbered(*(f"{prefix}{part}.model" for part in parts))
            if head == "mu":
                keys = (*keys, re.escape(f"{prefix}sigma_param"))
            found.append(
                Layout(
                    f"tianshou's {prefix}{head}",
                    (*numbered(f"{prefix}preprocess.model.model"), *keys),
                    partial(_read, prefix, head),
                    # Critics, old copies, and the actor again beside its critic.
                    (r"critic\w*\..*", r"(?:policy\.)?actor_old\..*", r"_actor_critic\..*"),
                )
            )
    return found


LAYOUTS: Final = tuple(_layouts())
