"""safe-control-gym's PPO as its controllers save it: the agent, statistics of observations, states of generators."""

from functools import partial
from typing import Final

import numpy as np

from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.layout import Layout, numbered
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Provenance

EPSILON, CLIP = 1e-8, 10.0
"""Of its MeanStdNormalizer, by default; in no file."""

_ACTOR: Final = "agent.ac.actor"
_STATISTICS: Final = ("obs_normalizer.mean", "obs_normalizer.var")
_BESIDE: Final = (r"agent\.ac\.critic\..*", r"obs", r"reward_normalizer\..*", r"(?:env_)?random_state\..*")


def _read(statistics: tuple[str, ...], saved: Saved, source: Source) -> Checkpoint:
    """clip((x - mean) / sqrt(var + 1e-8), -10, 10), then the mean of the actor's distribution."""
    state, name = saved.arrays, saved.name
    activation = source.options.activation_layers(name, "activation in its configuration says it; tanh in most")
    stack: list[Layer] = network.closed(state, f"{_ACTOR}.pi_net.fcs", activation, name)
    guesses: tuple[str, ...] = ()
    if statistics:
        mean, var = (network.double(state, key, name) for key in statistics)
        stack = [network.standardize(mean, 1 / np.sqrt(var + EPSILON), CLIP), *stack]
        guesses = ("the normalizer's epsilon and clip are not in the file: 1e-8 and 10, as by default there",)
    said = Provenance(framework="safe_control_gym", algorithm="PPO", guesses=guesses)
    action = source.options.take("action") or "continuous"
    unbounded = "safe-control-gym leaves the bounds of the action to the environment: taken as it is"
    policy = vector_policy(stack, action, source, said, unbounded=unbounded if action == "continuous" else "")
    return with_std(policy, state, f"{_ACTOR}.logstd")


LAYOUTS: Final = tuple(
    Layout(
        f"safe-control-gym's PPO{' with statistics' if statistics else ''}",
        (
            *numbered(f"{_ACTOR}.pi_net.fcs"),
            r"agent\.ac\.actor\.logstd",
            *(key.replace(".", r"\.") for key in statistics),
        ),
        partial(_read, statistics),
        _BESIDE,
        before="norm_obs of its configuration",
    )
    for statistics in ((), _STATISTICS)
)
"""Of real actions, with and without statistics; its choices have no spread, and are refused."""
