"""The settings that an algorithm trains with: the zoo's tuned ones for an environment, and what the user says."""

import functools
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, final

from lilliput.errors import LilliputError, closest
from lilliput.policies.learn.rl import setting
from lilliput.policies.learn.rl.algorithm import Algorithm

_OURS: Final = ("n_envs", "normalize", "frame_stack", "noise_type", "noise_std", "policy_kwargs", "n_timesteps")
"""What stands in the zoo's rows and is no argument of the framework's class."""

_FIXED: Final = frozenset(
    {
        "_init_setup_model",
        "action_noise",
        "device",
        "env",
        "monitor_wrapper",
        "optimize_memory_usage",
        "policy",
        "policy_kwargs",
        "replay_buffer_class",
        "replay_buffer_kwargs",
        "rollout_buffer_class",
        "rollout_buffer_kwargs",
        "seed",
        "stats_window_size",
        "tensorboard_log",
        "verbose",
    }
)
"""Arguments of the frameworks' classes that are not the user's to set here."""

ACTIVATIONS: Final = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "elu": "ELU",
    "silu": "SiLU",
    "gelu": "GELU",
    "leakyrelu": "LeakyReLU",
}
"""Names of hidden activations, and torch's."""

_VERSION = re.compile(r"-v\d+$")


@final
@dataclass(frozen=True)
class Hyperparameters:
    """What trains how.

    Attributes:
        arguments: of the framework's class.
        policy: of its networks: `net_arch`, `activation`, `log_std_init`, ...
        n_envs: environments that play side by side.
        normalize: whether observations (and rewards) are scaled by running statistics.
        noise: standard deviation of the noise on deterministic actions; 0 for none.
        source: where they are from, in words.
    """

    arguments: dict[str, Any]
    policy: dict[str, Any]
    n_envs: int
    normalize: bool
    noise: float
    source: str


@functools.cache
def _zoo() -> dict[str, Any]:
    return json.loads(files("lilliput.policies.learn.rl").joinpath("hyperparameters.json").read_text())


def tuned(algorithm: str, environment: str, *, image: bool) -> tuple[dict[str, Any], str]:
    """The zoo's row for an environment, and where it is from; an empty row where it has none.

    A row of another version of the same environment counts, and is named.
    """
    rows = _zoo()["algorithms"].get(algorithm, {})
    name = environment.rpartition(":")[2]
    if image and ("NoFrameskip" in name or name.startswith("ALE/")):
        return rows.get("atari", {}), f"{_zoo()['source']}, for Atari games"
    if name in rows:
        return rows[name], f"{_zoo()['source']}, for {name}"
    alike = [row for row in rows if _VERSION.sub("", row) == _VERSION.sub("", name)]
    if alike:
        return rows[alike[-1]], f"{_zoo()['source']}, tuned on {alike[-1]}"
    return {}, "the framework's defaults: nothing tuned is known for this environment"


def hyperparameters(
    algorithm: str,
    row: Algorithm,
    environment: str,
    settings: Mapping[str, Any],
    *,
    hidden: tuple[int, ...] | None = None,
    activation: str | None = None,
    normalize: bool | None = None,
    image: bool = False,
    networks: Mapping[str, Any] | None = None,
) -> Hyperparameters:
    """The tuned settings of the environment with the user's in their place.

    Args:
        algorithm: its name.
        row: what is known of it.
        environment: its id.
        settings: arguments of the framework's class, `n_envs` and, where it plays with noise, `noise_std`;
            `{"linear": x}` falls from x to 0.
        hidden: units of the deciding network's hidden layers; critics keep theirs.
        activation: of the hidden layers.
        normalize: whether observations are scaled by running statistics; None: as tuned.
        image: whether observations are images.
        networks: in the place of the tuned ones: those of a policy that goes on learning.

    Raises:
        LilliputError: a setting that the algorithm does not have, or a value out of range.
    """
    found, source = tuned(algorithm, environment, image=image)
    merged = {key: value for key, value in found.items() if key != "n_timesteps"} | dict(settings)
    accepted = accepted_by(row)
    allowed = accepted | {"n_envs"} | ({"noise_std"} if row.noise else set())
    for name, value in settings.items():
        if name not in allowed:
            near = closest(name, allowed)
            raise LilliputError(f"{algorithm} has no setting {name!r}; {near}allowed: {', '.join(sorted(allowed))}")
        setting.check(name, value)
    policy = dict(merged.get("policy_kwargs", {}) if networks is None else networks)
    if hidden is not None:
        policy["net_arch"] = _architecture(row, hidden, policy.get("net_arch"))
    if activation is not None:
        if activation not in ACTIVATIONS:
            near = closest(activation, ACTIVATIONS)
            raise LilliputError(f"activation is {activation!r}; {near}allowed: {', '.join(ACTIVATIONS)}")
        policy["activation"] = activation
    wanted = merged.get("normalize", False) if normalize is None else normalize
    noise = merged.get("noise_std", row.noise)
    arguments = {key: value for key, value in merged.items() if key not in _OURS and key in accepted}
    return Hyperparameters(arguments, policy, merged.get("n_envs", 1), bool(wanted), float(noise), source)


def accepted_by(row: Algorithm) -> frozenset[str]:
    """The arguments of the framework's class that are the user's to set."""
    return frozenset(inspect.signature(row.load().__init__).parameters) - _FIXED - {"self"}


def _architecture(row: Algorithm, hidden: tuple[int, ...], now: Any) -> Any:
    """The framework's `net_arch` with these hidden layers in the deciding network, and the critic's as they are."""
    if any(not isinstance(units, int) or not 1 <= units <= 65_536 for units in hidden):
        raise LilliputError(f"hidden is {','.join(map(str, hidden))}; each layer must have 1 to 65536 units")
    if row.actions == ("discrete",):
        return list(hidden)
    critic = "vf" if row.on_policy else "qf"
    default = [64, 64] if row.on_policy else [256, 256]
    before = now.get(critic, default) if isinstance(now, dict) else (now or default)
    return {"pi": list(hidden), critic: list(before)}
