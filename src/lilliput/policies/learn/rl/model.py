"""A framework's model made for a training: environments, networks, noise, replay buffer."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.learn.rl.algorithm import Algorithm
from lilliput.policies.learn.rl.hyperparameters import ACTIVATIONS, Hyperparameters, hyperparameters
from lilliput.policies.learn.rl.replay import DiskReplayBuffer
from lilliput.policies.learn.rl.training import Training
from lilliput.policies.play import make_environment
from lilliput.policies.play.boundary import BadExchange, observer
from lilliput.policies.play.environment import MAX_STEPS, action_space_of, observation_space_of
from lilliput.policies.play.gymnasium_wrappers import check_frames
from lilliput.policies.play.wrappers import Atari, FrameStack, channels_first, parse_wrappers

_OPTIMIZERS: Final = ("rmsproptflike",)
_LEAST_SIDE: Final = 36
"""Pixels of an image's side that NatureCNN's three convolutions leave something of."""


def settings_of(training: Training, row: Algorithm, networks: Mapping[str, Any] | None = None) -> Hyperparameters:
    """What it trains with.

    Raises:
        LilliputError: an environment that the algorithm cannot play, or settings that it does not have.
    """
    environment = make_environment(
        training.environment, wrappers=training.wrappers, environment_kwargs=dict(training.environment_kwargs)
    )
    try:
        observation, action = observation_space_of(environment), action_space_of(environment)
    finally:
        environment.close()
    kind = "discrete" if isinstance(action, spaces.Discrete | spaces.MultiDiscrete) else "continuous"
    if kind not in row.actions or (isinstance(action, spaces.MultiDiscrete) and row.actions == ("discrete",)):
        raise LilliputError(
            f"{training.algorithm} plays {' and '.join(row.actions)} actions; {training.environment} has "
            f"{spaces.describe(action)}"
        )
    if not isinstance(observation, spaces.Box) or not observation.shape:
        raise LilliputError(f"{training.environment} has {spaces.describe(observation)}; training takes one array")
    if isinstance(action, spaces.Box) and not np.isfinite([action.low, action.high]).all():
        raise LilliputError(f"{training.environment} has actions without bounds; training needs them")
    return hyperparameters(
        training.algorithm,
        row,
        training.environment,
        training.settings,
        hidden=training.hidden,
        activation=training.activation,
        normalize=training.normalize,
        image=_is_image(observation),
        networks=networks,
    )


def make_model(training: Training, row: Algorithm, chosen: Hyperparameters, folder: Path | None = None) -> Any:
    """The framework's model with its environments; with a folder, its replay buffer is there."""
    venv = _environments(training, chosen)
    arguments = {name: _argument(value) for name, value in chosen.arguments.items()}
    window = arguments.pop("buffer_size", 1_000_000)
    if not row.on_policy:
        arguments["buffer_size"] = venv.num_envs  # the framework's own is taken out again
    if chosen.noise:
        size = venv.action_space.shape or ()
        arguments["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, chosen.noise))
    try:
        model = row.load()(
            "CnnPolicy" if is_convolved(venv.observation_space) else "MlpPolicy",
            venv,
            policy_kwargs=_network(chosen.policy),
            seed=training.seed,
            device="cpu",
            verbose=0,
            **arguments,
        )
    except (ValueError, AssertionError, TypeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LilliputError(f"{training.algorithm} cannot be made for {training.environment}: {reason}") from error
    if not row.on_policy and folder is not None:
        folder.mkdir(exist_ok=True)
        capacity = training.steps + (_beyond(model, venv) + 1) * venv.num_envs
        model.replay_buffer = DiskReplayBuffer(
            folder,
            capacity,
            window,
            model.observation_space,
            model.action_space,
            venv.num_envs,
            n_steps=model.n_steps,
            gamma=model.gamma,
        )
    return model


def is_convolved(space: gymnasium.Space) -> bool:
    """Whether the framework's convolutions see it: an image to the framework, and not too small for them."""
    shape = space.shape or ()
    return is_image_space(space) and min(shape[1:] if channels_first(shape) else shape[:-1]) >= _LEAST_SIDE


def _beyond(model: Any, venv: VecEnv) -> int:
    """Steps of each environment that the last rollout may take beyond the last step: it is played to its end."""
    if model.train_freq.unit.value == "step":
        return model.train_freq.frequency
    limits = [getattr(spec, "max_episode_steps", None) or MAX_STEPS for spec in venv.get_attr("spec")]
    return model.train_freq.frequency * max(limits)


def _environments(training: Training, chosen: Hyperparameters) -> VecEnv:
    worn = parse_wrappers(training.wrappers)
    atari = next((wrapper for wrapper in worn if isinstance(wrapper, Atari)), None)
    stack = next((wrapper.n_stack for wrapper in worn if isinstance(wrapper, FrameStack)), None)
    plain = tuple(
        text
        for text, wrapper in zip(training.wrappers, worn, strict=True)
        if not isinstance(wrapper, Atari | FrameStack) and "transpose" not in text
    )

    def make() -> Any:
        environment = make_environment(
            training.environment, wrappers=plain, environment_kwargs=dict(training.environment_kwargs)
        )
        if atari is not None:
            check_frames(environment, atari.frame_skip)
            # The same frames as `play` shows, with a life for an episode and the sign of the reward, as is usual.
            environment = AtariWrapper(
                environment,
                noop_max=atari.noop_max,
                frame_skip=atari.frame_skip,
                screen_size=atari.screen_size,
                terminal_on_life_loss=atari.terminal_on_life_loss,
            )
        return Monitor(Finite(environment))

    venv: VecEnv = DummyVecEnv([make] * chosen.n_envs)
    if chosen.normalize:
        venv = VecNormalize(venv, gamma=float(chosen.arguments.get("gamma", 0.99)))
    if stack is not None:
        venv = VecFrameStack(venv, stack)
    return venv


class Finite(gymnasium.Wrapper):
    """Raises `BadExchange` where the environment shows or pays what is no number: it would spoil all that follows."""

    def __init__(self, environment: gymnasium.Env) -> None:
        super().__init__(environment)
        self._observed = observer(environment, None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._observed(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observed(observation)
        if not math.isfinite(reward):
            raise BadExchange(f"the environment paid {reward}, which is no finite number")
        return observation, reward, terminated, truncated, info


def _is_image(space: spaces.Box) -> bool:
    return len(space.shape) == 3 and space.dtype == "uint8"


def _argument(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"linear"}:
        return _falling(float(value["linear"]))
    return tuple(value) if isinstance(value, list) else value


def _falling(first: float) -> Callable[[float], float]:
    def schedule(left: float) -> float:
        return left * first

    return schedule


def _network(policy: dict[str, Any]) -> dict[str, Any]:
    kwargs = dict(policy)
    if "activation" in kwargs:
        kwargs["activation_fn"] = getattr(torch.nn, ACTIVATIONS[kwargs.pop("activation")])
    if kwargs.get("optimizer") in _OPTIMIZERS:
        from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

        kwargs["optimizer_class"] = RMSpropTFLike
        del kwargs["optimizer"]
    return kwargs
