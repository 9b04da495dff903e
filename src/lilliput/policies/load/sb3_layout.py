"""Which of Stable-Baselines3's families of policies a state dict is, by all of its keys."""

import re
from typing import Final, Literal

from lilliput.errors import LilliputError
from lilliput.policies.load import network
from lilliput.policies.load.network import State

Family = Literal["actor_critic", "ars", "squashed_gaussian", "deterministic", "q_values", "quantiles"]
"""A2C, PPO and TRPO; ARS; SAC, TQC and CrossQ; TD3 and DDPG; DQN; QR-DQN."""

_NUMBERED = r"\d+\.\w+"
_LINEAR = r"(weight|bias)"
_FEATURES = rf"features_extractor\.(cnn\.\d+|linear\.0|extractors\..+)\.{_LINEAR}"

LAYOUTS: Final[dict[Family, tuple[str, ...]]] = {
    "actor_critic": (
        rf"(pi_|vf_)?{_FEATURES}",
        rf"mlp_extractor\.(shared_net|policy_net|value_net)\.{_NUMBERED}",
        rf"(action|value)_net\.{_LINEAR}",
        r"lstm_(actor|critic)\.(weight|bias)_(ih|hh)_l\d+",
        rf"critic\.{_LINEAR}",
        "log_std",
    ),
    "ars": (_FEATURES, rf"action_net\.({_NUMBERED}|{_LINEAR})"),
    "squashed_gaussian": (
        rf"actor\.{_FEATURES}",
        rf"actor\.latent_pi\.{_NUMBERED}",
        rf"actor\.mu\.(0\.)?{_LINEAR}",
        rf"actor\.log_std(\.{_LINEAR})?",
        r"critic(_target)?\..*",
    ),
    "deterministic": (rf"actor(_target)?\.{_FEATURES}", rf"actor(_target)?\.mu\.{_NUMBERED}", r"critic(_target)?\..*"),
    "q_values": (rf"q_net(_target)?\.{_FEATURES}", rf"q_net(_target)?\.q_net\.{_NUMBERED}"),
    "quantiles": (rf"quantile_net(_target)?\.{_FEATURES}", rf"quantile_net(_target)?\.quantile_net\.{_NUMBERED}"),
}
"""Patterns of all keys that the framework's own policies have: read as the actor, or of what acting does not need."""


def family_of(state: State, name: str) -> Family:
    """The family of the state dict, which has no keys besides that family's.

    Raises:
        LilliputError: none, or keys besides: the policy may do more than its known layers do.
    """
    family = _family(state, name)
    others = [key for key in state if not any(re.fullmatch(pattern, key) for pattern in LAYOUTS[family])]
    if others:
        shown = ", ".join(repr(key[:60]) for key in others[:4]) + (f" and {len(others) - 4} more" if others[4:] else "")
        raise LilliputError(
            f"{name}: policy.pth has {shown}, which the framework's own policies do not have; export the actor with "
            "torch.onnx.export and give the .onnx file"
        )
    return family


def _family(state: State, name: str) -> Family:
    if "action_net.weight" in state and network.has(state, "value_net."):
        return "actor_critic"
    if network.has(state, "action_net."):
        return "ars"
    if network.has(state, "actor.latent_pi.") or "actor.mu.weight" in state or network.has(state, "actor.log_std"):
        return "squashed_gaussian"
    if network.has(state, "actor.mu."):
        return "deterministic"
    if network.has(state, "q_net.q_net."):
        return "q_values"
    if network.has(state, "quantile_net.quantile_net."):
        return "quantiles"
    first = ", ".join(sorted(state)[:4])
    raise LilliputError(
        f"{name}: policy.pth has {first}, ...; supported: the policies of A2C, PPO, TRPO, ARS, SAC, TD3, DDPG, TQC, "
        "DQN and QR-DQN"
    )
