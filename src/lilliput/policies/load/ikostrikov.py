"""A2C and PPO of ikostrikov's pytorch-a2c-ppo-acktr-gail and its forks: a pickled list, [Policy, statistics]."""

from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import atari_policy, n_inputs, vector_policy
from lilliput.policies.load.inert_numpy import array_of
from lilliput.policies.load.inert_pickle import state_of
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.pickled_module import check_members, child, class_name, layers_of, sequential
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_file import Module
from lilliput.policies.load.vecnormalize import Normalizer, RunningStatistics, standardize
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "pytorch-a2c-ppo-acktr-gail"

_IMAGES = {"CNNBase": ("main", ("critic_linear",)), "ActorCriticCNN": ("actor", ("critic",))}
"""The classes of networks for images: which member the actor goes through, and what only the critic has."""

_ATARI = "the observation is taken to be an Atari game's, prepared as baselines does: four frames of 84 x 84, over 255"


def is_ikostrikov(module: Module) -> bool:
    """Whether the module is a policy of this program by its class and members."""
    return class_name(module) == "Policy" and module.children.keys() in ({"base", "dist"}, {"base", "dist_layer"})


def read_ikostrikov(module: Module, beside: tuple[Any, ...], source: Source) -> Policy | Checkpoint:
    """The deterministic policy; the statistics behind it in the list are those of vectors, images have none.

    Raises:
        LilliputError: a recurrent policy, or one of other classes or members than these.
    """
    name, base = source.name, child(module, "base", source.name)
    head = child(module, "dist" if "dist" in module.children else "dist_layer", name)
    if base.attributes.get("_recurrent") or "gru" in base.children:
        raise LilliputError(f"{name} is a recurrent policy (GRU); supported: policies without memory; or {WAY_OUT}")
    action, last = _head(head, name)
    if class_name(base) in _IMAGES and action == "discrete":
        through, others = _IMAGES[class_name(base)]
        check_members(base, {through, *others}, (), name)
        stack = [network.scale_image(), *sequential(child(base, through, name), name, flatten="Flatten"), *last]
        said = Provenance(framework=FRAMEWORK, algorithm="A2C, PPO or ACKTR", guesses=(_ATARI,))
        return atari_policy(stack, name, said)
    if class_name(base) == "MLPBase":
        check_members(base, {"actor", "critic", "critic_linear"}, (), name)
        stack = [*sequential(child(base, "actor", name), name), *last]
        said = Provenance(framework=FRAMEWORK, algorithm="A2C, PPO or ACKTR")
        policy = vector_policy([*_normalizer(beside, n_inputs(stack), name), *stack], action, source, said)
        if action == "discrete":
            return policy
        return with_std(policy, child(head, "logstd", name).arrays, "_bias")
    raise LilliputError(f"{name}: a base {base.kind[:60]!r} is not read; supported: CNNBase, MLPBase; or {WAY_OUT}")


def _head(module: Module, name: str) -> tuple[str, list[Layer]]:
    match class_name(module):
        case "Categorical":
            check_members(module, {"linear"}, (), name)
            return "discrete", layers_of(child(module, "linear", name), name)
        case "DiagGaussian":
            check_members(module, {"fc_mean", "logstd"}, (), name)
            return "continuous", layers_of(child(module, "fc_mean", name), name)
        case kind:
            raise LilliputError(f"{name}: a head {kind[:60]!r} is not read; supported: Categorical, DiagGaussian")


def _statistics(beside: tuple[Any, ...]) -> dict[str, Any] | None:
    found = [state for state in map(state_of, beside) if state and {"mean", "var"} <= state.keys()]
    return found[0] if found else None


def _normalizer(beside: tuple[Any, ...], n: int, name: str) -> list[Layer]:
    """The statistics as VecNormalize uses them: epsilon 1e-8, clip 10."""
    state = _statistics(beside)
    if state is None:
        if any(item is not None for item in beside):
            raise LilliputError(f"{name}: what follows the policy in its list is no running mean and variance")
        return []
    statistics = RunningStatistics(
        array_of(state["mean"], f"{name}: mean").astype(np.float64), array_of(state["var"], f"{name}: var")
    )
    layer = standardize(Normalizer(statistics), spaces.Box((n,), np.asarray(-np.inf), np.asarray(np.inf)), name)
    assert isinstance(layer, layers.Standardize)
    return [layer]
