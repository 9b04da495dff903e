"""Which observation statistics belong to a Stable-Baselines3 zip: what its own data tell, and the files beside it.

A zip does not hold the statistics of VecNormalize, but it tells of them. On-policy algorithms keep a raw observation,
`_last_original_obs`, only under VecNormalize. Off-policy ones always keep one: under VecNormalize it is the last
observation before it was normalized (`_last_obs`), else the one of the step before. What VecNormalize gives is float32.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load.inert_numpy import array_of
from lilliput.policies.load.inert_pickle import read_pickle, string_keys
from lilliput.policies.load.rl_zoo import Side
from lilliput.policies.load.vecnormalize import ForeignNormalizer, Normalizer, read_normalizer, standardize

MAX_FILES = 10_000
"""Of a folder, looked at for statistics."""
MAX_NORMALIZER_BYTES = 64 << 20

UNKNOWN = (
    "the file does not say whether its observations were normalized: taken as they are; where they were, give "
    "--normalizer FILE"
)

_NAME = re.compile(r"(?:(?P<prefix>.+?)[_-])?vec_?normalize(?:_(?P<steps>\d{1,18})_steps)?\.pkl", re.IGNORECASE)
_CHECKPOINT = re.compile(r"(?P<prefix>.+)_(?P<steps>\d{1,18})_steps")
_LOOKED_FOR = "vec_normalize.pkl, *_vecnormalize.pkl and *_vecnormalize_<steps>_steps.pkl, there and one folder up"
_WAY_OUT = "give --normalizer FILE, or --no-normalizer where observations were not normalized"

_ANOTHERS = 5
"""The rank of a file that is named after another zip."""
_CLOSE = 0.25
"""Of statistics saved some steps before or after the zip: how far they may put its last observation from where it was,
root mean square in standard deviations. Those of other units put it whole deviations away."""
_EXACT = 1e-3
_OUTSIDE = 1e-3
_RESETS = 64
"""Observations that no step gave: each environment's first."""


@final
@dataclass(frozen=True, eq=False)
class Traces:
    """What the data of a zip tell of how its policy was trained.

    Attributes:
        trained: on normalized observations, on plain ones, or None: it does not say.
        raw, seen: an observation (n, *shape) and what the policy was given for it, where the file holds such a pair or,
            where `trained` is None, may hold one.
        n_steps: of the training; 0 where it does not say.
    """

    trained: Literal["normalized", "plain"] | None
    raw: np.ndarray | None = None
    seen: np.ndarray | None = None
    n_steps: int = 0


@final
@dataclass(frozen=True)
class Found:
    """The statistics of a zip.

    Attributes:
        path: the file; None: there are none to apply.
        notes: what a reader of the policy should know, a sentence each.
    """

    path: Path | None = None
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class _Candidate:
    """A file of statistics that fit the policy's observation; the lower its rank, the closer its name to the zip's."""

    path: Path
    shown: str
    normalizer: Normalizer
    layer: layers.Standardize | None
    rank: int


def traces(data: Mapping[str, Any], space: spaces.ObservationSpace, *, on_policy: bool) -> Traces:
    """What the parsed `data` entry of a zip tells."""
    steps = data.get("num_timesteps")
    n_steps = steps if isinstance(steps, int) and 0 < steps < 1 << 62 else 0
    entries = [data.get(key) for key in ("_last_original_obs", "_last_obs")]
    if on_policy:
        # The raw one is of the first step, so the two do not belong together.
        if entries[0] is not None:
            return Traces("normalized", n_steps=n_steps)
        tells = "_last_original_obs" in data and entries[1] is not None
        return Traces("plain" if tells else None, n_steps=n_steps)
    raw, seen = (_observation(entry) for entry in entries)
    if raw is None or seen is None or raw.keys() != seen.keys():
        return Traces(None, n_steps=n_steps)
    try:
        pair = [spaces.flatten(space, part.get("", part)) for part in (raw, seen)]
    except LilliputError:
        return Traces(_off_policy(raw, seen), n_steps=n_steps)
    trained = _off_policy(raw, seen)
    if trained is None and [_inside(part, space) for part in pair] == [True, False]:
        trained = "normalized"
    return Traces(trained, *pair, n_steps=n_steps) if len(pair[0]) == len(pair[1]) else Traces(trained, n_steps=n_steps)


