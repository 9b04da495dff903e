"""What a robot's observation is made of, reading by reading, as a `deploy.yaml` or an ONNX file's metadata tell it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

DOES: Final = r"(?i:action|obs|clip|scal|offset|filter|delay|history|norm)"
"""In the name of a setting that may change what goes into the network or comes out of it."""
READ_METADATA: Final = (
    r"\w*observation\w*_(?:names|dims)|obs_dim|history_length|observation_history_lengths|"
    r"observation_terms_(?:scale|clip|history_length|flatten_history_dim)"
)
"""Of an ONNX file's metadata: what is read here, or has no part in what is computed."""

_DEPLOY: Final = "deploy.yaml: observations"
_READ_DEPLOY: Final = (
    r"deploy\.yaml: observations\.(?:use_gym_history|scale_first|[^.]+\.(?:scale|clip|history_length|scale_first|params"
    r"(?:\..*)?))"
)
_OBSERVATION: Final = (
    r"deploy\.yaml: observations\..*|deploy\.yaml: [^.]*(?i:obs|history)[^.]*(?:\..*)?|"
    r"(?!\w+\.yaml: ).*(?i:obs|history).*"
)
"""What a deploy.yaml or an ONNX file's metadata say of the observation, by name."""
_SIZES: Final[Mapping[str, int]] = {
    "base_lin_vel": 3, "base_ang_vel": 3, "projected_gravity": 3, "velocity_commands": 3, "motion_anchor_pos_b": 3,
    "motion_anchor_ori_b": 6,
}  # fmt: skip
"""How many numbers a reading of Isaac Lab's, mjlab's or BeyondMimic's name has; that all add up is checked."""
_COMMANDS: Final[Mapping[str, tuple[int, int]]] = {"twist": (3, 0), "base_velocity": (3, 0), "motion": (0, 2)}
"""How many numbers `command` has by the name of what commands, and how many a joint."""
_A_JOINT: Final = {"joint_pos", "joint_vel", "joint_pos_rel", "joint_vel_rel"}
_LAST_ACTION: Final = re.compile(r"actions|(?:last|prev|previous)_actions?")


