"""What stands around a network where a robot runs it, as files beside it say: kept as texts, and on request inside.

Unitree's `deploy.yaml` (unitree_rl_lab), and Isaac Lab's `params/env.yaml` and `params/agent.yaml`; what an ONNX file
says of itself (mjlab, Isaac Lab) is in the policy's contract already. Inside means: raw readings in, joint targets out.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import last_action, layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import learner_in
from lilliput.policies.load.rl_zoo import read_yaml
from lilliput.policies.policy import Policy
from lilliput.policies.readings import (
    DOES,
    READ_METADATA,
    numbers,
    place_of_last_action,
    raw_readings,
    refuse_unread,
)  # fmt: skip

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
    readings = raw_readings(said, policy, name)
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
    place = _place(said, policy, name, scaled=True)
    sentence = f"the contract is inside ({what})" + (
        ""
        if front
        else f"; where the observation holds the last action{place and f' ({place})'}, that stays the network's own: "
        f"(action - offset) / scale, which --previous-action {place or 'FROM:TO'} lets the policy remember"
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


def remembering(
    checkpoint: Checkpoint, where: Sequence[int] | Literal["contract"], name: str, *, scaled: bool
) -> Checkpoint:
    """The policy that remembers its last action, which stands there in its observation, as the network gives it.

    Args:
        checkpoint: the policy.
        where: from which number to before which; "contract": where that says.
        name: the policy's.
        scaled: whether the contract goes inside as well.

    Raises:
        LilliputError: it does not stand there, or the contract is inside already.
    """
    policy, told_by = checkpoint.policy, ""
    if any(key == INSIDE for key, _ in policy.provenance.contract):
        raise LilliputError(
            f"{name} has its contract inside already, and the last action in an observation is that before it; give "
            "--previous-action and --contract inside together, of the file that this one was made of"
        )
    if where == "contract":
        start, stop, told_by = place_of_last_action(dict(policy.provenance.contract), policy, name, scaled=scaled)
    elif len(where) == 2 and all(isinstance(one, int) for one in where):
        start, stop = where
    else:
        raise LilliputError(
            f'{name}: previous_action is {where!r}; two whole numbers are needed, such as 36 and 48, or "contract"'
        )
    try:
        return dataclasses.replace(checkpoint, policy=last_action.remembering(policy, start, stop, told_by))
    except LilliputError as error:
        raise LilliputError(f"{name}: {error}") from None


def remark(policy: Policy, name: str) -> tuple[str, ...]:
    """A sentence on where the observation holds the policy's last action, if its contract tells that beyond doubt."""
    front, behind = last_action.apart(policy)
    place = "" if front else _place(dict(policy.provenance.contract), behind, name, scaled=False)
    return (f"the observation holds the last action at {place}: --previous-action {place} remembers it",) * bool(place)


def _place(said: Mapping[str, str], policy: Policy, name: str, *, scaled: bool) -> str:
    try:
        start, stop, _ = place_of_last_action(said, policy, name, scaled=scaled)
    except LilliputError:
        return ""
    return f"{start}:{stop}"


def _action(said: Mapping[str, str], size: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Scale, offset, bounds (actions, 2) or None, and whose they are."""
    terms = {match[1] for key in said if (match := re.fullmatch(r"deploy\.yaml: actions\.([^.]+)(?:\..*)?", key))}
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
        refuse_unread(said, rf"deploy\.yaml: (?:actions\..*|(?!observations\.)[^.]*{DOES}[^.]*(?:\..*)?)", _TERM, name)
        for part, none in (("scale", "1 where nothing is scaled"), ("offset", "0 where nothing is added")):
            if said.get(f"{term}.{part}", "none") == "none":
                raise LilliputError(f"{name}: {term} has no {part}; write it there, {none}")
        clip = said.get(f"{term}.clip", "none")
        bounds = None if clip == "none" else _bounds(clip, size, f"{name}: {term}.clip")
        scale, offset = (numbers(said, f"{term}.{key}", size, name) for key in ("scale", "offset"))
        return scale, offset, bounds, term
    if "action_scale" in said and "default_joint_pos" in said:
        joints = said.get("joint_names", "")
        known = {key for key in said if key == "action_joint_names" and said[key] == joints}
        own = {key: text for key, text in said.items() if not re.match(r"\w+\.yaml: ", key) and key not in known}
        refuse_unread(own, rf".*{DOES}.*", _METADATA, name)
        scale, offset = (numbers(said, key, size, name) for key in ("action_scale", "default_joint_pos"))
        return scale, offset, None, "action_scale and default_joint_pos"
    shown = ", ".join(list(said)[:6]) or "nothing"
    raise LilliputError(
        f"{name} does not say how its action is scaled and moved (it says {shown[:160]}); supported: deploy.yaml of "
        "unitree_rl_lab, or action_scale and default_joint_pos in an ONNX file's metadata"
    )


_ACTIONS: Final = ("JointPositionAction", "JointVelocityAction", "JointEffortAction")
"""Isaac Lab's classes of actions that are scaled and moved, and nothing else."""
_TERM: Final = (
    r"deploy\.yaml: (?:actions\.[^.]+\.(?:scale|offset|clip|joint_names|joint_ids|use_default_offset)|commands\..*)"
)
_METADATA: Final = rf"action_scale|default_joint_pos|{READ_METADATA}"
"""Settings that are read, or that have no part in what is computed."""


def _bounds(text: str, size: int, where: str) -> np.ndarray:
    try:
        found = np.asarray(json.loads(text), np.float64).reshape(-1, 2)
        return np.array(np.broadcast_to(found, (size, 2)))
    except ValueError:
        raise LilliputError(f"{where} is {text[:60]}; it must be two numbers an action") from None
