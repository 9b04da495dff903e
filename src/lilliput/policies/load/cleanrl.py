"""State dicts of CleanRL's scripts: continuous and discrete PPO, DQN, their Atari variants, SAC, TD3 and DDPG.

A state dict holds weights and, of some scripts, the action bounds. What else the scripts fix (activations, shapes of
images) is theirs and noted as a guess; the observation statistics of PPO's continuous script are in no file.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.network import State
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_file import read_torch
from lilliput.policies.play.wrappers import Atari, ClipAction, FrameStack, TransposeImage, format_wrapper
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "cleanrl"
FRAMES, SIDE = 4, 84
"""An observation of CleanRL's Atari scripts: four frames of 84 x 84."""

_LAYOUTS = "actor_mean.*, actor.*, network.*, or fc1, fc2 and fc_mean or fc_mu"
_UNBOUNDED = "the bounds of the observation are not in the file: taken as unbounded"
_STATISTICS = (
    "observation statistics are not in the file: give them as normalizer=, if the script normalized observations"
)
_ATARI = "the observation is taken to be an Atari game's, prepared as CleanRL does: four frames of 84 x 84, over 255"


def read_cleanrl(source: Source) -> Policy:
    """The deterministic policy of the state dict that a script saved, alone or first in a tuple (actor, critics).

    Raises:
        LilliputError: damaged, or a state dict of another layout.
    """
    name = source.name
    saved = read_torch(source.data, name)
    state = _find_state(saved, name)
    policy = _layout(state)(state, name)
    if _layout(state) is not _squashed or not isinstance(saved, tuple | list):
        return policy
    return dataclasses.replace(policy, critic=_critic(saved, policy, name))


def _critic(saved: Sequence[Any], policy: Policy, name: str) -> tuple[Layer, ...]:
    """The first of a tuple's members that judges actions: fc1, fc2 and fc3 on observation and action; or none."""
    assert isinstance(policy.action_space, spaces.Box)
    n_inputs = spaces.input_shape(policy.observation_space)[0] + policy.action_space.size
    parts = ("fc1", "fc2", "fc3")
    for member in saved:
        if isinstance(member, dict) and all(isinstance(member.get(f"{part}.weight"), np.ndarray) for part in parts):
            try:
                first, second, last = (network.dense(member, part, name) for part in parts)
            except LilliputError:
                return ()
            return network.intact((first, layers.Relu(), second, layers.Relu(), last), n_inputs)
    return ()


def _find_state(saved: Any, name: str) -> dict[str, np.ndarray]:
    """The actor's state dict: the value itself, the first of a tuple, or a dict's one member that is known."""
    candidates = list(saved) if isinstance(saved, tuple | list) else [saved]
    if isinstance(saved, dict):
        candidates += [member for member in saved.values() if isinstance(member, dict)]
    for candidate in candidates:
        if isinstance(candidate, dict):
            state = {
                key: array for key, array in candidate.items() if isinstance(key, str) and isinstance(array, np.ndarray)
            }
            if state and _known(state):
                return state
    first = next((candidate for candidate in candidates if isinstance(candidate, dict)), None)
    if first is None:
        raise LilliputError(
            f"{name} holds no state_dict; save the network's state_dict() with torch.save, not the network"
        )
    keys = ", ".join(str(key)[:40] for key in list(first)[:4])
    raise LilliputError(
        f"{name} holds {keys or 'nothing'}; supported: CleanRL's {_LAYOUTS}, and Stable-Baselines3's zips"
    )


def _known(state: State) -> bool:
    if "atoms" in state:
        return False
    return any(network.has(state, prefix) for prefix in ("actor_mean.", "network.", "actor.")) or {
        "fc1.weight",
        "fc2.weight",
    } <= set(state)


def _layout(state: State) -> Callable[[State, str], Policy]:
    if network.has(state, "actor_mean."):
        return _ppo_continuous
    if network.has(state, "network."):
        return _ppo_atari if "actor.weight" in state else _dqn
    if network.has(state, "actor."):
        return _ppo_discrete
    return _squashed


def _ppo_continuous(state: State, name: str) -> Policy:
    stack = _closed(state, "actor_mean", (layers.Tanh(),), name)
    guesses = (
        _activation("Tanh"),
        _UNBOUNDED,
        "the bounds of the action are not in the file: the environment clips it (clip_action), as the script has it do",
        _STATISTICS,
    )
    n_actions = _outputs(stack)
    action_space = spaces.Box((n_actions,), np.asarray(-np.inf), np.asarray(np.inf))
    return Policy(
        _vector(stack),
        action_space,
        tuple(stack),
        Provenance(
            framework=FRAMEWORK,
            algorithm="PPO",
            wrappers=(format_wrapper(ClipAction()),),
            guesses=guesses,
            action_std=network.action_std(state, "actor_logstd", action_space),
        ),
    )


def _ppo_discrete(state: State, name: str) -> Policy:
    stack = _closed(state, "actor", (layers.Tanh(),), name)
    return _choice(stack, "PPO", (_activation("Tanh"), _UNBOUNDED, "the action is taken to be one choice (Discrete)"))