def _off_policy(raw: Mapping[str, np.ndarray], seen: Mapping[str, np.ndarray]) -> Literal["normalized", "plain"] | None:
    kinds = [(raw[key].dtype, seen[key].dtype) for key in raw]
    if any(after == np.float32 and before != after for before, after in kinds):
        return "normalized"
    # Equal ones are of one step and untouched: VecNormalize with norm_obs=False.
    if all(after != np.float32 for _, after in kinds) or all(np.array_equal(raw[key], seen[key]) for key in raw):
        return "plain"
    return None


def _inside(part: np.ndarray, space: spaces.ObservationSpace) -> bool:
    boxes = [box for _, box in space.boxes] if isinstance(space, spaces.Dict) else [space]
    low, high = (np.concatenate([getattr(box, bound).reshape(-1) for box in boxes]) for bound in ("low", "high"))
    flat = part.reshape(len(part), -1)
    return bool((flat >= low - _OUTSIDE).all() and (flat <= high + _OUTSIDE).all())


def _observation(entry: Any) -> dict[str, np.ndarray] | None:
    """The observation of an entry by key, one array under ""; None where there is none, or none that can be read."""
    if not isinstance(entry, dict) or not isinstance(entry.get(":serialized:"), str):
        return None
    try:
        value, _ = read_pickle(base64.b64decode(entry[":serialized:"], validate=True), "observation")
        parts = string_keys(value)
        return {key: array_of(part, key) for key, part in ({"": value} if parts is None else parts).items()}
    except (binascii.Error, ValueError, LilliputError):
        return None


def statistics_of(
    zip_path: Path, side: Side, space: spaces.ObservationSpace, told: Traces, frame: spaces.Box | None
) -> Found:
    """The file of the zip's own statistics, which may be those of a `frame` of the observation.

    Raises:
        LilliputError: the policy was trained on normalized observations and there is none, or none that is surely its
            own; or the zip and the configuration beside it contradict each other.
    """
    name = repr(zip_path.name)
    match side.normalized:
        case "observations":
            if told.trained == "plain":
                raise LilliputError(
                    f"{name}: config.yml says that observations were normalized, the zip's own data that they were "
                    f"not; {_WAY_OUT}"
                )
            if side.normalizer is None:
                raise LilliputError(
                    f"{name}: config.yml says that observations were normalized, but there is no vecnormalize.pkl; "
                    f"{_WAY_OUT}"
                )
            return Found(side.normalizer)
        case "nothing" if told.trained == "normalized":
            raise LilliputError(
                f"{name}: config.yml says that nothing was normalized, the zip's own data that it was trained under "
                f"VecNormalize; {_WAY_OUT}"
            )
        case "nothing" | "rewards":
            return Found()
        case None:
            return _search(zip_path, side, space, told, frame)
        case _:
            assert_never(side.normalized)


def _search(
    zip_path: Path, side: Side, space: spaces.ObservationSpace, told: Traces, frame: spaces.Box | None
) -> Found:
    others: list[str] = []
    for folder in dict.fromkeys((*side.folders, zip_path.parent, zip_path.absolute().parent.parent)):
        if fitting := _fitting(zip_path, folder, space, told, others, frame):
            return _chosen(fitting, repr(zip_path.name), told, tuple(others))
    match told.trained:
        case "normalized":
            listed = "".join(f"; {other}" for other in others)
            raise LilliputError(
                f"{zip_path.name!r} was trained under VecNormalize, whose statistics are in a file of their own, and "
                f"that is not beside it (looked for {_LOOKED_FOR}{listed}); {_WAY_OUT}"
            )
        case "plain":
            return Found()
        case None:
            return Found(notes=(UNKNOWN, *others))
        case _:
            assert_never(told.trained)


def _fitting(
    zip_path: Path,
    folder: Path,
    space: spaces.ObservationSpace,
    told: Traces,
    others: list[str],
    frame: spaces.Box | None,
) -> list[_Candidate]:
    """The folder's files that may hold the zip's statistics; what keeps the others from it is added to `others`.

    Raises:
        LilliputError: one that seems to be the zip's is of a class that is not the framework's.
    """
    found: list[_Candidate] = []
    for path, rank in _named(zip_path, folder, told):
        shown = path.name if folder == zip_path.parent else f"{folder.name}/{path.name}"
        try:
            if path.stat().st_size > MAX_NORMALIZER_BYTES:
                raise LilliputError(f"it has {path.stat().st_size} bytes")
            normalizer = read_normalizer(path.read_bytes(), "it")
            layer = standardize(normalizer, space, "it", frame)
        except ForeignNormalizer as error:
            if rank < _ANOTHERS and told.trained != "plain":
                raise LilliputError(
                    f"{zip_path.name!r}: beside it is {shown}, and {error}; or --no-normalizer"
                ) from error
            others.append(f"{shown} is not taken: {error}")
            continue
        except (OSError, LilliputError) as error:
            others.append(f"{shown} is not taken: {error}")
            continue
        found.append(_Candidate(path, shown, normalizer, layer, rank))
    return found


