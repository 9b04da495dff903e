"""Observation and action spaces as plain data: what Gymnasium's spaces say, without Gymnasium."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never, final

import numpy as np
from jaxtyping import Float32, Float64, Num, Shaped

from lilliput.errors import LilliputError
from lilliput.foreign_text import printable
from lilliput.policies.affine import frozen

MAX_ELEMENTS = 1 << 24
_SPOKEN = 32
"""Bounds that a line about a space lists."""
DTYPES = ("float32", "float64", "float16", "uint8", "int8", "int16", "int32", "int64", "bool")


@final
@dataclass(frozen=True, eq=False)
class Box:
    """An array of numbers between bounds; the bounds have the space's shape and may be infinite."""

    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape) or int(np.prod(self.shape, dtype=object)) > MAX_ELEMENTS:
            raise LilliputError(
                f"a Box has the shape {list(self.shape)}; sizes must be positive, at most {MAX_ELEMENTS} numbers in all"
            )
        if self.dtype not in DTYPES:
            raise LilliputError(f"a Box has the dtype {self.dtype!r}; supported: {', '.join(DTYPES)}")
        if np.shape(self.low) in ((), self.shape) and np.shape(self.high) in ((), self.shape):
            crossed = int(np.greater(self.low, self.high).sum())
            if crossed:
                raise LilliputError(f"a Box of shape {list(self.shape)} has {crossed} low bounds above its high ones")
        for name in ("low", "high"):
            bound = np.asarray(getattr(self, name), np.float64)
            if bound.shape not in ((), self.shape) or np.isnan(bound).any():
                raise LilliputError(
                    f"a Box of shape {list(self.shape)} has a bound of shape {list(bound.shape)} or with NaN in it"
                )
            # A view of one number where all are equal: an image's bounds cost nothing.
            one = bound.reshape(-1)[:1]
            uniform = bound.size > 1 and bool((bound == one).all())
            full = np.broadcast_to(one.reshape(()) if uniform else bound, self.shape)
            object.__setattr__(self, name, full if uniform or bound.shape == () else frozen(full))

    @property
    def size(self) -> int:
        """How many numbers an observation or action has."""
        return int(np.prod(self.shape))


@final
@dataclass(frozen=True)
class Discrete:
    """One of `n` choices, counted from 0."""

    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_ELEMENTS:
            raise LilliputError(f"a Discrete space has n = {self.n}; it must be from 1 to {MAX_ELEMENTS}")


@final
@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices at once, one of `sizes[i]` each."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or any(n < 1 for n in self.sizes) or sum(self.sizes) > MAX_ELEMENTS:
            raise LilliputError(f"a MultiDiscrete space has the sizes {list(self.sizes)}; each must be at least 1")


@final
@dataclass(frozen=True, eq=False)
class Dict:
    """Named boxes; their order is the order in which the framework concatenated them."""

    boxes: tuple[tuple[str, Box], ...]

    def __post_init__(self) -> None:
        if not self.boxes or len({key for key, _ in self.boxes}) != len(self.boxes):
            raise LilliputError("a Dict space needs at least one key, each of them once")

    @property
    def size(self) -> int:
        """How many numbers an observation has, all keys together."""
        return sum(box.size for _, box in self.boxes)


ObservationSpace = Box | Dict
ActionSpace = Box | Discrete | MultiDiscrete
Space = Box | Dict | Discrete | MultiDiscrete


def input_shape(space: ObservationSpace) -> tuple[int, ...]:
    """The shape of one observation as the first layer sees it: a Dict is one vector."""
    match space:
        case Box():
            return space.shape
        case Dict():
            return (space.size,)
        case _:
            assert_never(space)


def input_dtype(space: ObservationSpace) -> str:
    """What an artifact takes: uint8 where the space says so (images), else float32."""
    return "uint8" if isinstance(space, Box) and space.dtype == "uint8" else "float32"


