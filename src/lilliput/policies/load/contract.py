"""What stands around a network where a robot runs it, as files beside it say: kept as texts, and on request inside.

Unitree's `deploy.yaml` (unitree_rl_lab), and Isaac Lab's `params/env.yaml` and `params/agent.yaml`; what an ONNX file
says of itself (mjlab, Isaac Lab) is in the policy's contract already. Inside means: raw readings in, joint targets out.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import last_action, layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import learner_in
from lilliput.policies.load.rl_zoo import read_yaml
from lilliput.policies.policy import Policy

MAX_ENTRIES, MAX_KEY, MAX_TEXT = 512, 200, 16_384

_TOLD: Final[Mapping[str, str]] = {
    "deploy.yaml": r".*",
    "env.yaml": r"decimation|sim\.dt|actions\..*|observations\.policy\.[^.]+\.(?:scale|clip|history_length)|"
    r"scene\.robot\.init_state\.joint_pos\..*",
    "agent.yaml": r"clip_actions|empirical_normalization|(?:policy|actor)\.(?:class_name|activation|[^.]+\.class_name)",
}
"""What is told of each file, by the path of its settings."""

INSIDE = "inside"
"""What the contract of a policy says that does it itself."""


def beside(folder: Path) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The contract that the files beside a policy say, and a sentence on each that cannot be read.

    They are looked for in the policy's folder, in `params` there, and in `params` beside that (a run's `exported`).
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    for name, told in _TOLD.items():
        places = [folder] if name == "deploy.yaml" else []
        path = next(
            (one / name for one in (*places, folder / "params", folder.parent / "params") if (one / name).is_file()),
            None,
        )
        if path is None:
            continue
        try:
            settings = read_yaml(path)
        except LilliputError as error:
            notes.append(f"what the file beside it says is not read: {error}")
            continue
        said = {f"{name}: {key}": text for key, text in _flat(settings, "") if re.fullmatch(told, key)}
        if len(said) > MAX_ENTRIES or any(len(key) > MAX_KEY or len(text) > MAX_TEXT for key, text in said.items()):
            notes.append(
                f"what the file beside it says is not read: {path.name} has more settings than {MAX_ENTRIES}, or "
                f"longer ones than {MAX_TEXT} characters"
            )
            continue
        found |= said
    return tuple(found.items()), tuple(notes)


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The settings by path, as text: numbers of a list with commas between."""
    match value:
        case dict():
            for key, item in value.items():
                yield from _flat(item, f"{path}.{key}".lstrip("."))
        case [*numbers] if all(isinstance(one, int | float | str) for one in numbers):
            yield path, ",".join(map(str, numbers))
        case _:
            yield path, "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def inside(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """The policy on raw readings whose action is what the robot takes: scaled, moved and clipped as its contract says.

    Raises:
        LilliputError: the contract does not say how, or not for this many numbers.
    """
    front, policy = last_action.apart(checkpoint.policy)
    said = dict(policy.provenance.contract)
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        raise LilliputError(f"{name} gives choices, which no contract scales; leave --contract away")
    if INSIDE in said:
        raise LilliputError(f"{name} has its contract inside already; leave --contract away")
    scale, offset, clip, origin = _action(said, space.size, name)
    readings = _readings(said, policy, name)
    low, high = (np.asarray(bound, np.float64).reshape(-1) * scale + offset for bound in (space.low, space.high))
    low, high = np.minimum(low, high), np.maximum(low, high)
    head: list[Layer] = list(network.rescale_head(scale, offset, name))
    if clip is not None:
        low, high = (np.clip(one, clip[:, 0], clip[:, 1]) for one in (low, high))
        head += network.clip_head(spaces.Box((space.size,), low, high))
    box = spaces.Box(space.shape, low.reshape(space.shape), high.reshape(space.shape), space.dtype)
    what = f"{origin}: action = raw * scale + offset{', clipped' if clip is not None else ''}" + (
        "; observation = raw readings" if readings else ""
    )
    sentence = f"the contract is inside ({what})" + (
        ""
        if front
        else "; where the observation holds the last action, that stays the network's own: (action - offset) / scale, "
        "which --previous-action FROM:TO lets the policy remember"
    )
    front = tuple(
        dataclasses.replace(layer, head=layer.head + len(head)) if isinstance(layer, layers.PreviousAction) else layer
        for layer in front
    )
    provenance = dataclasses.replace(
        policy.provenance,
        guesses=(*policy.provenance.guesses, sentence),
        contract=(*policy.provenance.contract, (INSIDE, what)),
    )
    made = Policy(policy.observation_space, box, (*front, *readings, *policy.layers, *head), provenance)
    return Checkpoint(made, learner_in(checkpoint.learner, scale))


def remembering(checkpoint: Checkpoint, where: Sequence[int], name: str) -> Checkpoint:
    """The policy that remembers its last action, which stands there in its observation, as the network gives it.

    Raises:
        LilliputError: it does not stand there, or the contract is inside already.
    """
    if len(where) != 2 or not all(isinstance(one, int) for one in where):
        raise LilliputError(f"{name}: previous_action is {where!r}; two whole numbers are needed, such as 36 and 48")
    if any(key == INSIDE for key, _ in checkpoint.provenance.contract):
        raise LilliputError(
            f"{name} has its contract inside already, and the last action in an observation is that before it; give "
            "--previous-action and --contract inside together, of the file that this one was made of"
        )
    try:
        return dataclasses.replace(checkpoint, policy=last_action.remembering(checkpoint.policy, where[0], where[1]))
    except LilliputError as error:
        raise LilliputError(f"{name}: {error}") from None


def _action(said: Mapping[str, str], size: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Scale, offset, bounds (actions, 2) or None, and whose they are."""
    terms = {match[1] for key in said if (match := re.fullmatch(r"deploy\.yaml: actions\.([^.]+)\.scale", key))}
    if len(terms) > 1:
        raise LilliputError(
            f"{name}: deploy.yaml has several actions ({', '.join(sorted(terms))[:80]}); supported: one"
        )
    if terms:
        (kind,) = terms
        if kind not in _ACTIONS:
            raise LilliputError(
                f"{name}: deploy.yaml has an action of the class {kind[:60]!r}, which may do something else than scale "
                f"and move; supported: {', '.join(_ACTIONS)}"
            )
        term = f"deploy.yaml: actions.{kind}"
        _refuse_unread(
            said, rf"deploy\.yaml: (?:actions\..*|(?!observations\.)[^.]*{_DOES}[^.]*(?:\..*)?)", _TERM, name
        )
        if f"{term}.offset" not in said:
            raise LilliputError(f"{name}: {term} has no offset; write it there, 0 where nothing is added")
        clip = said.get(f"{term}.clip", "none")
        bounds = None if clip == "none" else _bounds(clip, size, f"{name}: {term}.clip")
        scale, offset = (_numbers(said, f"{term}.{key}", size, name) for key in ("scale", "offset"))
        return scale, offset, bounds, term
    if "action_scale" in said and "default_joint_pos" in said:
        joints = said.get("joint_names", "")
        known = {key for key in said if key == "action_joint_names" and said[key] == joints}
        own = {key: text for key, text in said.items() if not re.match(r"\w+\.yaml: ", key) and key not in known}
        _refuse_unread(own, rf".*{_DOES}.*", _METADATA, name)
        scale, offset = (_numbers(said, key, size, name) for key in ("action_scale", "default_joint_pos"))
        return scale, offset, None, "action_scale and default_joint_pos"
    shown = ", ".join(list(said)[:6]) or "nothing"
    raise LilliputError(
        f"{name} does not say how its action is scaled and moved (it says {shown[:160]}); supported: deploy.yaml of "
        "unitree_rl_lab, or action_scale and default_joint_pos in an ONNX file's metadata"
    )


