"""Spinning Up's `model.pt`: a pickled MLPActorCritic of DDPG, TD3, SAC, PPO, TRPO or VPG."""

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import UNBOUNDED, n_inputs, n_outputs, vector_policy
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.pickled_module import check_members, child, class_name, layers_of, sequential
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_file import Module
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "spinningup"
_CRITICS = {"q", "q1", "q2", "v"}


def is_spinning_up(module: Module) -> bool:
    """Whether the module is an actor-critic by its class and members."""
    return (
        class_name(module) == "MLPActorCritic"
        and not module.arrays
        and {"pi"} < module.children.keys() <= {"pi", *_CRITICS}
    )


def read_spinning_up(module: Module, source: Source) -> Policy | Checkpoint:
    """The deterministic policy: activations, network and the limit of the action are in the file.

    Raises:
        LilliputError: an actor of another class or with other members; no bounds for a Gaussian one.
    """
    name, actor = source.name, child(module, "pi", source.name)
    match class_name(actor):
        case "MLPActor":
            check_members(actor, {"pi"}, (), name)
            *stack, last = sequential(child(actor, "pi", name), name)
            if not isinstance(last, layers.Tanh):
                raise LilliputError(f"{name}: the actor does not end in Tanh, as Spinning Up's does; {WAY_OUT}")
            return _squashed(stack, actor, "TD3" if "q1" in module.children else "DDPG", name)
        case "SquashedGaussianMLPActor":
            check_members(actor, {"net", "mu_layer", "log_std_layer"}, (), name)
            stack = [*sequential(child(actor, "net", name), name), *layers_of(child(actor, "mu_layer", name), name)]
            return _squashed(stack, actor, "SAC", name)
        case "MLPGaussianActor":
            check_members(actor, {"mu_net"}, {"log_std"}, name)
            stack = _linear(sequential(child(actor, "mu_net", name), name), name)
            policy = vector_policy(stack, "continuous", source, _said("PPO, TRPO or VPG"))
            return with_std(policy, actor.arrays, "log_std")
        case "MLPCategoricalActor":
            check_members(actor, {"logits_net"}, (), name)
            stack = _linear(sequential(child(actor, "logits_net", name), name), name)
            return vector_policy(stack, "discrete", source, _said("PPO, TRPO or VPG"))
        case kind:
            raise LilliputError(f"{name}: an actor of the class {kind[:60]!r} is none of Spinning Up's; {WAY_OUT}")


def _said(algorithm: str) -> Provenance:
    return Provenance(framework=FRAMEWORK, algorithm=algorithm)


def _linear(stack: list[Layer], name: str) -> list[Layer]:
    if not isinstance(stack[-1], layers.Dense):
        raise LilliputError(f"{name}: the actor does not end in Linear, as Spinning Up's does; {WAY_OUT}")
    return stack


def _squashed(stack: list[Layer], actor: Module, algorithm: str, name: str) -> Policy:
    """The policy tanh(outputs) * act_limit."""
    limit = actor.attributes.get("act_limit")
    size = np.nan
    if isinstance(limit, np.ndarray | float | int) and not isinstance(limit, bool) and np.size(limit) == 1:
        size = float(limit)
    if not 0 < size < np.inf:
        raise LilliputError(f"{name}: act_limit is {limit!r:.60}; it must be one number above 0")
    scale = np.asarray(size)
    n = n_outputs(_linear(stack, name))
    said = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=(UNBOUNDED,))
    return Policy(
        spaces.Box((n_inputs(stack),), np.asarray(-np.inf), np.asarray(np.inf)),
        spaces.Box((n,), np.asarray(-scale), scale),
        (*stack, layers.SquashAction(), *network.rescale_head(scale, np.zeros(()), name)),
        said,
    )