def flatten(space: ObservationSpace, observations: Any) -> Shaped[np.ndarray, "n ..."]:
    """A batch of observations as the first layer sees it: (n, *input_shape(space)).

    A Dict observation is a mapping from key to a batch, or already the concatenated batch.

    Raises:
        LilliputError: a wrong shape, a missing key or something that is not a number.
    """
    match space:
        case Dict() if isinstance(observations, Mapping):
            missing = [key for key, _ in space.boxes if key not in observations]
            if missing or len(observations) != len(space.boxes):
                keys = ", ".join(key for key, _ in space.boxes)
                raise LilliputError(
                    f"an observation has the keys {', '.join(map(str, observations))}; the policy takes {keys}"
                )
            parts = [_batch(observations[key], box.shape) for key, box in space.boxes]
            if len({len(part) for part in parts}) > 1:
                raise LilliputError(
                    f"an observation's keys hold {', '.join(str(len(part)) for part in parts)} rows; all must be alike"
                )
            return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        case _:
            return _batch(observations, input_shape(space))


def _batch(observations: Any, shape: tuple[int, ...]) -> Shaped[np.ndarray, "n ..."]:
    try:
        array = np.asarray(observations)
    except ValueError as error:
        raise LilliputError(f"observations are no array of numbers: {str(error)[:80]}") from error
    if array.dtype.kind not in "fiub" or array.shape[1:] != shape or array.ndim != len(shape) + 1:
        wanted = ", ".join(["n", *map(str, shape)])
        raise LilliputError(
            f"observations are {array.dtype}{list(array.shape)}; the policy takes numbers of shape ({wanted})"
        )
    return array


def network_input(space: ObservationSpace, observations: Any) -> Float32[np.ndarray, "n ..."]:
    """A batch of observations as the float32 numbers that the first layer takes."""
    return np.ascontiguousarray(flatten(space, observations), np.float32)


def network_bounds(space: ObservationSpace) -> Float64[np.ndarray, "2 n"]:
    """The lowest and the highest of each number that the first layer takes, flattened."""
    boxes = (space,) if isinstance(space, Box) else tuple(box for _, box in space.boxes)
    ends = [[np.broadcast_to(end, box.shape).reshape(-1) for end in (box.low, box.high)] for box in boxes]
    return np.concatenate(ends, axis=1).astype(np.float64)


def artifact_input(space: ObservationSpace, observations: Any) -> Num[np.ndarray, "n ..."]:
    """A batch of observations as an artifact takes them: flattened, of `input_dtype`, row-major.

    Raises:
        LilliputError: a wrong shape, or numbers that the dtype cannot hold.
    """
    array = flatten(space, observations)
    if input_dtype(space) == "float32" or array.dtype == np.uint8:
        return np.ascontiguousarray(array, input_dtype(space))
    whole = np.clip(np.nan_to_num(array), 0, 255).astype(np.uint8)
    if not np.array_equal(whole, array):
        raise LilliputError(
            f"observations are {array.dtype} with numbers other than 0, 1, ... 255; the policy takes uint8"
        )
    return np.ascontiguousarray(whole)


def one_input(space: ObservationSpace, observation: Any) -> Num[np.ndarray, "1 ..."]:
    """One observation as an artifact takes it: a batch of one.

    Raises:
        LilliputError: a wrong shape, several observations, or numbers that the dtype cannot hold.
    """
    batch = as_batch(observation)
    match space:
        case Dict() if isinstance(batch, Mapping):
            pairs = [(batch[key], box.shape) for key, box in space.boxes if key in batch]
        case _:
            pairs = [] if isinstance(batch, Mapping) else [(batch, input_shape(space))]
    for array, shape in pairs:
        if array.dtype.kind not in "fiub" or array.shape[1:] != shape:
            several = "; act.batch takes several" if array.shape[2:] == shape else ""
            raise LilliputError(
                f"the observation is {array.dtype}{list(array.shape[1:])}; the policy takes numbers of shape "
                f"({', '.join(map(str, shape))}){several}"
            )
    return artifact_input(space, batch)