_ACTIONS: Final = ("JointPositionAction", "JointVelocityAction", "JointEffortAction")
"""Isaac Lab's classes of actions that are scaled and moved, and nothing else."""
_DOES: Final = r"(?i:action|obs|clip|scal|offset|filter|delay|history|norm)"
"""In the name of a setting that may change what goes into the network or comes out of it."""
_TERM: Final = (
    r"deploy\.yaml: (?:actions\.[^.]+\.(?:scale|offset|clip|joint_names|joint_ids|use_default_offset)|commands\..*)"
)
_READING: Final = (
    r"deploy\.yaml: observations\.(?:use_gym_history|scale_first|[^.]+\.(?:scale|clip|history_length|scale_first|params"
    r"(?:\..*)?))"
)
_METADATA: Final = r"action_scale|default_joint_pos|\w*observation\w*_(?:names|dims)|obs_dim|history_length"
"""Settings that are read, or that have no part in what is computed."""


def _refuse_unread(said: Mapping[str, str], told: str, read: str, name: str) -> None:
    """Check that what is told of actions or readings is read, or off.

    Raises:
        LilliputError: a setting would be lost.
    """
    for key, text in said.items():
        if re.fullmatch(told, key) and not re.fullmatch(read, key) and text.lower() not in ("none", "false"):
            raise LilliputError(
                f"{name}: the contract says that {key} is {text[:40]}, which is not read here and may count; take it "
                "out if it does not, or leave --contract away"
            )


