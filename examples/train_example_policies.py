"""Train the policies of `examples/policies/` with Stable-Baselines3, from nothing to files that Lilliput loads.

    python examples/train_example_policies.py                      # all of them, one after the other
    python examples/train_example_policies.py --only ppo-Hopper-v5 # one

Needs `pip install 'lilliput[train,mujoco,box2d]'`. A training that is interrupted goes on from its last checkpoint when
the command is run again. The replay buffer is kept too, but not the simulators' state: an interrupted run is as good as
an uninterrupted one, not bitwise equal to it. What is saved is the checkpoint with the best mean return over the
selection episodes; what is reported are 100 other episodes, on seeds that the selection never saw.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

HERE = Path(__file__).parent
POLICIES_DIR = HERE / "policies"
CHECKPOINTS_DIR = HERE / "checkpoints"

SELECTION_SEEDS = range(1_000_000, 1_000_020)
REPORT_SEEDS = range(2_000_000, 2_000_100)
TORCH_THREADS = 1


@dataclass(frozen=True)
class Experiment:
    """One policy to train: everything that decides its result."""

    algorithm: type[BaseAlgorithm]
    environment: str
    total_steps: int
    seed: int
    n_envs: int
    checkpoint_every: int
    normalize: bool
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.algorithm.__name__.lower()}-{self.environment}"


EXPERIMENTS = (
    Experiment(
        algorithm=PPO,
        environment="Hopper-v5",
        total_steps=2_000_000,
        seed=1,
        n_envs=8,
        checkpoint_every=100_000,
        normalize=True,
        arguments={
            "n_steps": 256,
            "batch_size": 64,
            "n_epochs": 10,
            "learning_rate": LinearSchedule(3e-4, 0.0, 1.0),
            "gamma": 0.99,
            "gae_lambda": 0.95,
            "clip_range": 0.2,
            "ent_coef": 0.0,
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
        },
    ),
    Experiment(
        algorithm=SAC,
        environment="Pendulum-v1",
        total_steps=10_000,
        seed=1,
        n_envs=1,
        checkpoint_every=2_000,
        normalize=False,
        arguments={
            "learning_rate": 1e-3,
            "buffer_size": 40_000,
            "learning_starts": 1_000,
            "batch_size": 256,
            "gamma": 0.99,
            "tau": 0.005,
            "train_freq": 1,
            "gradient_steps": 1,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    ),
    Experiment(
        algorithm=PPO,
        environment="LunarLander-v3",
        total_steps=1_000_000,
        seed=1,
        n_envs=16,
        checkpoint_every=50_000,
        normalize=False,
        arguments={
            "n_steps": 1024,
            "batch_size": 128,
            "n_epochs": 4,
            "learning_rate": LinearSchedule(5e-4, 0.0, 1.0),
            "gamma": 0.999,
            "gae_lambda": 0.98,
            "ent_coef": 0.01,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    ),
)


def make_training_environments(experiment: Experiment, checkpoint: Path, done_steps: int) -> VecEnv:
    """The seeded training environments, normalized with the checkpoint's statistics if there is one."""
    environments = make_vec_env(experiment.environment, n_envs=experiment.n_envs, seed=experiment.seed + done_steps)
    if not experiment.normalize:
        return environments
    statistics = checkpoint / "vecnormalize.pkl"
    if statistics.exists():
        return VecNormalize.load(str(statistics), environments)
    return VecNormalize(environments, gamma=experiment.arguments["gamma"])


def episode_returns(model: BaseAlgorithm, environments: VecEnv, environment: str, seeds: Sequence[int]) -> np.ndarray:
    """The undiscounted return of one deterministic episode a seed, in the environment as Gymnasium makes it."""
    env = gym.make(environment)
    returns = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            if isinstance(environments, VecNormalize):
                observation = environments.normalize_obs(observation)
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return np.array(returns)


