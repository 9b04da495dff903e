"""What each setting of the frameworks' classes may be: they take much that then trains nothing, or something else."""

import math
from typing import Any, Final

from lilliput.errors import LilliputError, closest

COUNTS: Final = {
    "batch_size": 1,
    "buffer_size": 1,
    "cg_max_steps": 1,
    "gradient_steps": -1,
    "learning_starts": 0,
    "line_search_max_iter": 1,
    "n_critic_updates": 1,
    "n_envs": 1,
    "n_epochs": 1,
    "n_steps": 1,
    "policy_delay": 1,
    "sde_sample_freq": -1,
    "sub_sampling_factor": 1,
    "target_update_interval": 1,
    "top_quantiles_to_drop_per_net": 0,
    "train_freq": 1,
}
"""Integers, and the least of each."""
SHARES: Final = (
    "exploration_final_eps",
    "exploration_fraction",
    "exploration_initial_eps",
    "gae_lambda",
    "gamma",
    "line_search_shrinking_factor",
    "tau",
)
SWITCHES: Final = ("normalize_advantage", "use_rms_prop", "use_sde", "use_sde_at_warmup")
NUMBERS: Final = (
    "cg_damping",
    "clip_range",
    "clip_range_vf",
    "ent_coef",
    "learning_rate",
    "max_grad_norm",
    "noise_std",
    "rms_prop_eps",
    "target_entropy",
    "target_kl",
    "target_noise_clip",
    "target_policy_noise",
    "vf_coef",
)
"""Numbers from 0; only the entropy that is aimed at may be below."""
_SCHEDULES: Final = ("clip_range", "clip_range_vf", "learning_rate")
_WITHOUT: Final = ("clip_range_vf", "max_grad_norm", "target_kl")
_AUTOMATIC: Final = ("ent_coef", "target_entropy")
_UNITS: Final = ("step", "episode")


def check(name: str, value: Any) -> None:
    """Check that a setting may be that.

    Raises:
        LilliputError: it may not.

    >>> check("learning_rate", {"linear": 3e-4})
    >>> check("batch_size", 0)
    Traceback (most recent call last):
    lilliput.errors.LilliputError: batch_size is 0; it must be an integer from 1
    """
    if name in SWITCHES:
        good, allowed = isinstance(value, bool), "true or false"
    elif name == "train_freq" and isinstance(value, list):
        good = len(value) == 2 and _is_count(value[0], 1) and value[1] in _UNITS
        allowed = f"an integer from 1, or such as [1, {_UNITS[1]!r}]"
    elif name in COUNTS:
        good, allowed = _is_count(value, COUNTS[name]), f"an integer from {COUNTS[name]}"
        if COUNTS[name] < 0:
            good, allowed = good and value != 0, f"{COUNTS[name]}, or an integer from 1"
    elif name in SHARES:
        good, allowed = _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"
    elif name in NUMBERS:
        good, allowed = _is_amount(name, value)
    else:
        known = sorted((*COUNTS, *SHARES, *NUMBERS, *SWITCHES))
        raise LilliputError(
            f"there is no setting {str(name)[:40]!r}; {closest(str(name), known)}allowed: {', '.join(known)}"
        )
    if not good:
        raise LilliputError(f"{name} is {str(value)[:80]}; it must be {allowed}")


def _is_amount(name: str, value: Any) -> tuple[bool, str]:
    allowed, good = ["a number" if name == "target_entropy" else "a number from 0"], _is_number(value)
    good = good and (value >= 0 or name == "target_entropy")
    if name in _SCHEDULES:
        allowed.append('{"linear": a number}, which falls to 0')
        falls = isinstance(value, dict) and set(value) == {"linear"} and _is_number(value["linear"])
        good = good or (falls and value["linear"] >= 0)
    if name in _WITHOUT:
        allowed.append("null")
        good = good or value is None
    if name in _AUTOMATIC:
        allowed.append("auto")
        good = good or value == "auto"
    return good, ", or ".join(allowed)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
