"""A closed layout of a state dict: the whole set of its keys, and what is said where a file has others."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy

WAY_OUT = (
    "export the whole policy from the program that made it, torch.onnx.export(policy, torch.zeros(1, n_observations), "
    "'policy.onnx'), and give the ONNX file"
)

_MEANINGS = (
    (r"memory|rnn|lstm|gru|hidden_state", "it has a memory"),
    (r"estimat|adapt|encod|latent|history|teacher|transformer|attention", "another network feeds the actor"),
    (r"conv|cnn|image|vision|pool", "its observations go through a network for images"),
    (
        r"(?:\.\d+|bn\w*)\.running_(?:mean|var)$|^(?!.*(?:obs|state|input|normaliz)).*num_batches_tracked$",
        "a batch normalization stands among its layers",
    ),
    (
        r"obs\w*norm|normaliz|rms|running|preprocessor|obs_mean|obs_std|state_mean|state_std",
        "its observations are normalized",
    ),
    (r"atoms|quantile|support|adv|noisy|sigma_weight", "its outputs are no plain values of actions"),
    (r"std|sigma|logvar", "it has the spread of real actions"),
)
"""What keys that are left over tell of a network, the strongest first."""


_NO_LAYER = (
    (
        r"(?:^|\.)image_conv\.5\.weight$",
        (
            "has rl-starter-files' network for pictures (torch-ac, image_conv), which pools them, and no layer here "
            "does: train it with a stride of 2 in the convolution instead, and export that as ONNX"
        ),
    ),
    (
        r"(?:^|\.)atoms$",
        "has C51's distributions over atoms, which no layer here computes, in ONNX neither: train a DQN or QR-DQN",
    ),
)
"""What keys tell of networks that no file of Lilliput can hold, so that no other file of them helps."""


@final
@dataclass(frozen=True)
class Layout:
    """A kind of state dict.

    Attributes:
        what: its name, as errors and docs/formats.md spell it.
        keys: regular expressions; each is the whole name of one key or more of such a file.
        learner: of keys that may be there and are not the policy's.
        before: what its program is known to do to the observation that no file holds; behind: the program's settings,
            in no file either, of what it does with the outputs.
        layer_norms: whether its program's norms are torch's LayerNorm and nothing else.
        read: its reader; it may still refuse. It gives the policy alone where the keys tell nothing of a learner.
    """

    what: str
    keys: tuple[str, ...]
    read: Callable[[Saved, Source], Policy | Checkpoint]
    learner: tuple[str, ...] = ()
    before: str = ""
    behind: str = ""
    layer_norms: bool = False

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The expressions that no key of the file is."""
        names = list(keys)
        return [one for one in self.keys if not any(re.fullmatch(one, key) for key in names)]

    def left_over(self, keys: Iterable[str]) -> list[str]:
        """The file's keys that this layout does not have."""
        whole = re.compile("|".join(f"(?:{one})" for one in (*self.keys, *self.learner)))
        return [key for key in keys if not whole.fullmatch(key)]


def linear(*prefixes: str) -> tuple[str, ...]:
    """The expressions of Linear modules of these names."""
    return tuple(rf"{re.escape(prefix)}\.(?:weight|bias)" for prefix in prefixes)


def numbered(*prefixes: str) -> tuple[str, ...]:
    """The expressions of Sequentials of these names."""
    return tuple(rf"{re.escape(prefix)}\.\d+\.(?:weight|bias)" for prefix in prefixes)


def recognise(saved: Saved, layouts: Sequence[Layout]) -> Layout | None:
    """The layout that has all of the file's keys, and all of whose keys the file has; None where there is none."""
    if saved.objects or not saved.arrays:
        return None
    for layout in layouts:
        if not layout.missing(saved.arrays) and not layout.left_over(saved.arrays):
            return layout
    return None


