"""Which algorithm of Stable-Baselines3 or sb3-contrib saved a zip."""

from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np

from lilliput.policies.load import sb3_data
from lilliput.policies.load.sb3_layout import family_of

# The algorithm's own settings in `data`, most telling first; the networks of A2C, PPO and TRPO are alike.
_MARKS: tuple[tuple[str, str], ...] = (
    ("n_delta", "ARS"),
    ("cg_max_steps", "TRPO"),
    ("clip_range", "PPO"),
    ("top_quantiles_to_drop_per_net", "TQC"),
    ("target_entropy", "SAC"),
    ("policy_delay", "TD3"),
)


def algorithm_of(data: dict[str, Any], state: Mapping[str, np.ndarray], name: str) -> str:
    """The algorithm's name, by what the zip of that name holds; several with "or" between where they save the same."""
    module, _ = sb3_data.policy_class(data)
    family = family_of(state, name)
    if ".crossq" in module:
        return "CrossQ"
    if ".maskable" in module:
        return "MaskablePPO"
    if any(key.startswith("lstm_actor.") for key in state):
        return "RecurrentPPO"
    found = next((algorithm for mark, algorithm in _MARKS if mark in data), "")
    match family:
        case "q_values":
            return "DQN"
        case "quantiles":
            return "QR-DQN"
        case "actor_critic" if found not in ("PPO", "TRPO"):
            return "A2C" if "gae_lambda" in data else "A2C, PPO or TRPO"
        case "deterministic" if found == "TD3" and _is_ddpg(data):
            return "DDPG"
        case "actor_critic" | "ars" | "squashed_gaussian" | "deterministic":
            return found or {"ars": "ARS", "deterministic": "TD3 or DDPG"}.get(family, "SAC or TQC")
        case _:
            assert_never(family)


def _is_ddpg(data: dict[str, Any]) -> bool:
    return data.get("policy_delay") == 1 and data.get("target_noise_clip") == 0