def _ppo_atari(state: State, name: str) -> Policy:
    stack = [
        *_convolutions(state, name),
        network.dense(state, "network.7", name),
        layers.Relu(),
        network.dense(state, "actor", name),
    ]
    return _image_choice(stack, "PPO", name)


def _dqn(state: State, name: str) -> Policy:
    if state.get("network.0.weight", np.zeros(0)).ndim == 4:
        stack = [
            *_convolutions(state, name),
            network.dense(state, "network.7", name),
            layers.Relu(),
            network.dense(state, "network.9", name),
        ]
        return _image_choice(stack, "DQN", name)
    return _choice(_closed(state, "network", (layers.Relu(),), name), "DQN", (_activation("ReLU"), _UNBOUNDED))


def _squashed(state: State, name: str) -> Policy:
    """SAC (fc_mean) and TD3 or DDPG (fc_mu): tanh(mean) * action_scale + action_bias."""
    last, algorithm = ("fc_mean", "SAC") if "fc_mean.weight" in state else ("fc_mu", "TD3 or DDPG")
    scale, offset = (_row(state, key, name) for key in ("action_scale", "action_bias"))
    if (scale <= 0).any():
        raise LilliputError(f"{name}: action_scale is not positive; it must be half the range of each action")
    stack: list[Layer] = []
    for key in ("fc1", "fc2"):
        stack += [network.dense(state, key, name), layers.Relu()]
    stack += [network.dense(state, last, name), layers.SquashAction(), *network.rescale_head(scale, offset, name)]
    n_actions = _outputs([layer for layer in stack if isinstance(layer, layers.Dense)])
    if scale.size not in (1, n_actions) or offset.size not in (1, n_actions):
        raise LilliputError(f"{name}: {scale.size} action scales for {n_actions} actions; they must agree")
    low, high = (np.broadcast_to(bound, (n_actions,)) for bound in (offset - scale, offset + scale))
    action_space = spaces.Box((n_actions,), low, high)
    provenance = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=(_activation("ReLU"), _UNBOUNDED))
    return Policy(_vector(stack), action_space, tuple(stack), provenance)


def _activation(kind: str) -> str:
    return f"the hidden activation is not in the file: {kind}, as in CleanRL's script"


def _row(state: State, key: str, name: str) -> np.ndarray:
    """A buffer of action bounds; a vectorized environment gave it one row for each copy."""
    values = network.array(state, key, name)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    if not rows.size or (rows != rows[0]).any():
        raise LilliputError(
            f"{name}: {key} has the shape {list(values.shape)} and differs by row; it must be one number an action"
        )
    return rows[0]


def _closed(state: State, prefix: str, activation: tuple[Layer, ...], name: str) -> list[Layer]:
    found, pending = network.sequential(state, prefix, activation, name, closed=False)
    if pending is not None or not found or not isinstance(found[-1], layers.Dense):
        raise LilliputError(f"{name}: {prefix} does not end in a Linear layer; supported: CleanRL's own networks")
    return found


def _convolutions(state: State, name: str) -> list[Layer]:
    return [
        network.scale_image(),
        *network.nature_convolutions(state, [f"network.{index}" for index in (0, 2, 4)], name),
    ]


def _outputs(stack: list[Layer]) -> int:
    last = stack[-1]
    return last.weight.shape[0] if isinstance(last, layers.Dense) else 0


def _vector(stack: list[Layer]) -> spaces.Box:
    first = stack[0]
    size = first.weight.shape[1] if isinstance(first, layers.Dense) else 0
    return spaces.Box((size,), np.asarray(-np.inf), np.asarray(np.inf))


def _choice(stack: list[Layer], algorithm: str, guesses: tuple[str, ...]) -> Policy:
    n = _outputs(stack)
    provenance = Provenance(framework=FRAMEWORK, algorithm=algorithm, guesses=guesses)
    return Policy(_vector(stack), spaces.Discrete(n), (*stack, layers.ArgmaxAction((n,))), provenance)


def _image_choice(stack: list[Layer], algorithm: str, name: str) -> Policy:
    space = spaces.Box((FRAMES, SIDE, SIDE), np.asarray(0.0), np.asarray(255.0), "uint8")
    shape: tuple[int, ...] = space.shape
    for layer in stack:
        if isinstance(layer, layers.Dense) and layer.weight.shape[1] != math.prod(shape):
            raise LilliputError(
                f"{name} takes images that are not {FRAMES} x {SIDE} x {SIDE}; supported: CleanRL's Atari preparation"
            )
        shape = layers.output_shape(layer, shape)
    n = _outputs(stack)
    wrappers = tuple(format_wrapper(wrapper) for wrapper in (Atari(), FrameStack(FRAMES), TransposeImage()))
    provenance = Provenance(
        framework=FRAMEWORK, algorithm=algorithm, wrappers=wrappers, guesses=(_activation("ReLU"), _ATARI)
    )
    return Policy(space, spaces.Discrete(n), (*stack, layers.ArgmaxAction((n,))), provenance)