def refusal(saved: Saved, layouts: Sequence[Layout]) -> LilliputError:
    """What is said of a file that is of no layout: its keys, the nearest layout, what is left over, the way out."""
    if saved.objects:
        path, kind = next(iter(saved.objects.items()))
        where = f" under {path[:60]!r}" if path else ""
        if path.startswith("data.") and ".spaces." in kind:
            return LilliputError(
                f"{saved.name} is a policy that Stable-Baselines3 or imitation saved alone (policy.save()); give the "
                "zip that model.save() writes, or save its weights, torch.save(policy.state_dict(), 'policy.pt'), and "
                "say what these leave open (--activation, --action, the bounds)"
            )
        return LilliputError(
            f"{saved.name} holds a pickled {kind[:80]}{where}, which is not read; save the policy's state_dict() alone "
            f"with torch.save, or {WAY_OUT}"
        )
    if not saved.arrays:
        return LilliputError(f"{saved.name} holds no tensors; save policy.state_dict() with torch.save")
    keys = saved.arrays
    if any(re.match(r"mlp_extractor\.|(?:actor\.)?latent_pi\.|q_net\.q_net\.|quantile_net\.", key) for key in keys):
        return LilliputError(
            f"{saved.name} is a policy's state dict out of a Stable-Baselines3 zip, which also says the spaces and the "
            "activation; give the zip itself"
        )
    if twins := _twins(saved, layouts):
        return LilliputError(
            f"{saved.name} holds two networks of the same layout in one file ({' and '.join(twins)}), and does not say "
            "which acts; save the one that does alone, with torch.save"
        )
    if any(key.startswith("policy._encoder.") for key in keys):
        return LilliputError(
            f"{saved.name} is what d3rlpy's save_model() writes, without its scalers; give the file of "
            "agent.save_policy('policy.pt'), which holds the whole policy"
        )
    if no_layer := next((text for pattern, text in _NO_LAYER if any(re.search(pattern, key) for key in keys)), ""):
        return LilliputError(f"{saved.name} {no_layer}")
    nearest = min(layouts, key=lambda layout: len(layout.missing(keys)) + len(layout.left_over(keys)))
    gone, over = nearest.missing(keys), nearest.left_over(keys)
    if over:
        for member in dict.fromkeys(key.partition(".")[0] for key in keys):
            inside = {
                key.removeprefix(f"{member}."): array for key, array in keys.items() if key.startswith(f"{member}.")
            }
            if (layout := recognise(dataclasses.replace(saved, arrays=inside), layouts)) is not None:
                beside = [key for key in keys if not key.startswith(f"{member}.")]
                if not beside:
                    return LilliputError(
                        f"{saved.name} has the keys of {layout.what} behind {member[:40] + '.'!r}: a part of a module "
                        "of another program, which may do more than its part; save that part's state_dict() alone if "
                        f"it does not, or {WAY_OUT}"
                    )
                return _almost(saved.name, layout.what, [f"has {listed(beside)} besides{_meaning(beside)}"])
    if len(gone) * 2 <= len(nearest.keys) and len(over) < len(keys):
        differences = [f"has {listed(over)} besides{_meaning(over)}"] if over else []
        differences += [f"has no {listed(map(_readable, gone))}"] if gone else []
        return _almost(saved.name, nearest.what, differences)
    return LilliputError(
        f"{saved.name} holds {listed(keys)}: no layout of a state dict that is known here (docs/formats.md lists "
        f"them); {WAY_OUT}"
    )


def _twins(saved: Saved, layouts: Sequence[Layout]) -> tuple[str, ...]:
    """The first two members of the file whose keys are the same and of one layout; none where there are none."""
    found: dict[frozenset[str], str] = {}
    members: dict[str, dict[str, np.ndarray]] = {}
    for key, array in saved.arrays.items():
        member, _, rest = key.partition(".")
        # What stands first in a list has no number in front.
        listed_first = not member.startswith("[") and any(one.startswith("[1].") for one in saved.arrays)
        members.setdefault("[0]" if listed_first else member, {})[key if listed_first else rest] = array
    for member, arrays in members.items():
        keys = frozenset(arrays)
        if keys in found and recognise(dataclasses.replace(saved, arrays=arrays), layouts) is not None:
            return found[keys][:40], member[:40]
        found.setdefault(keys, member)
    return ()


def _meaning(over: Sequence[str]) -> str:
    found = next((text for pattern, text in _MEANINGS if any(re.search(pattern, key) for key in over)), "")
    return f" ({found})" if found else ""


def _almost(name: str, what: str, differences: Sequence[str]) -> LilliputError:
    return LilliputError(
        f"{name} is almost {what}, but {' and '.join(differences)}; a layout is read whole or not at all: {WAY_OUT}"
    )


def _readable(expression: str) -> str:
    """A key's expression as people write keys.

    >>> _readable(linear("fc1")[0]), _readable(numbered("actor")[0])
    ('fc1.weight|bias', 'actor.*.weight|bias')
    """
    return re.sub(r"\\(?=\W)|\(\?:|\)", "", expression.replace(r"\d+", "*"))


def listed(keys: Iterable[str], most: int = 4) -> str:
    """A few of the keys."""
    names = list(keys)
    return ", ".join(name[:50] for name in names[:most]) + (
        f" and {len(names) - most} more" if len(names) > most else ""
    )
