"""Which algorithm of Stable-Baselines3 or sb3-contrib saved a zip."""

from typing import assert_never

from lilliput.policies.load import sb3_data
from lilliput.policies.load.sb3_layout import family_of
from lilliput.policies.load.sb3_saved import Saved

# The algorithm's own settings in `data`, most telling first; the networks of A2C, PPO and TRPO are alike.
_MARKS: tuple[tuple[str, str], ...] = (
    ("n_delta", "ARS"),
    ("cg_max_steps", "TRPO"),
    ("clip_range", "PPO"),
    ("top_quantiles_to_drop_per_net", "TQC"),
    ("target_entropy", "SAC"),
    ("policy_delay", "TD3"),
)


def algorithm_of(saved: Saved) -> str:
    """Its name; several with "or" between them where they save the same."""
    module, _ = sb3_data.policy_class(saved.data)
    family = family_of(saved.state, saved.name)
    if ".crossq" in module:
        return "CrossQ"
    if ".maskable" in module:
        return "MaskablePPO"
    if any(key.startswith("lstm_actor.") for key in saved.state):
        return "RecurrentPPO"
    found = next((algorithm for mark, algorithm in _MARKS if mark in saved.data), "")
    match family:
        case "q_values":
            return "DQN"
        case "quantiles":
            return "QR-DQN"
        case "actor_critic" if found not in ("PPO", "TRPO"):
            return "A2C" if "gae_lambda" in saved.data else "A2C, PPO or TRPO"
        case "deterministic" if found == "TD3" and _is_ddpg(saved):
            return "DDPG"
        case "actor_critic" | "ars" | "squashed_gaussian" | "deterministic":
            return found or {"ars": "ARS", "deterministic": "TD3 or DDPG"}.get(family, "SAC or TQC")
        case _:
            assert_never(family)


def _is_ddpg(saved: Saved) -> bool:
    return saved.data.get("policy_delay") == 1 and saved.data.get("target_noise_clip") == 0
