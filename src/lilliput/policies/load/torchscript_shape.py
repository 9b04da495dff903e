"""The operators of torch that move, cut and join what varies with the observation, and compute nothing."""

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load import flow
from lilliput.policies.load.flow import Choices, Flow, Value


@final
class Batched(LilliputError):
    """An operator over the axis of the observations, which is the observation's own where it stands alone."""


def flow_of(value: Any) -> Flow:
    if not isinstance(value, Flow):
        raise LilliputError("a choice is computed with; supported: nothing behind it")
    return value


def axis_of(dim: int, rank: int) -> int:
    if not -rank <= dim < rank:
        raise LilliputError(f"the axis {dim} of a value with {rank} axes")
    return dim % rank


def own_axis(x: Value, dim: int, what: str) -> int:
    """The axis, counted from 0, which is not that of the observations."""
    at = axis_of(dim, len(x.shape))
    if at == 0 and len(x.shape) > 1:
        raise Batched(
            f"{what} works over axis 0, which holds the observations where they come in a batch; export it with "
            f"dim=-1, or trace it with one observation as it takes it"
        )
    return at


def reshape(x: Value, shape: Sequence[int]) -> Value:
    if isinstance(shape, np.ndarray) or not all(isinstance(n, int) for n in shape):
        raise LilliputError("a shape that is no constant")
    return flow.reshaped(x, shape)


def flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    rank = len(x.shape)
    first, last = axis_of(start_dim, rank), axis_of(end_dim, rank)
    return flow.reshaped(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def unflatten(x: Value, dim: int, sizes: Sequence[int]) -> Value:
    at = axis_of(dim, len(x.shape))
    return flow.reshaped(x, (*x.shape[:at], *sizes, *x.shape[at + 1 :]))


def squeeze(x: Value, dim: int | None = None) -> Value:
    at = range(len(x.shape)) if dim is None else (axis_of(dim, len(x.shape)),)
    return flow.reshaped(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in at))


def unsqueeze(x: Value, dim: int) -> Value:
    at = axis_of(dim, len(x.shape) + 1)
    return flow.reshaped(x, (*x.shape[:at], 1, *x.shape[at:]))


def permute(x: Any, dims: Sequence[int]) -> Flow:
    return flow.rearranged(flow_of(x), lambda array: array.transpose(tuple(dims)), "permute")


def transpose(x: Any, first: int, second: int) -> Flow:
    return flow.rearranged(flow_of(x), lambda array: array.swapaxes(first, second), "transpose")


def cut(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Flow:
    cut = [slice(None)] * len(flow_of(x).shape)
    cut[dim] = slice(start, end, step)
    return flow.rearranged(x, lambda array: array[tuple(cut)], "slice")


def select(x: Any, dim: int, index: int) -> Flow:
    return flow.rearranged(flow_of(x), lambda array: np.take(array, index, axis=dim), "select")


def index_select(x: Any, dim: int, index: Any) -> Flow:
    at, places = own_axis(flow_of(x), dim, "index_select"), _places(index)
    return flow.rearranged(x, lambda array: np.take(array, places, axis=at), "index_select")


def index(x: Any, indices: Sequence[Any]) -> Flow:
    """What `x[:, [0, 3, 5]]` becomes: a list with places for one of the axes."""
    given = [(dim, one) for dim, one in enumerate(indices) if one is not None]
    if len(given) != 1:
        raise LilliputError("elements are taken at places of several axes at once; supported: x[:, [0, 3, 5]]")
    return index_select(x, *given[0])


def _places(index: Any) -> np.ndarray:
    if not isinstance(index, np.ndarray) or index.dtype != np.int64:
        raise LilliputError(
            "elements are taken at places that are no constant integers of 64 bits; supported: fixed ones, as "
            "x[:, [0, 3, 5]]"
        )
    return index


def flip(x: Any, dims: Sequence[int]) -> Flow:
    axes = tuple(own_axis(flow_of(x), dim, "flip") for dim in dims)
    return flow.rearranged(x, lambda array: np.flip(array, axes), "flip")


def narrow(x: Any, dim: int, start: int, length: int) -> Flow:
    return cut(x, dim, start, start + length)


def split(x: Any, size: int | Sequence[int], dim: int = 0) -> list[Flow]:
    whole: int = flow_of(x).shape[dim]
    if isinstance(size, int):
        each = [size] * (whole // size) + [whole % size] * (whole % size > 0)
    else:
        each = list(size)
    if sum(each) != whole:
        raise LilliputError(f"split of {whole} into {each[:8]}")
    ends = np.cumsum(each)
    return [cut(x, dim, int(end) - n, int(end)) for end, n in zip(ends, each, strict=True)]


def chunk(x: Any, chunks: int, dim: int = 0) -> list[Flow]:
    return split(x, -(-flow_of(x).shape[dim] // chunks), dim)


def stack(parts: Sequence[Any], dim: int = 0) -> Value:
    return cat([unsqueeze(flow_of(part), dim) for part in parts], dim)


def cat(parts: Sequence[Any], dim: int = 0) -> Value:
    if not all(isinstance(part, Flow | Choices) for part in parts):
        raise LilliputError("cat puts constants beside the observation's values")
    if len(parts) > 1:
        for part in parts:
            own_axis(part, dim, "cat")
    return flow.joined(list(parts), dim)
