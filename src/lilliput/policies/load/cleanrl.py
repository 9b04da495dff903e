"""State dicts of CleanRL's scripts: continuous and discrete PPO, DQN, Atari's, with an LSTM too, SAC, TD3 and DDPG.

What the scripts fix (activations, images) is noted as a guess; the observation statistics of PPO's continuous script
are in no file. A network named `actor` or `network` may be anybody's: it is CleanRL's where the file or its folder is
named as the scripts do, or where its layers have the very sizes that the script gives them. `--activation` overrules.
"""

import re
from functools import partial
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.load import network, recurrent
from lilliput.policies.load.action_spread import action_std, check_std
from lilliput.policies.load.actor import FRAMES, UNBOUNDED, atari_policy, convention, n_inputs, n_outputs, vector_policy
from lilliput.policies.load.layout import Layout, linear, numbered
from lilliput.policies.load.network import State
from lilliput.policies.load.options import action_head
from lilliput.policies.load.plain import JOYSTICK, outputs_said
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import BY_OPTION
from lilliput.policies.play import action_space_of, make_environment
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "cleanrl"
DQN_UNITS, PPO_UNITS = (120, 84), (64, 64)
"""The hidden layers of CleanRL's dqn.py and ppo_continuous_action.py."""

_ATOMS = (51, 101)
"""Numbers of atoms that C51's scripts give each action."""
_NORMALIZES = "CleanRL's script normalizes it"
_ATARI = "the observation is taken to be an Atari game's, prepared as CleanRL does: four frames of 84 x 84, over 255"
_ATARI_ONE = "the observation is taken to be an Atari game's, prepared as CleanRL does: one frame of 84 x 84, over 255"
_BEHIND = "the activation stands behind the last layer before the LSTM too, as in CleanRL's ppo_atari_lstm.py"
_STRIDES = "strides and padding of the convolutions are not in the file: 4, 2 and 1, and none, as in CleanRL's script"


def trained_on(folder: str) -> str:
    """The environment that the folder of a run names, "Env__script__seed__time"; "" where it is none."""
    parts = folder.split("__")
    return parts[0] if len(parts) == 4 and parts[2].isdigit() and parts[3].isdigit() else ""


def is_cleanrl(source: Source) -> bool:
    """Whether the file or its folder is named as CleanRL's scripts name them."""
    return _is_named(source) or bool(trained_on(source.folder.name))


def _is_named(source: Source) -> bool:
    return source.name.strip("'\"").endswith(".cleanrl_model")


def _is_discrete(source: Source, n: int, *, formed: bool) -> bool:
    """Whether a network that gives `n` numbers is of CleanRL's discrete scripts: by its name, or form and folder.

    A run's folder names the environment: where that runs here and takes no choice of `n`, the file is another's.
    """
    environment = trained_on(source.folder.name)
    if not _is_named(source) and not (formed and environment):
        return False
    if not environment:
        return True
    try:
        made = make_environment(environment)
    except LilliputError:
        return True
    try:
        space = action_space_of(made)
        return isinstance(space, spaces.Discrete) and (_is_named(source) or space == spaces.Discrete(n))
    except LilliputError:
        return False
    finally:
        made.close()


def _ppo_continuous(saved: Saved, source: Source) -> Checkpoint:
    if is_cleanrl(source) or _hidden(saved.arrays, "actor_mean") == PPO_UNITS:
        activation, guess = _overruled(source, "tanh")
    else:
        known = "tanh in CleanRL's ppo_continuous_action.py"
        activation, guess = source.options.activation_layers(saved.name, known), ()
    stack = network.closed(saved.arrays, "actor_mean", activation, saved.name)
    space, origin = source.options.action_space(n_outputs(stack), saved.name, trained_on(source.folder.name))
    check_std(saved.arrays, "actor_logstd", space, saved.name)
    said = Provenance(
        framework=FRAMEWORK,
        algorithm="PPO",
        guesses=(*guess, UNBOUNDED, origin),
    )
    action = source.options.take("action") or "continuous"
    if action == "discrete":
        raise LilliputError(f"{saved.name} has the spread of real actions (actor_logstd); give another --action")
    policy = Policy(_vector(stack), space, (*stack, *action_head(action, space, saved.name)), said)
    return Checkpoint(policy, Learner(action_std=action_std(saved.arrays, "actor_logstd", space)))


