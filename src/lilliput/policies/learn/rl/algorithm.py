"""The reinforcement-learning algorithms that train here: one row each, in the words of their frameworks."""

import importlib
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from lilliput.errors import LilliputError, MissingDependency


@final
@dataclass(frozen=True)
class Algorithm:
    """An algorithm of Stable-Baselines3 or sb3-contrib.

    Attributes:
        package, kind: the class that trains.
        on_policy: whether it learns from what it has just played, and from nothing older.
        actions: which actions it can take.
        decision: paths, from the policy, of the modules that a deterministic decision passes, in order. What does not
            exist is passed over (an extractor that only flattens has no weights).
        target: the network that follows the deciding one slowly, as (deciding, following); it is compressed alike.
        folds: whether the last layer's outputs are averaged into fewer when the policy is taken out (quantiles), so
            that this layer cannot be quantized before.
        noise: the usual spread of the noise on actions while it plays to learn; 0: it has none.
        natural: whether it steps along other gradients than those of a loss.
    """

    package: str
    kind: str
    on_policy: bool
    actions: tuple[Literal["continuous", "discrete"], ...]
    decision: tuple[str, ...]
    target: tuple[str, str] | None = None
    folds: bool = False
    noise: float = 0.0
    natural: bool = False

    def load(self) -> type[Any]:
        """The framework's class.

        Raises:
            MissingDependency: the framework is not installed.
        """
        try:
            return getattr(importlib.import_module(self.package), self.kind)
        except ImportError as error:
            what = error.name or self.package
            raise MissingDependency(f"training needs {what}: pip install 'lilliput[train]'") from error


_BOTH: Final = ("continuous", "discrete")
_ACTOR_CRITIC: Final = ("pi_features_extractor", "mlp_extractor.policy_net", "action_net")
_GAUSSIAN: Final = ("actor.features_extractor", "actor.latent_pi", "actor.mu")
_DETERMINISTIC: Final = ("actor.features_extractor", "actor.mu")

ALGORITHMS: Final[dict[str, Algorithm]] = {
    "a2c": Algorithm("stable_baselines3", "A2C", True, _BOTH, _ACTOR_CRITIC),
    "ppo": Algorithm("stable_baselines3", "PPO", True, _BOTH, _ACTOR_CRITIC),
    "trpo": Algorithm("sb3_contrib", "TRPO", True, _BOTH, _ACTOR_CRITIC, natural=True),
    "ddpg": Algorithm(
        "stable_baselines3",
        "DDPG",
        False,
        ("continuous",),
        _DETERMINISTIC,
        ("actor", "actor_target"),
        noise=0.1,
    ),
    "td3": Algorithm(
        "stable_baselines3",
        "TD3",
        False,
        ("continuous",),
        _DETERMINISTIC,
        ("actor", "actor_target"),
        noise=0.1,
    ),
    "sac": Algorithm("stable_baselines3", "SAC", False, ("continuous",), _GAUSSIAN),
    "tqc": Algorithm("sb3_contrib", "TQC", False, ("continuous",), _GAUSSIAN),
    "dqn": Algorithm(
        "stable_baselines3",
        "DQN",
        False,
        ("discrete",),
        ("q_net.features_extractor", "q_net.q_net"),
        ("q_net", "q_net_target"),
    ),
    "qrdqn": Algorithm(
        "sb3_contrib",
        "QRDQN",
        False,
        ("discrete",),
        ("quantile_net.features_extractor", "quantile_net.quantile_net"),
        ("quantile_net", "quantile_net_target"),
        folds=True,
    ),
}


def algorithm(name: str) -> Algorithm:
    """The row of the name.

    Raises:
        LilliputError: there is none.
    """
    if name not in ALGORITHMS:
        raise LilliputError(f"algo is {name!r}; allowed: {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]