def _readings(said: Mapping[str, str], policy: Policy, name: str) -> list[Layer]:
    """The scales and clips of the readings as one layer; none where nothing is said, or nothing is to do."""
    _refuse_unread(said, r"deploy\.yaml: observations\..*", _READING, name)
    prefix = "deploy.yaml: observations"
    found = (re.fullmatch(rf"{re.escape(prefix)}\.([^.]+)\.(?:scale|clip|history_length)", key) for key in said)
    terms = list(dict.fromkeys(match[1] for match in found if match))
    idle = all(said.get(f"{prefix}.{term}.{key}", "none") == "none" for term in terms for key in ("scale", "clip"))
    if not terms or idle:
        return []
    n = spaces.input_shape(policy.observation_space)
    parts = [_reading(said, f"{prefix}.{term}", name) for term in terms]
    steps = [count for _, _, count in parts]
    if sum(scale.size * count for scale, _, count in parts) != math.prod(n) or len(n) != 1:
        total = sum(scale.size * count for scale, _, count in parts)
        raise LilliputError(f"{name} takes {list(n)} numbers, and deploy.yaml scales {total}; they must fit")
    if said.get(f"{prefix}.use_gym_history", "false") == "true":  # frame by frame, not reading by reading
        if len(set(steps)) > 1:
            raise LilliputError(f"{name}: deploy.yaml: histories of {steps[:8]} steps, frame by frame; they must agree")
        frames = [np.concatenate([part[index] for part in parts]) for index in (0, 1)]
        scale, clip = (np.tile(frame, steps[0]) for frame in frames)
    else:
        scale, clip = (np.concatenate([np.tile(part[index], part[2]) for part in parts]) for index in (0, 1))
    if (scale == 1).all() and np.isinf(clip).all():
        return []
    return [layers.Standardize(np.zeros(n, np.float32), scale.astype(np.float32), clip.astype(np.float32))]


def _reading(said: Mapping[str, str], term: str, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Of one reading at one step: its scales, the bounds of what they give; and of how many steps it is."""
    if said.get(f"{term}.scale", "none") == "none":
        raise LilliputError(f"{name}: {term} has no scale; write one there for each of its numbers, 1.0 for none")
    scale = _numbers(said, f"{term}.scale", 0, name)
    text = said.get(f"{term}.history_length", "1")
    steps = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not steps:
        raise LilliputError(f"{name}: {term}.history_length is {text[:40]}; it must be a whole number from 1")
    low, high = (-np.inf, np.inf)
    if said.get(f"{term}.clip", "none") != "none":
        low, high = _numbers(said, f"{term}.clip", 2, name)
    if low != -high:
        raise LilliputError(f"{name}: {term}.clip is {said[f'{term}.clip'][:40]}; supported: from -c to c")
    if not scale.all():
        raise LilliputError(f"{name}: {term}.scale has a 0: take that reading off the observation")
    everywhere = said.get(f"{term.rpartition('.')[0]}.scale_first", "false")
    behind = said.get(f"{term}.scale_first", everywhere) == "true"
    return scale, np.full(scale.shape, high) if behind else np.abs(scale) * high, steps


def _numbers(said: Mapping[str, str], key: str, size: int, name: str) -> np.ndarray:
    """The numbers of a setting, as many as `size` (one counts for all); 0: any number of them."""
    text = said[key]
    try:
        found = np.array([float(one) for one in text.strip("[]() ").split(",")])
    except ValueError:
        raise LilliputError(f"{name}: the contract says {text[:60]!r} where {key} should be numbers") from None
    if not np.isfinite(found).all() or (size and found.size not in (1, size)):
        raise LilliputError(f"{name}: {key} of the contract is {text[:60]}; {size or 'finite'} numbers are needed")
    return found if not size else np.array(np.broadcast_to(found, (size,)))


def _bounds(text: str, size: int, where: str) -> np.ndarray:
    try:
        found = np.asarray(json.loads(text), np.float64).reshape(-1, 2)
        return np.array(np.broadcast_to(found, (size, 2)))
    except ValueError:
        raise LilliputError(f"{where} is {text[:60]}; it must be two numbers an action") from None
