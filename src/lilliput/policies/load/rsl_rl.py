"""rsl_rl's `model_N.pt`, as Isaac Gym, Isaac Lab, mjlab and Unitree's programs write it: three layouts by version.

The activation is in no file of weights: it stands in Isaac Lab's `params/agent.yaml` beside it, or has to be said. The
observation is (x - mean) / (std + 0.01) where statistics are in the file. The action is the network's output: scale,
offset and clip are the environment's.
"""

import re
from functools import partial
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.load import network, recurrent
from lilliput.policies.load.action_spread import check_std
from lilliput.policies.load.actor import UNBOUNDED, n_inputs, n_outputs, vector_policy
from lilliput.policies.load.layout import WAY_OUT, Layout, numbered
from lilliput.policies.load.network import State
from lilliput.policies.load.run_settings import agent_settings
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import BY_OPTION
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "rsl_rl"
EPSILON = 0.01
"""Of EmpiricalNormalization; it is in no file."""

_NAMES = {"lrelu": "leaky_relu", "swish": "silu", "identity": "none"}
"""rsl_rl's names of activations, where they differ from ours."""

_ENVIRONMENTS = "scale, offset and clip of the action are the environment's and not in the file: taken as it is"
_LAST = "its last_activation: none by default"
_BETA = "BetaDistribution"
_EITHER = (
    "may be a Beta distribution's or two numbers an action of a state-dependent Gaussian, which the file does not tell"
)
_STATISTICS = ("_mean", "_var", "_std", "count")


def _read(actor: str, normalizer: str, memory: str, saved: Saved, source: Source) -> Policy | Checkpoint:
    state, name = saved.arrays, saved.name
    stack, guesses = _network(actor, normalizer, memory, saved, source)
    said = Provenance(framework=FRAMEWORK, algorithm="PPO", guesses=guesses)
    action = source.options.take("action") or "continuous"
    if action == "discrete":
        raise LilliputError(f"{name} has the spread of real actions; give another --action")
    policy = vector_policy(stack, action, source, said, unbounded=_ENVIRONMENTS if action == "continuous" else "")
    if action == "tanh":  # the spread is that of its argument
        return policy
    return Checkpoint(policy, Learner(action_std=_spread(policy, state)))


def _network(
    actor: str, normalizer: str, memory: str, saved: Saved, source: Source
) -> tuple[list[Layer], tuple[str, ...]]:
    """The layers up to the last Linear one, and what of them was not in the file."""
    state, name = saved.arrays, saved.name
    activation, guesses = _activation(source)
    stack: list[Layer] = network.closed(state, actor, activation, name)
    if memory:
        stack = [*recurrent.levels(state, memory, name), *stack]
    if not normalizer:
        return stack, guesses
    mean, std = (network.array(state, f"{normalizer}.{key}", name).reshape(-1) for key in ("_mean", "_std"))
    known = f"{EPSILON} and none, as in rsl_rl"
    return (
        [network.standardize(mean, 1 / (std.astype(np.float64) + EPSILON), np.inf), *stack],
        (*guesses, f"the normalizer's epsilon and clip are not in the file: {known}"),
    )


def _spread(policy: Policy, state: State) -> tuple[float, ...]:
    """The spread of the actions: std itself, or its logarithm; none where it is no number an action."""
    assert isinstance(policy.action_space, spaces.Box)
    (key,) = (key for key in state if re.fullmatch(rf"(?:\w+\.)*{_STD}", key))
    check_std(state, key, policy.action_space, FRAMEWORK)
    spread = state[key].astype(np.float64).reshape(-1)
    spread = np.exp(spread) if "log_std" in key else spread
    fits = spread.size == policy.action_space.size and bool((np.isfinite(spread) & (spread > 0)).all())
    return tuple(map(float, spread)) if fits else ()


