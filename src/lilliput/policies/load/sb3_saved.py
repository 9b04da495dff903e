"""A Stable-Baselines3 zip as it was parsed, and the hidden activation of its policy."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import flow_pattern, sb3_data
from lilliput.policies.load.options import Options
from lilliput.policies.load.torch_activation import BY_CLASS, BY_OPTION

WAY_OUT = "export the actor, from observation to action, with torch.onnx.export and give the .onnx file"
_SELU = layers.Elu(flow_pattern.SELU[0])
"""SELU without its outer scale, which `scaled` takes up."""
_ACTIVATIONS = {**BY_CLASS, "SELU": (_SELU,)}
_OURS = ("stable_baselines3", "sb3_contrib", "abc")
_SUBCLASSES = (("imitation.policies.base", "FeedForward32Policy"), ("imitation.policies.base", "SAC1024Policy"))
"""Policy classes of other libraries that only set the sizes of the framework's own networks."""
_CLASSES = {
    f"{prefix}{kind}"
    for prefix in ("", "Maskable", "Recurrent")
    for kind in ("ActorCriticPolicy", "ActorCriticCnnPolicy", "MultiInputActorCriticPolicy")
} | {
    *("SACPolicy", "TD3Policy", "DQNPolicy", "TQCPolicy", "QRDQNPolicy", "CrossQPolicy", "ARSPolicy"),
    *("ARSLinearPolicy", "CnnPolicy", "MultiInputPolicy"),
}
"""The framework's own: another one in its modules is of a changed copy."""


@final
@dataclass(frozen=True)
class SavedZip:
    """What a zip holds, what the user says besides, and what the loader had to assume so far."""

    name: str
    options: Options
    data: dict[str, Any]
    state: dict[str, np.ndarray]
    kwargs: dict[str, Any]
    observation_space: spaces.ObservationSpace
    action_space: spaces.ActionSpace
    guesses: list[str]

    def activation(self, default: str) -> Sequence[Layer]:
        """The layers of the hidden activation: as told, as the file names it, or the framework's default, noted.

        Raises:
            LilliputError: the policy's class is the user's own, and nothing names its activation.
        """
        given = self.kwargs.get("activation_fn")
        if self.options.activation is not None and (given is None or self.custom):
            self.guesses.append(f"the hidden activation is not in the file: {self.options.activation}, as given")
            return self.options.activation_layers(self.name)
        if given is None:
            if self.custom:
                raise LilliputError(
                    f"{self.name}: its policy class {self.custom} is not the framework's, and the file does not say "
                    "which activation stands behind its hidden layers; give --activation "
                    f"{'|'.join(BY_OPTION)}"
                )
            self.guesses.append(
                f"the hidden activation is not in the file: {default}, the framework's default for this family"
            )
            return BY_CLASS[default]
        kind = sb3_data.class_of(given).rpartition(".")[2]
        if kind not in _ACTIVATIONS or not sb3_data.class_of(given).startswith("torch.nn."):
            raise LilliputError(
                f"{self.name}: activation_fn is {str(given)[:80]!r}; supported: torch.nn's "
                f"{', '.join(_ACTIVATIONS)}; {WAY_OUT}"
            )
        if self.custom:
            self.guesses.append(f"the hidden activation is {kind}, as policy_kwargs say; the class may overrule them")
        return _ACTIVATIONS[kind]

    def flag(self, argument: str, *, default: bool) -> bool:
        """Whether an argument of the policy is on."""
        return sb3_data.flag(self.kwargs.get(argument, default), argument, self.name)

    @property
    def custom(self) -> str:
        """The policy's class where it is not the framework's; else empty."""
        module, kind = sb3_data.policy_class(self.data)
        theirs = module.partition(".")[0] in _OURS and (not kind or kind in _CLASSES)
        if not module or theirs or (module, kind) in _SUBCLASSES:
            return ""
        return f"{module}.{kind}".strip(".")


def scaled(stack: Sequence[Layer], name: str) -> list[Layer]:
    """The layers with the outer scale of each SELU in the weights behind it.

    Raises:
        LilliputError: something else stands behind one.
    """
    found = list(stack)
    for i, layer in enumerate(stack):
        if layer != _SELU:
            continue
        behind = found[i + 1] if i + 1 < len(found) else None
        if not isinstance(behind, layers.Dense):
            raise LilliputError(f"{name} has a SELU without a Linear layer right behind it; {WAY_OUT}")
        found[i + 1] = layers.Dense((behind.weight * flow_pattern.SELU[1]).astype(np.float32), behind.bias)
    return found


def say_changed(saved: SavedZip, hidden: str, default: list[int], *, headed: bool = False) -> None:
    """Note that a framework's own policy has other hidden layers than it was made with: they were changed by hand.

    Args:
        saved: the zip.
        hidden: a regular expression of the Sequentials that hold the hidden layers.
        default: their sizes where nothing is said.
        headed: whether the Sequential's last layer is the head.
    """
    if saved.custom or sb3_data.policy_class(saved.data) in _SUBCLASSES:
        return
    match saved.kwargs.get("net_arch"):
        case {"pi": [*said]} | [{"pi": [*said]}]:
            pass
        case [*said] if all(isinstance(one, int) for one in said):
            pass
        case None if not any("features_extractor." in key for key in saved.state):
            said = default
        case _:
            return
    pattern = re.compile(rf"(?:{hidden})\.\d+\.weight")
    found = [len(array) for key, array in saved.state.items() if pattern.fullmatch(key) and array.ndim == 2]
    found = found[:-1] if headed else found
    if found != said:
        saved.guesses.append(
            f"its hidden layers are {str(found)[:60]}, not {str(said)[:60]} that it was made with: changed by hand; "
            "what else stands between and behind them is in no file; an activation is taken to stand behind each"
        )
