"""What trains a policy in its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lilliput.policies.learn.rl.run import Progress, Trained
    from lilliput.policies.learn.rl.training import Pruning, Quantization


def train(
    algorithm: str,
    environment: str,
    out: str | Path,
    *,
    steps: int,
    seed: int = 0,
    environment_kwargs: Mapping[str, Any] | None = None,
    wrappers: tuple[str, ...] = (),
    hidden: tuple[int, ...] | None = None,
    activation: str | None = None,
    normalize: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    quantization: "Quantization | None" = None,
    pruning: "Pruning | None" = None,
    start_from: str | Path | None = None,
    segment: int = 10_000,
    episodes: int = 5,
    within: float | None = None,
    force: bool = False,
    progress: "Progress | None" = None,
) -> "Trained":
    """The policy that reinforcement learning leads to, compressed on the way where that was asked for.

    The same call on the same folder goes on where it stopped, to the bit. Needs the extra `train`.

    Args:
        algorithm: a2c, ppo, trpo, ddpg, td3, sac, tqc, dqn or qrdqn.
        environment: a Gymnasium id.
        out: the folder for everything that is kept.
        steps: of the environments together.
        seed: everything random follows from it.
        environment_kwargs: arguments of the environment.
        wrappers: what stands before it, from the closed list.
        hidden: units of the deciding network's hidden layers; critics keep theirs. None: as tuned.
        activation: of the hidden layers. None: as tuned.
        normalize: whether observations are scaled by running statistics. None: as tuned.
        settings: arguments of the framework's class in the place of the tuned ones.
        quantization: of the deciding network while it learns.
        pruning: of the same network.
        start_from: a Stable-Baselines3 zip whose policy goes on learning.
        segment: steps between checkpoints.
        episodes: played at each checkpoint.
        within: seconds after which it stops at the next checkpoint.
        force: begins anew where the folder holds another training.
        progress: called with words, steps done and steps in all.

    Raises:
        LilliputError: an environment that the algorithm cannot play, a folder of something else, a full disk, or losses
            that are no numbers any more; the last checkpoint stays.
        MissingDependency: the frameworks are not installed.
    """
    from lilliput.policies.learn.rl.algorithm import algorithm as row_of

    row_of(algorithm).load()
    from lilliput.policies.learn.rl import run
    from lilliput.policies.learn.rl.training import Training

    asked = Training(
        algorithm,
        environment,
        steps,
        seed,
        dict(environment_kwargs or {}),
        tuple(wrappers),
        hidden,
        activation,
        normalize,
        dict(settings or {}),
        quantization,
        pruning,
        segment=segment,
        episodes=episodes,
    )
    return run.train(asked, out, start_from=start_from, within=within, force=force, progress=progress)