def _activation(source: Source) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The activation that was given, or that of the run's params/agent.yaml, and a sentence that says so."""
    if source.options.activation is None:
        config = agent_settings(source)
        sections: list[Any] = [config.get(key) for key in ("actor", "student", "policy")]
        found = {
            str(section["activation"]) for section in sections if isinstance(section, dict) and "activation" in section
        }
        if len(found) == 1:
            name = _NAMES.get(text := found.pop(), text)
            if name not in BY_OPTION:
                raise LilliputError(f"params/agent.yaml: activation is {text[:40]!r}; {WAY_OUT}")
            return BY_OPTION[name], (f"the hidden activation is {name}, as params/agent.yaml beside the file says",)
    return source.options.activation_layers(source.name, "elu by rsl_rl's default, params/agent.yaml says it"), ()


def is_of_two_numbers(saved: Saved) -> bool:
    """Whether it is rsl_rl's, with nothing of a distribution: a network that may give two numbers an action."""
    if "actor_state_dict" in saved.members:  # from version 4 on
        return all(key.startswith(("mlp.", "obs_normalizer.", "rnn.rnn.")) for key in saved.arrays)
    own = all(re.match(r"(?:actor|critic)(?:_obs_normalizer)?\.", key) for key in saved.arrays)
    actor = any(key.startswith("actor.") for key in saved.arrays)
    return own and actor and {"model_state_dict", "iter", "infos"} <= {*saved.members} and not _outputs(saved) % 2


def _outputs(saved: Saved) -> int:
    prefix = "actor" if any(key.startswith("actor.") for key in saved.arrays) else "mlp"
    return n_outputs(network.closed(saved.arrays, prefix, (), saved.name))