def _actor_critic(saved: Saved, source: Source) -> Policy:
    """Of CleanRL's discrete PPO where the names say so; else what PPO-PyTorch and many own programs write as well."""
    formed = _hidden(saved.arrays, "actor") == PPO_UNITS
    if _is_discrete(source, _last(saved.arrays, "actor"), formed=formed):
        activation, guesses = _overruled(source, "tanh")
        stack = network.closed(saved.arrays, "actor", activation, saved.name)
        action = source.options.take("action")
        if action is None:
            n = n_outputs(stack)
            if n > JOYSTICK and not source.options.check_choices(n, saved.name):
                source.options.only_layers(
                    saved.name, f"its {n} outputs may be several choices at once; --env tells it too"
                )
            guesses = (*guesses, "the action is taken to be one choice (Discrete)")
        said = Provenance(framework=FRAMEWORK, algorithm="PPO", guesses=guesses)
        return vector_policy(stack, action or "discrete", source, said)
    activation, action = source.options.hidden_and_action(saved.name, "tanh in CleanRL's and PPO-PyTorch's programs")
    stack = network.closed(saved.arrays, "actor", activation, saved.name)
    outputs = outputs_said(saved, _last_name(saved.arrays, "actor"), source)
    said = Provenance(framework="torch", algorithm="actor-critic", guesses=("its last layer is Linear", *outputs))
    return vector_policy(stack, action, source, said)


def _dqn(saved: Saved, source: Source) -> Policy:
    state = saved.arrays
    formed = _hidden(state, "network") == DQN_UNITS
    in_folder = bool(trained_on(source.folder.name))
    if (formed and not in_folder) or _is_discrete(source, _last(state, "network"), formed=formed):
        activation, guesses = _overruled(source, "relu")
        stack = network.closed(state, "network", activation, saved.name)
        n = n_outputs(stack)
        if source.options.action is None:
            doubtful = n > JOYSTICK or any(n % atoms == 0 for atoms in _ATOMS)
            if doubtful and not source.options.check_choices(n, saved.name):
                raise LilliputError(
                    f"{saved.name} has {n} outputs, which may be a distribution of each action's value (C51) rather "
                    "than a value an action; give --action discrete and --plain if they are values; a distribution is "
                    "of no kind that is read, in an ONNX file neither"
                )
            guesses = (*guesses, f"the outputs are taken as Q-values of {n} choices, as in CleanRL's script")
        said = Provenance(framework=FRAMEWORK, algorithm="DQN", guesses=guesses)
        return vector_policy(stack, source.options.take("action") or "discrete", source, said)
    activation, action = source.options.hidden_and_action(saved.name, "relu in CleanRL's dqn.py")
    stack = network.closed(state, "network", activation, saved.name)
    return vector_policy(stack, action, source, Provenance(framework="torch"))


def _atari(last: str, algorithm: str, remembers: bool, saved: Saved, source: Source) -> Policy:
    state, name = saved.arrays, saved.name
    activation, guesses = _overruled(source, "relu")
    convolutions = network.nature_convolutions(state, [f"network.{index}" for index in (0, 2, 4)], name, activation)
    stack = [network.scale_image(), *convolutions, network.dense(state, "network.7", name), *activation]
    memory = recurrent.levels(state, "lstm", name) if remembers else []
    prepared = _ATARI_ONE if remembers else _ATARI
    said = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=(*guesses, prepared, _STRIDES))
    n = len(network.array(state, f"{last}.weight", name))
    if n > JOYSTICK:
        raise LilliputError(
            f"{name} has {n} outputs, and an Atari game takes {JOYSTICK} choices at most: they may be a distribution "
            "of each action's value: of QR-DQN export the mean of each action's quantiles as ONNX; C51 is not read, "
            "as ONNX neither"
        )
    frames = 1 if remembers else FRAMES
    return atari_policy([*stack, *memory, network.dense(state, last, name)], name, said, frames=frames)


def _remembering(saved: Saved, source: Source) -> Policy:
    """The agent of ppo_atari_lstm.py with Linear layers in the place of its convolutions, as many programs have it."""
    known = "tanh or relu in programs after CleanRL's ppo_atari_lstm.py"
    activation, action = source.options.hidden_and_action(saved.name, known)
    found, _ = network.sequential(saved.arrays, "network", activation, saved.name)
    stack = [
        *found,
        *recurrent.levels(saved.arrays, "lstm", saved.name),
        network.dense(saved.arrays, "actor", saved.name),
    ]
    said = Provenance(framework="torch", algorithm="PPO", guesses=(_BEHIND,))
    return vector_policy(stack, action, source, said)


def _sac(saved: Saved, source: Source) -> Checkpoint:
    return _squashed(saved, source, "fc_mean", "SAC")


def _td3(saved: Saved, source: Source) -> Checkpoint:
    return _squashed(saved, source, "fc_mu", "TD3 or DDPG")


