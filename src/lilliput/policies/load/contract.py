"""What stands around a network where a robot runs it, as files beside it say: kept as texts, and on request inside.

Unitree's `deploy.yaml` (unitree_rl_lab), and Isaac Lab's `params/env.yaml` and `params/agent.yaml`; what an ONNX file
says of itself (mjlab, Isaac Lab) is in the policy's contract already. Inside means: raw readings in, joint targets out.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.rl_zoo import read_yaml
from lilliput.policies.policy import Policy

MAX_ENTRIES, MAX_KEY, MAX_TEXT = 256, 80, 16_384

_TOLD: Final[Mapping[str, str]] = {
    "deploy.yaml": r".*",
    "env.yaml": r"decimation|sim\.dt|actions\..*|observations\.policy\.[^.]+\.(?:scale|clip|history_length)|"
    r"scene\.robot\.init_state\.joint_pos\..*",
    "agent.yaml": r"clip_actions|empirical_normalization|(?:policy|actor)\.(?:class_name|activation|[^.]+\.class_name)",
}
"""What is told of each file, by the path of its settings."""

_INSIDE = "inside"


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
        found |= {
            f"{name}: {key}"[:MAX_KEY]: text[:MAX_TEXT] for key, text in _flat(settings, "") if re.fullmatch(told, key)
        }
    return tuple(found.items())[:MAX_ENTRIES], tuple(notes)


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


def inside(policy: Policy, name: str) -> Policy:
    """The policy on raw readings whose action is what the robot takes: scaled, moved and clipped as its contract says.

    Raises:
        LilliputError: the contract does not say how, or not for this many numbers.
    """
    said = dict(policy.provenance.contract)
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        raise LilliputError(f"{name} gives choices, which no contract scales; leave --contract away")
    if _INSIDE in said:
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
    spread = np.asarray(policy.provenance.action_std) * np.abs(scale) if policy.provenance.action_std else ()
    what = f"{origin}: action = raw * scale + offset{', clipped' if clip is not None else ''}" + (
        "; observation = raw readings" if readings else ""
    )
    sentence = (
        f"the contract is inside ({what}); where the observation holds the last action, that stays the network's own: "
        "(action - offset) / scale"
    )
    provenance = dataclasses.replace(
        policy.provenance,
        action_std=tuple(map(float, spread)),
        guesses=(*policy.provenance.guesses, sentence),
        contract=(*policy.provenance.contract, (_INSIDE, what)),
    )
    return Policy(policy.observation_space, box, (*readings, *policy.layers, *head), provenance)


def _action(said: Mapping[str, str], size: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Scale, offset, bounds (actions, 2) or None, and whose they are."""
    terms = {match[1] for key in said if (match := re.fullmatch(r"deploy\.yaml: actions\.([^.]+)\.scale", key))}
    if len(terms) > 1:
        raise LilliputError(
            f"{name}: deploy.yaml has several actions ({', '.join(sorted(terms))[:80]}); supported: one"
        )
    if terms:
        term = f"deploy.yaml: actions.{terms.pop()}"
        clip = said.get(f"{term}.clip", "none")
        bounds = None if clip == "none" else _bounds(clip, size, f"{name}: {term}.clip")
        offset = said.get(f"{term}.offset", "0")
        return _numbers(said[f"{term}.scale"], size, name), _numbers(offset, size, name), bounds, term
    if "action_scale" in said and "default_joint_pos" in said:
        scale, offset = (_numbers(said[key], size, name) for key in ("action_scale", "default_joint_pos"))
        return scale, offset, None, "action_scale and default_joint_pos"
    shown = ", ".join(list(said)[:6]) or "nothing"
    raise LilliputError(
        f"{name} does not say how its action is scaled and moved (it says {shown[:160]}); supported: deploy.yaml of "
        "unitree_rl_lab, or action_scale and default_joint_pos in an ONNX file's metadata"
    )


def _readings(said: Mapping[str, str], policy: Policy, name: str) -> list[Layer]:
    """The scales and clips of the readings as one layer; none where nothing is said, or nothing is to do."""
    terms = [match[1] for key in said if (match := re.fullmatch(r"deploy\.yaml: observations\.([^.]+)\.scale", key))]
    if not terms:
        return []
    scales, clips = [], []
    for term in terms:
        prefix = f"deploy.yaml: observations.{term}"
        steps = said.get(f"{prefix}.history_length", "1")
        one = np.tile(_numbers(said[f"{prefix}.scale"], 0, name), int(steps) if steps.isdigit() else 1)
        clip = said.get(f"{prefix}.clip", "none")
        low, high = (-np.inf, np.inf) if clip == "none" else _numbers(clip, 2, name)
        if low != -high:
            raise LilliputError(f"{name}: {prefix}.clip is {clip[:40]}; supported: from -c to c")
        if not one.all():
            raise LilliputError(f"{name}: {prefix}.scale has a 0: take that reading off the observation")
        scales.append(one)
        clips.append(np.abs(one) * high)
    scale, clip = np.concatenate(scales), np.concatenate(clips)
    n = spaces.input_shape(policy.observation_space)
    if n != scale.shape:
        raise LilliputError(f"{name} takes {list(n)} numbers, and deploy.yaml scales {scale.size}; they must fit")
    if (scale == 1).all() and np.isinf(clip).all():
        return []
    return [layers.Standardize(np.zeros(n, np.float32), scale.astype(np.float32), clip.astype(np.float32))]


def _numbers(text: str, size: int, name: str) -> np.ndarray:
    """The numbers of a text, as many as `size` (one counts for all); 0: any number of them."""
    try:
        found = np.array([float(one) for one in text.strip("[]() ").split(",")])
    except ValueError:
        raise LilliputError(f"{name}: the contract says {text[:60]!r} where numbers should stand") from None
    if not np.isfinite(found).all() or (size and found.size not in (1, size)):
        raise LilliputError(f"{name}: the contract says {found.size} numbers where {size} are needed: {text[:60]}")
    return found if not size else np.array(np.broadcast_to(found, (size,)))


def _bounds(text: str, size: int, where: str) -> np.ndarray:
    try:
        found = np.asarray(json.loads(text), np.float64).reshape(-1, 2)
        return np.array(np.broadcast_to(found, (size, 2)))
    except ValueError:
        raise LilliputError(f"{where} is {text[:60]}; it must be two numbers an action") from None