def read_beta(saved: Saved, source: Source) -> Policy:
    """The policy of a BetaDistribution: its mean, moved to the range that the options or the run's settings say.

    Raises:
        LilliputError: neither an option nor params/agent.yaml says that it is one, or its range is not said.
    """
    n = _outputs(saved)
    if "actor_state_dict" not in saved.members:
        raise LilliputError(
            f"{source.name} is of rsl_rl 3 or of a program like it, without std: its {n} outputs are the means and "
            f"spreads of {n // 2} actions (state_dependent_std), which the file does not tell; {WAY_OUT}, "
            "policy.act_inference as its forward"
        )
    distribution = _distribution(source)
    kind = str(distribution.get("class_name", "")).rpartition(":")[2]
    asked = source.options.take_beta()
    if (kind not in (_BETA, "")) or not (asked or (kind and source.options.action is None)):
        raise LilliputError(
            f"{source.name} is of rsl_rl 4 or later without distribution.*: its {n} outputs "
            f"{f'are those of {kind[:40]}, two an action, as params/agent.yaml says' if kind else _EITHER}; of a "
            "state-dependent Gaussian give the ONNX file of rsl_rl's own export, runner.export_policy_to_onnx(); of "
            "a Beta give --action beta with its action_range as --action-low and --action-high (-1 and 1 by rsl_rl's "
            "default)"
        )
    prefixes = [("obs_normalizer", "obs_normalizer._mean"), ("rnn.rnn", "rnn.rnn.weight_ih_l0")]
    normalizer, memory = (prefix if key in saved.arrays else "" for prefix, key in prefixes)
    layout = _layout("rsl_rl 4's Beta model", "mlp", r"mlp\.\d+\.weight", normalizer, memory=memory)
    if differing := [*layout.missing(saved.arrays), *layout.left_over(saved.arrays)]:
        raise LilliputError(f"{source.name} is almost {layout.what}, but for {differing[0][:60]!r}; {WAY_OUT}")
    if n % 2:
        raise LilliputError(f"{source.name} gives {n} numbers; a Beta distribution has two an action")
    stack, guesses = _network("mlp", normalizer, memory, saved, source)
    space, origin = _range(distribution, n // 2, source)
    how = "the action is the mean of a Beta distribution, all alphas before all betas, each softplus + 1"
    said = Provenance(framework=FRAMEWORK, algorithm="PPO", guesses=(*guesses, how, origin, UNBOUNDED))
    head = [layers.BetaAction(), *network.rescale_head(space.high - space.low, space.low, source.name)]
    inputs = spaces.Box((n_inputs(stack),), np.asarray(-np.inf), np.asarray(np.inf))
    return Policy(inputs, space, (*stack, *head), said)


def _distribution(source: Source) -> dict[str, Any]:
    """What the run says of the actor's distribution; empty where there is nothing."""
    actor = agent_settings(source).get("actor")
    found = actor.get("distribution_cfg") if isinstance(actor, dict) else None
    return found if isinstance(found, dict) else {}


def _range(distribution: dict[str, Any], n_actions: int, source: Source) -> tuple[spaces.Box, str]:
    """The bounds of a Beta's actions, and where they come from."""
    if (space := source.options.given_space(n_actions, source.name)) is not None:
        return space, "the range of the action (action_range) is not in the file: as given"
    if not distribution:
        raise LilliputError(
            f"{source.name} does not hold the range of its {n_actions} actions (action_range); give --action-low and "
            "--action-high: -1 and 1 by rsl_rl's default"
        )
    given = distribution.get("action_range", (-1.0, 1.0))
    try:
        low, high = (float(one) for one in given)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise LilliputError(f"{source.name}: params/agent.yaml says that action_range is {str(given)[:40]!r}")
    where = "as params/agent.yaml says" if "action_range" in distribution else "rsl_rl's default, none is in agent.yaml"
    space = spaces.Box((n_actions,), np.full(n_actions, low), np.full(n_actions, high))
    return space, f"the range of the action is {low:g} to {high:g}: {where}"


_STD = r"(?:distribution\.)?(?:log_)?std(?:_param)?"


def _layout(
    what: str, actor: str, std: str, normalizer: str = "", learner: tuple[str, ...] = (), memory: str = ""
) -> Layout:
    statistics = tuple(rf"{re.escape(normalizer)}\.{key}" for key in _STATISTICS if normalizer)
    name = f"{what}{' with statistics' if normalizer else ''}"
    remembered = recurrent.keys(memory) if memory else ()
    read = partial(_read, actor, normalizer, memory)
    return Layout(name, (std, *numbered(actor), *statistics, *remembered), read, learner, behind=_LAST)


_NAMES_OF_STD = r"(?:log_)?std"
_CRITIC = (*numbered("critic"), r"critic_obs_normalizer\..*")
_TEACHER = (*numbered("teacher"), r"teacher_obs_normalizer\..*")
_DISTRIBUTION = r"distribution\.(?:log_)?std_param"

_RECURRENT_CRITIC = (*_CRITIC, *recurrent.keys("memory_c.rnn"))
_REMEMBERS, _MEMORY = " with a memory", "memory_a.rnn"

LAYOUTS: Final = (
    _layout("rsl_rl's actor-critic", "actor", _NAMES_OF_STD, learner=_CRITIC),
    _layout("rsl_rl's actor-critic", "actor", _NAMES_OF_STD, "actor_obs_normalizer", _CRITIC),
    _layout(
        "rsl_rl 2's actor-critic",
        "model_state_dict.actor",
        rf"model_state_dict\.{_NAMES_OF_STD}",
        "obs_norm_state_dict",
        numbered("model_state_dict.critic"),
    ),
    _layout("rsl_rl's student", "student", _NAMES_OF_STD, learner=_TEACHER),
    _layout("rsl_rl's student", "student", _NAMES_OF_STD, "student_obs_normalizer", _TEACHER),
    _layout("rsl_rl 4's model", "mlp", _DISTRIBUTION),
    _layout("rsl_rl 4's model", "mlp", _DISTRIBUTION, "obs_normalizer"),
    *(
        _layout(
            f"rsl_rl's actor-critic{_REMEMBERS}", "actor", _NAMES_OF_STD, statistics, _RECURRENT_CRITIC, "memory_a.rnn"
        )
        for statistics in ("", "actor_obs_normalizer")
    ),
    _layout(
        f"rsl_rl 2's actor-critic{_REMEMBERS}",
        "model_state_dict.actor",
        rf"model_state_dict\.{_NAMES_OF_STD}",
        "obs_norm_state_dict",
        (*numbered("model_state_dict.critic"), *recurrent.keys("model_state_dict.memory_c.rnn")),
        "model_state_dict.memory_a.rnn",
    ),
    *(
        _layout(f"rsl_rl 4's model{_REMEMBERS}", "mlp", _DISTRIBUTION, statistics, memory="rnn.rnn")
        for statistics in ("", "obs_normalizer")
    ),
)