@final
@dataclass(frozen=True, eq=False)
class _Reading:
    """A reading of the observation: clipped from -limit to limit, behind the scale where that comes first.

    Attributes:
        name: what it is called; where: by what setting.
        scale: one, or one each.
        size: how many numbers it has at a step, 0: untold.
        steps: of how many steps it is, the oldest first.
    """

    name: str
    where: str
    scale: np.ndarray
    limit: float
    size: int
    steps: int
    scale_first: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is done to it."""
        return bool((self.scale == 1).all()) and math.isinf(self.limit)


def refuse_unread(
    said: Mapping[str, str], told: str, read: str, name: str, otherwise: str = "leave --contract away"
) -> None:
    """Check that what is told of actions or readings is read, or off; `otherwise`: what else to do.

    Raises:
        LilliputError: a setting would be lost.
    """
    for key, text in said.items():
        if re.fullmatch(told, key) and not re.fullmatch(read, key) and text.lower() not in ("none", "false"):
            raise LilliputError(
                f"{name}: the contract says that {key} is {text[:40]}, which is not read here and may count; take it "
                f"out if it does not, or {otherwise}"
            )


def raw_readings(said: Mapping[str, str], policy: Policy, name: str) -> list[Layer]:
    """The scales and clips of the readings as one layer; none where nothing is said, or nothing is to do.

    Raises:
        LilliputError: they are not those of the policy's observation, or cannot be done.
    """
    found, by_frames = _readings(said, name)
    if not found or (all(one.is_idle for one in found) and not all(one.size for one in found)):
        return []
    found = _sized(found, said, policy, name)
    scale, limit = (
        _in_order([np.broadcast_to(values(one), one.size) for one in found], [one.steps for one in found], by_frames)
        for values in (lambda one: one.scale, _limit_behind)
    )
    with np.errstate(over="ignore"):
        scale, limit = scale.astype(np.float32), limit.astype(np.float32)
    if not (np.isfinite(scale).all() and scale.all() and limit.all()):
        raise LilliputError(f"{name}: a scale or a clip of its readings is 0 or infinite as float32")
    if (scale == 1).all() and np.isinf(limit).all():
        return []
    shape = spaces.input_shape(policy.observation_space)
    return [layers.Standardize(np.zeros(shape, np.float32), scale, limit)]


def place_of_last_action(said: Mapping[str, str], policy: Policy, name: str, *, scaled: bool) -> tuple[int, int, str]:
    """From which number of the observation to before which the last action stands, or the last ones; and what tells it.

    Args:
        said: the contract.
        policy: whose observation it is.
        name: the policy's.
        scaled: whether the policy scales and clips its readings itself.

    Raises:
        LilliputError: that is not told beyond doubt.
    """
    way = "say where it stands: --previous-action FROM:TO"
    found, by_frames = _readings(said, name, way)
    if not found:
        raise LilliputError(f"{name} does not say what its observation is made of; {way}")
    places = [number for number, one in enumerate(found) if _LAST_ACTION.fullmatch(one.name)]
    if len(places) != 1:
        names = ", ".join(one.name for one in found)
        raise LilliputError(f"{name}: {len(places)} readings ({names[:120]}) are a last action by name; {way}")
    if (clip := said.get("agent.yaml: clip_actions", "none")) != "none":
        raise LilliputError(
            f"{name}: agent.yaml clips actions at {clip[:20]} before the observation holds them, which the policy does "
            f"not; {way}"
        )
    found = _sized(found, said, policy, name)
    own = found[places[0]]
    if own.size != _n_actions(policy):
        raise LilliputError(f"{name}: {own.where} has {own.size} numbers, which are no action of the policy's; {way}")
    if not own.is_idle and not scaled:
        raise LilliputError(
            f"{name}: {own.where} scales or clips the last action; give --contract inside with --previous-action"
        )
    if by_frames and own.steps > 1:
        raise LilliputError(
            f"{name}: deploy.yaml puts {own.steps} frames one after the other (use_gym_history), so that the last "
            "actions do not stand together; the environment has to give them"
        )
    start = sum(one.size * one.steps for one in found[: places[0]])
    return start, start + own.size * own.steps, own.where


def names(policy: Policy) -> tuple[tuple[tuple[int, int, str], ...], tuple[str, ...]]:
    """What the numbers of the observation are called, each name with its first and last number, and those of the
    action; nothing where the contract leaves a doubt.
    """
    said = dict(policy.provenance.contract)
    joints = tuple(one.strip() for one in said.get("joint_names", "").split(",") if one.strip())
    try:
        found, by_frames = _readings(said, "")
        found = _sized(found, said, policy, "") if found else []
    except LilliputError:
        found, by_frames = [], False
    rounds = range(found[0].steps if by_frames else 1)
    spans: list[tuple[int, int, str]] = []
    start = 0
    for frame in rounds:
        for one in found:
            steps = 1 if by_frames else one.steps
            which = f", frame {frame + 1} of {len(rounds)}" if len(rounds) > 1 else ""
            history = f", {steps} steps, the oldest first" if steps > 1 else ""
            each = f": {', '.join(joints)}" if one.name in _A_JOINT and one.size == len(joints) else ""
            spans.append((start, start + one.size * steps - 1, f"{one.name}{which}{history}{each}"))
            start += one.size * steps
    return tuple(spans), joints if len(joints) == _n_actions(policy) else ()


def _in_order(parts: Sequence[np.ndarray], steps: Sequence[int], by_frames: bool) -> np.ndarray:
    """The numbers of each reading at a step as they stand in the observation."""
    if by_frames:
        return np.tile(np.concatenate(parts), steps[0])
    return np.concatenate([np.tile(part, n) for part, n in zip(parts, steps, strict=True)])


def _limit_behind(reading: _Reading) -> np.ndarray:
    """What its scaled numbers are clipped to."""
    limit = np.full(reading.scale.shape, reading.limit)
    return limit if reading.scale_first else np.abs(reading.scale) * limit


def _readings(
    said: Mapping[str, str], name: str, otherwise: str = "leave --contract away"
) -> tuple[list[_Reading], bool]:
    """The readings in their order, and whether they stand frame by frame; none: nothing tells them."""
    refuse_unread(said, _OBSERVATION, rf"{_READ_DEPLOY}|{READ_METADATA}", name, otherwise)
    found = (re.fullmatch(rf"{re.escape(_DEPLOY)}\.([^.]+)\.(?:scale|clip|history_length)", key) for key in said)
    terms = list(dict.fromkeys(match[1] for match in found if match))
    if not terms:
        return _of_metadata(said, name), False
    deployed = [_deployed(said, term, name) for term in terms]
    by_frames = _is_on(said, f"{_DEPLOY}.use_gym_history", name)
    steps = [one.steps for one in deployed]
    if by_frames and len(set(steps)) > 1:
        raise LilliputError(f"{name}: deploy.yaml: histories of {steps[:8]} steps, frame by frame; they must agree")
    return deployed, by_frames


def _deployed(said: Mapping[str, str], term: str, name: str) -> _Reading:
    """A reading of a deploy.yaml, whose scale has a number for each of its own."""
    where = f"{_DEPLOY}.{term}"
    scale, size = np.ones(1), 0
    if said.get(f"{where}.scale", "none") != "none":
        scale = numbers(said, f"{where}.scale", 0, name)
        size = scale.size
    low, high = (-np.inf, np.inf)
    if said.get(f"{where}.clip", "none") != "none":
        low, high = numbers(said, f"{where}.clip", 2, name)
    steps = _steps(said.get(f"{where}.history_length", "1"), f"{where}.history_length", name)
    if not steps:
        raise LilliputError(f"{name}: {where}.history_length is 0; it must be a whole number from 1")
    first = f"{where}.scale_first"
    scale_first = _is_on(said, first if first in said else f"{_DEPLOY}.scale_first", name)
    limit = _symmetric(low, high, f"{where}.clip", name)
    return _checked(_Reading(term, where, scale, limit, size, steps, scale_first), name)


def _is_on(said: Mapping[str, str], key: str, name: str) -> bool:
    """Whether a setting is on; off where it is not said."""
    text = said.get(key, "none").lower()
    if text not in ("true", "false", "none"):
        raise LilliputError(f"{name}: {key} is {text[:40]}; it must be true or false")
    return text == "true"


def _of_metadata(said: Mapping[str, str], name: str) -> list[_Reading]:
    """The readings of an ONNX file's metadata: lists with commas between them, and semicolons within."""
    names = [one.strip() for one in said.get("observation_names", "").split(",") if one.strip()]

    def each(key: str, untold: str) -> list[str]:
        texts = said.get(key, untold).split(",")
        texts = texts * len(names) if len(texts) == 1 else texts
        if len(texts) != len(names):
            raise LilliputError(f"{name}: {key} of the contract has {len(texts)} entries for {len(names)} readings")
        return texts

    histories = ("observation_terms_history_length", "observation_history_lengths", "history_length")
    history = next((key for key in histories if key in said), histories[0])
    given = zip(
        names,
        each("observation_terms_scale", "1"),
        each("observation_terms_clip", "-inf;inf"),
        each(history, "0"),
        each("observation_terms_flatten_history_dim", "1"),
        each("observation_dims", "0"),
        strict=True,
    )
    found = []
    for term, scale, clip, steps, flat, size in given:
        where = f"observation_names: {term}"
        scales = numbers({where: scale.replace(";", ",")}, where, 0, name)
        low, high = _ends(clip, f"observation_terms_clip of {term}", name)
        count = max(1, _steps(steps, history, name))
        if count > 1 and _steps(flat, "observation_terms_flatten_history_dim", name) != 1:
            raise LilliputError(f"{name}: {where} keeps its {count} steps apart, not one after the other")
        told = _steps(size, "observation_dims", name) or (scales.size if scales.size > 1 else 0)
        limit = _symmetric(low, high, f"observation_terms_clip of {term}", name)
        found.append(_checked(_Reading(term, where, scales, limit, told, count), name))
    return found