def as_batch(observation: Any) -> Any:
    """One observation as a batch of one."""
    if isinstance(observation, Mapping):
        return {key: _lifted(value) for key, value in observation.items()}
    return _lifted(observation)


def _lifted(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)[None]
    except ValueError as error:
        raise LilliputError(f"an observation is no array of numbers: {str(error)[:80]}") from error


def action_shape(space: ActionSpace) -> tuple[int, ...]:
    """The shape of one action: () for a single choice."""
    match space:
        case Box():
            return space.shape
        case Discrete():
            return ()
        case MultiDiscrete():
            return (len(space.sizes),)
        case _:
            assert_never(space)


def describe(space: Space) -> str:
    """One line, as Gymnasium prints it; bounds that differ are all there, up to 32.

    >>> describe(Box((3,), np.array(-1.0), np.array(1.0))), describe(Discrete(4))
    ('Box(-1, 1, (3,), float32)', 'Discrete(4)')
    >>> describe(Box((2,), np.array([-1.0, -2.5]), np.array(np.inf)))
    'Box([-1, -2.5], inf, (2,), float32)'
    """
    match space:
        case Box():
            low, high = map(_bound_text, (space.low, space.high))
            return f"Box({low}, {high}, {space.shape}, {space.dtype})"
        case Discrete():
            return f"Discrete({space.n})"
        case MultiDiscrete():
            return f"MultiDiscrete({list(space.sizes)})"
        case Dict():
            return "Dict(" + ", ".join(f"{printable(key)}: {describe(box)}" for key, box in space.boxes) + ")"
        case _:
            assert_never(space)


def _bound_text(bound: np.ndarray) -> str:
    if bound.min() == bound.max():
        return f"{bound.min():g}"
    if bound.size <= _SPOKEN:
        return f"[{', '.join(f'{one:g}' for one in bound.reshape(-1).tolist())}]"
    return f"{bound.min():g}...{bound.max():g}"


def to_json(space: Space) -> dict[str, Any]:
    """The space as JSON data; infinities are the strings "inf" and "-inf"."""
    match space:
        case Box():
            return {
                "kind": "box",
                "shape": list(space.shape),
                "low": _bound_to_json(space.low),
                "high": _bound_to_json(space.high),
                "dtype": space.dtype,
            }
        case Discrete():
            return {"kind": "discrete", "n": space.n}
        case MultiDiscrete():
            return {"kind": "multi_discrete", "sizes": list(space.sizes)}
        case Dict():
            return {"kind": "dict", "boxes": [[key, to_json(box)] for key, box in space.boxes]}
        case _:
            assert_never(space)


def from_json(data: Any) -> Space:
    """The space that `to_json` wrote.

    Raises:
        LilliputError: the data is not such a space.
    """
    try:
        match data["kind"]:
            case "box":
                return Box(
                    tuple(int(n) for n in data["shape"]),
                    _bound_from_json(data["low"]),
                    _bound_from_json(data["high"]),
                    str(data["dtype"]),
                )
            case "discrete":
                return Discrete(int(data["n"]))
            case "multi_discrete":
                return MultiDiscrete(tuple(int(n) for n in data["sizes"]))
            case "dict":
                boxes = [(str(key), from_json(box)) for key, box in data["boxes"]]
                if all(isinstance(box, Box) for _, box in boxes):
                    return Dict(tuple((key, box) for key, box in boxes if isinstance(box, Box)))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LilliputError(f"a space in the file is malformed: {error!r}") from error
    raise LilliputError(
        f"a space in the file has the kind {str(data.get('kind'))[:40]!r}; allowed: box, discrete, multi_discrete, dict"
    )


def _bound_to_json(bound: np.ndarray) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(v) for v in value]
        return value if np.isfinite(value) else ("inf" if value > 0 else "-inf")

    uniform = bound.size > 0 and bool((bound == bound.reshape(-1)[0]).all())
    return plain(float(bound.reshape(-1)[0]) if uniform else bound.tolist())


def _bound_from_json(data: Any) -> np.ndarray:
    return np.asarray(data, dtype=np.float64)