def _squashed(saved: Saved, source: Source, last: str, algorithm: str) -> Checkpoint:
    """The policy tanh(mean) * action_scale + action_bias."""
    state, name = saved.arrays, saved.name
    scale, offset = (_row(state, key, name) for key in ("action_scale", "action_bias"))
    if (scale <= 0).any():
        raise LilliputError(f"{name}: action_scale is not positive; it must be half the range of each action")
    activation, guesses = _overruled(source, "relu")
    stack: list[Layer] = []
    for key in ("fc1", "fc2"):
        stack += [network.dense(state, key, name), *activation]
    stack += [network.dense(state, last, name), layers.SquashAction(), *network.rescale_head(scale, offset, name)]
    n_actions = n_outputs(stack)
    if scale.size not in (1, n_actions) or offset.size not in (1, n_actions):
        raise LilliputError(f"{name}: {scale.size} action scales for {n_actions} actions; they must agree")
    low, high = (np.broadcast_to(bound, (n_actions,)) for bound in (offset - scale, offset + scale))
    action_space = spaces.Box((n_actions,), low, high)
    provenance = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=(*guesses, UNBOUNDED))
    policy = Policy(_vector(stack), action_space, tuple(stack), provenance)
    return Checkpoint(policy, Learner(_critic(saved, policy)))


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


def _last(state: State, prefix: str) -> int:
    """The outputs of a Sequential's last layer."""
    last = f"{_last_name(state, prefix)}.weight"
    return state[last].shape[0] if last in state and state[last].ndim else 0


def _last_name(state: State, prefix: str) -> str:
    """The name of a Sequential's last layer; "" where it has none."""
    weights = [key for key in state if re.fullmatch(rf"{prefix}\.\d{{1,4}}\.weight", key)]
    return max(weights, key=lambda key: int(key.split(".")[1]), default="").removesuffix(".weight")


def _overruled(source: Source, kind: str) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The activation that was given, or the script's own and the sentence that says so."""
    given = source.options.take("activation")
    names = {"tanh": "Tanh", "relu": "ReLU"}
    guess = convention("the hidden activation", names[kind], "CleanRL's script")
    return BY_OPTION[given or kind], () if given else (guess,)


def _row(state: State, key: str, name: str) -> np.ndarray:
    """A buffer of action bounds; a vectorized environment gave it one row for each copy."""
    values = network.array(state, key, name)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    if not rows.size or (rows != rows[0]).any():
        raise LilliputError(
            f"{name}: {key} has the shape {list(values.shape)} and differs by row; it must be one number an action"
        )
    return rows[0]


def _vector(stack: list[Layer]) -> spaces.Box:
    return spaces.Box((n_inputs(stack),), np.asarray(-np.inf), np.asarray(np.inf))


_CRITICS = tuple(rf"\[\d\]\.{key}" for key in linear("fc1", "fc2", "fc3"))
_BOUNDS = ("action_scale", "action_bias")

LAYOUTS: Final = (
    Layout(
        "CleanRL's continuous PPO",
        (*numbered("actor_mean"), "actor_logstd"),
        _ppo_continuous,
        numbered("critic"),
        before=_NORMALIZES,
    ),
    Layout(
        "CleanRL's Atari PPO",
        (*linear("network.0", "network.2", "network.4", "network.7", "actor"),),
        partial(_atari, "actor", "PPO", False),
        linear("critic"),
    ),
    Layout(
        "CleanRL's Atari PPO with an LSTM",
        (*linear("network.0", "network.2", "network.4", "network.7", "actor"), *recurrent.keys("lstm")),
        partial(_atari, "actor", "PPO", True),
        linear("critic"),
    ),
    Layout(
        "an LSTM behind a network (network.*, lstm.*, actor, critic)",
        (*numbered("network"), *recurrent.keys("lstm"), *linear("actor")),
        _remembering,
        linear("critic"),
    ),
    Layout(
        "CleanRL's Atari DQN",
        linear(*(f"network.{index}" for index in (0, 2, 4, 7, 9))),
        partial(_atari, "network.9", "DQN", False),
    ),
    Layout("CleanRL's DQN", numbered("network"), _dqn),
    Layout("an actor-critic (actor.*, critic.*)", numbered("actor"), _actor_critic, numbered("critic")),
    Layout("CleanRL's SAC", (*linear("fc1", "fc2", "fc_mean", "fc_logstd"), *_BOUNDS), _sac, _CRITICS),
    Layout("CleanRL's TD3 or DDPG", (*linear("fc1", "fc2", "fc_mu"), *_BOUNDS), _td3, _CRITICS),
)