def _ends(clip: str, where: str, name: str) -> tuple[float, float]:
    try:
        low, high = (float(one) for one in clip.split(";"))
    except ValueError:
        raise LilliputError(f"{name}: {where} is {clip[:40]}; it must be two numbers") from None
    return low, high


def _steps(text: str, where: str, name: str) -> int:
    """A whole number from 0, which mjlab writes as `5.000`."""
    if not re.fullmatch(r"[0-9]{1,5}(?:\.0+)?", text.strip()):
        raise LilliputError(f"{name}: {where} is {text[:40]}; it must be a whole number")
    return int(float(text))


def _symmetric(low: float, high: float, where: str, name: str) -> float:
    if low != -high or not high > 0:
        raise LilliputError(f"{name}: {where} is {low:g} to {high:g}; supported: from -c to c")
    return float(high)


def _checked(reading: _Reading, name: str) -> _Reading:
    if not reading.scale.all():
        raise LilliputError(f"{name}: {reading.where}.scale has a 0: take that reading off the observation")
    return reading


def _n_actions(policy: Policy) -> int:
    """How many numbers an action has; 0: it is a choice."""
    return policy.action_space.size if isinstance(policy.action_space, spaces.Box) else 0


def _sized(readings: list[_Reading], said: Mapping[str, str], policy: Policy, name: str) -> list[_Reading]:
    """The same with the sizes that their names tell, all of which have to add up to the observation.

    Raises:
        LilliputError: they do not, or a name tells none.
    """
    joints = said.get("joint_names", said.get("deploy.yaml: default_joint_pos", ""))
    n_joints = len(joints.split(",")) if joints else 0
    command, a_joint = _COMMANDS.get(said.get("command_names", ""), (0, 0))
    known = {**_SIZES, **dict.fromkeys(_A_JOINT, n_joints), "command": command + a_joint * n_joints}
    shape = spaces.input_shape(policy.observation_space)
    done: list[_Reading] = []
    for one in readings:
        size = one.size or (_n_actions(policy) if _LAST_ACTION.fullmatch(one.name) else known.get(one.name, 0))
        if not size:
            raise LilliputError(
                f"{name}: nothing tells how many numbers {one.where} has; in a deploy.yaml beside it, write the scale "
                "of each there, 1.0 for none"
            )
        if one.scale.size not in (1, size):
            raise LilliputError(f"{name}: {one.where} has {size} numbers and {one.scale.size} scales; they must fit")
        done.append(_Reading(one.name, one.where, one.scale, one.limit, size, one.steps, one.scale_first))
    total = sum(one.size * one.steps for one in done)
    if len(shape) != 1 or total != math.prod(shape):
        origin = "deploy.yaml" if done[0].where.startswith(_DEPLOY) else "observation_names"
        raise LilliputError(f"{name} takes {list(shape)} numbers, and {origin} tells of {total}; they must fit")
    return done


def numbers(said: Mapping[str, str], key: str, size: int, name: str) -> np.ndarray:
    """The numbers of a setting, as many as `size` (one counts for all); 0: any number of them.

    Raises:
        LilliputError: they are none, or others.
    """
    text = said[key]
    try:
        found = np.array([float(one) for one in text.strip("[]() ").split(",")])
    except ValueError:
        raise LilliputError(f"{name}: the contract says {text[:60]!r} where {key} should be numbers") from None
    if not np.isfinite(found).all() or (size and found.size not in (1, size)):
        raise LilliputError(f"{name}: {key} of the contract is {text[:60]}; {size or 'finite'} numbers are needed")
    return found if not size else np.array(np.broadcast_to(found, (size,)))