def save_checkpoint(model: BaseAlgorithm, environments: VecEnv, best: float, checkpoint: Path) -> None:
    """Write all that a later run needs, then put it in the old checkpoint's place."""
    fresh = checkpoint.with_name(checkpoint.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    model.save(fresh / "model.zip")
    if isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(fresh / "replay_buffer.pkl")
    if isinstance(environments, VecNormalize):
        environments.save(str(fresh / "vecnormalize.pkl"))
    (fresh / "progress.json").write_text(json.dumps({"best": best}))
    shutil.rmtree(checkpoint, ignore_errors=True)
    fresh.rename(checkpoint)


def save_policy(model: BaseAlgorithm, environments: VecEnv, name: str) -> None:
    """Write the zip, and the observation normalizer beside it, where Lilliput looks for them."""
    folder = POLICIES_DIR / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / f"{name}.zip")
    if isinstance(environments, VecNormalize):
        environments.save(str(folder / "vecnormalize.pkl"))


class KeepBest(BaseCallback):
    """Every `checkpoint_every` steps: play the selection episodes, keep the policy if it is the best, checkpoint."""

    def __init__(self, experiment: Experiment, environments: VecEnv, checkpoint: Path, best: float, start: int):
        super().__init__()
        self.experiment, self.environments, self.checkpoint = experiment, environments, checkpoint
        self.best, self.next_steps = best, start + experiment.checkpoint_every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.next_steps:
            self.evaluate()

    def _on_training_end(self) -> None:
        self.evaluate()

    def evaluate(self) -> None:
        self.next_steps = self.num_timesteps + self.experiment.checkpoint_every
        returns = episode_returns(self.model, self.environments, self.experiment.environment, SELECTION_SEEDS)
        kept = returns.mean() > self.best
        if kept:
            self.best = float(returns.mean())
            save_policy(self.model, self.environments, self.experiment.name)
        save_checkpoint(self.model, self.environments, self.best, self.checkpoint)
        print(
            f"{self.experiment.name}: {self.num_timesteps:,} steps, "
            f"selection return {returns.mean():.1f} +- {returns.std():.1f}{' (best, kept)' if kept else ''}",
            flush=True,
        )


def train(experiment: Experiment) -> None:
    """Train to `total_steps`, from the last checkpoint if there is one, leaving the best policy in `POLICIES_DIR`."""
    checkpoint = CHECKPOINTS_DIR / experiment.name
    if checkpoint.exists():
        model = experiment.algorithm.load(checkpoint / "model.zip", device="cpu")
        environments = make_training_environments(experiment, checkpoint, model.num_timesteps)
        model.set_env(environments)
        if isinstance(model, OffPolicyAlgorithm):
            model.load_replay_buffer(checkpoint / "replay_buffer.pkl")
        best = json.loads((checkpoint / "progress.json").read_text())["best"]
    else:
        environments = make_training_environments(experiment, checkpoint, 0)
        model = experiment.algorithm(
            "MlpPolicy", environments, seed=experiment.seed, device="cpu", **experiment.arguments
        )
        best = -float("inf")
    remaining = experiment.total_steps - model.num_timesteps
    if remaining > 0:
        keep_best = KeepBest(experiment, environments, checkpoint, best, start=model.num_timesteps)
        model.learn(remaining, callback=keep_best, reset_num_timesteps=False)
    environments.close()


def report(experiment: Experiment) -> None:
    """Print the return of the saved policy over the 100 report episodes, loaded from disk as a user would."""
    folder = POLICIES_DIR / experiment.name
    environments = make_vec_env(experiment.environment)
    if experiment.normalize:
        environments = VecNormalize.load(str(folder / "vecnormalize.pkl"), environments)
    model = experiment.algorithm.load(folder / f"{experiment.name}.zip", device="cpu")
    returns = episode_returns(model, environments, experiment.environment, REPORT_SEEDS)
    print(
        f"{experiment.name}: kept after {model.num_timesteps:,} of {experiment.total_steps:,} steps, "
        f"seed {experiment.seed}, return {returns.mean():.1f} +- {returns.std():.1f}, "
        f"worst decile {np.quantile(returns, 0.1):.1f}, {len(returns)} episodes",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the example policies.")
    parser.add_argument("--only", metavar="NAME", choices=[e.name for e in EXPERIMENTS], help="train just this one")
    arguments = parser.parse_args()
    torch.set_num_threads(TORCH_THREADS)
    for experiment in EXPERIMENTS:
        if arguments.only in (None, experiment.name):
            train(experiment)
            report(experiment)


if __name__ == "__main__":
    main()