def _named(zip_path: Path, folder: Path, told: Traces) -> Iterator[tuple[Path, int]]:
    """The files named as statistics are, each with its rank; those of other steps are another checkpoint's."""
    own = _CHECKPOINT.fullmatch(zip_path.stem)
    try:
        names = sorted(path.name for _, path in zip(range(MAX_FILES), folder.iterdir(), strict=False))
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or not (folder / name).is_file():
            continue
        prefix, steps = match["prefix"], match["steps"]
        if steps is None:
            yield folder / name, 2 if prefix == zip_path.stem else 3 if prefix is None else _ANOTHERS
        elif own is not None:
            if int(steps) == int(own["steps"]):
                yield folder / name, 0 if prefix == own["prefix"] else 1
        elif int(steps) == told.n_steps:
            yield folder / name, 4


def _chosen(fitting: list[_Candidate], name: str, told: Traces, others: tuple[str, ...]) -> Found:
    """The one of them that is the zip's own.

    Raises:
        LilliputError: the zip's own data contradict each of them, or several are equally likely and differ.
    """
    applied = [one for one in fitting if one.layer is not None]
    if told.trained == "plain":
        left = tuple(
            f"{one.shown} is not taken: the zip's own data say that its observations were not normalized (--normalizer "
            "takes it all the same)"
            for one in applied[:1]
        )
        return Found(notes=left)
    errors = {one.path: _error(one, told) for one in fitting}
    held = [(error, one) for one in fitting if (error := errors[one.path]) is not None]
    proven = [one for error, one in held if error <= _EXACT] or [one for error, one in held if error <= _CLOSE]
    if held and not proven:
        raise LilliputError(
            f"{name}: {' and '.join(one.shown for one in fitting)} cannot be its observation statistics: they put its "
            f"last observation {min(error for error, _ in held):.2g} standard deviations from where training had it; "
            f"{_WAY_OUT}"
        )
    likely = proven or fitting
    first, *rest = [one for one in likely if one.rank == min(one.rank for one in likely)]
    if any(not _alike(first, other) for other in rest):
        shown = " or ".join(one.shown for one in (first, *rest))
        raise LilliputError(f"{name}: its observation statistics could be {shown}, which differ; {_WAY_OUT}")
    if first.layer is None:
        return Found(notes=others)
    said = f"the observation statistics are those of {first.shown}, found beside the zip"
    return Found(first.path, (said + _doubt(first, told, errors[first.path]), *others))


def _alike(one: _Candidate, other: _Candidate) -> bool:
    if one.layer is None or other.layer is None:
        return one.layer is other.layer
    return all(
        np.array_equal(getattr(one.layer, part), getattr(other.layer, part)) for part in ("mean", "scale", "clip")
    )


def _error(candidate: _Candidate, told: Traces) -> float | None:
    """How far the statistics put the raw observation from what the policy was given; None where the zip holds no pair.

    The root mean square, in standard deviations.
    """
    if told.raw is None or told.seen is None:
        return None
    made = told.raw.astype(np.float64)
    if candidate.layer is not None:
        layer = candidate.layer
        made = np.clip((made - layer.mean) * layer.scale.astype(np.float64), -layer.clip, layer.clip)
    return float(np.sqrt(np.mean(np.square(made - told.seen))))


def _doubt(candidate: _Candidate, told: Traces, error: float | None) -> str:
    """What speaks against the file, behind the sentence that says that it was taken; empty where nothing does."""
    if error is not None:
        return "" if error <= _EXACT else f", from another moment of the training ({error:.2g} standard deviations off)"
    seen = candidate.normalizer.n_observations
    if seen is None or not told.n_steps or abs(seen - told.n_steps) <= max(_RESETS, 0.1 * told.n_steps):
        return ""
    return f", though it saw {seen:,.0f} observations and the policy was trained for {told.n_steps:,} steps"
