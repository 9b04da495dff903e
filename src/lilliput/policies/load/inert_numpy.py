"""Arrays and numbers out of pickled numpy objects, built here from their bytes."""

from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.affine import frozen
from lilliput.policies.load.inert_pickle import Global, InertCall, is_call

MAX_DIMENSIONS = 8
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
"""Plain number types, as numpy spells them without their byte order."""

_CODES = frozenset({*NUMBERS, "b1"})
_ORDERS = {"<": "<", "|": "|", "=": "<", ">": ">"}

# numpy 2 moved numpy.core to numpy._core.
_RECONSTRUCT = (Global("numpy.core.multiarray", "_reconstruct"), Global("numpy._core.multiarray", "_reconstruct"))
_FROM_BUFFER = (Global("numpy.core.numeric", "_frombuffer"), Global("numpy._core.numeric", "_frombuffer"))
_SCALAR = (Global("numpy.core.multiarray", "scalar"), Global("numpy._core.multiarray", "scalar"))
_DTYPE = Global("numpy", "dtype")
_ENCODE = Global("_codecs", "encode")
_BYTES = Global("builtins", "bytes")


def is_numpy(value: Any) -> bool:
    """Whether a pickle's record describes an array or number of numpy's."""
    return is_call(value, *_RECONSTRUCT, *_FROM_BUFFER, *_SCALAR)


def array_of(value: Any, name: str) -> np.ndarray:
    """The array or number that a pickle describes, read-only.

    Raises:
        LilliputError: it is no number or array of numbers, or its bytes and its shape disagree.
    """
    match value:
        case bool() | int() | float() if isinstance(value, float) or abs(value) < 2**63:
            return np.asarray(value)
        case InertCall(args=(_, _, _), state=(_, tuple(shape), dtype, bool(fortran), data)) if is_call(
            value, *_RECONSTRUCT
        ):
            return _build(data, dtype_of(dtype, name), shape, "F" if fortran else "C", name)
        case InertCall(args=(data, dtype, tuple(shape), str(order))) if is_call(value, *_FROM_BUFFER):
            return _build(data, dtype_of(dtype, name), shape, order, name)
        case InertCall(args=(dtype, data)) if is_call(value, *_SCALAR):
            return _build(data, dtype_of(dtype, name), (), "C", name)
        case _:
            raise LilliputError(
                f"{name} is not an array of numbers; save the statistics as Stable-Baselines3's VecNormalize does, or "
                "as .npz"
            )


def dtype_of(value: Any, name: str) -> np.dtype:
    """The numpy type that a pickle describes.

    Raises:
        LilliputError: it is none of the plain number types.
    """
    match value:
        case InertCall(args=(str(code), *_), state=(_, str(order), *_)) if (
            is_call(value, _DTYPE) and code in _CODES and order in _ORDERS
        ):
            return np.dtype(_ORDERS[order] + code)
        case _:
            raise LilliputError(f"{name} has a type that is not a plain number; supported: {', '.join(sorted(_CODES))}")


def _build(data: Any, dtype: np.dtype, shape: tuple[Any, ...], order: str, name: str) -> np.ndarray:
    match data:
        case bytes(raw):
            pass
        case InertCall(args=(str(text), "latin1")) if is_call(data, _ENCODE):
            raw = text.encode("latin-1", "replace")
        case InertCall(args=()) if is_call(data, _BYTES):  # how protocols 0 to 2 spell no bytes
            raw = b""
        case _:
            raise LilliputError(f"{name} holds no bytes; it is damaged")
    count = 1
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0 or len(shape) > MAX_DIMENSIONS:
            raise LilliputError(f"{name} has an impossible shape; it is damaged")
        count *= size
    if len(raw) != count * dtype.itemsize:
        raise LilliputError(f"{name} has {len(raw)} bytes for {count} numbers of {dtype.itemsize}; it is damaged")
    # A bool has the values 0 and 1 only; bytes of a file have more.
    flat = frozen(np.frombuffer(raw, np.uint8) != 0) if dtype.kind == "b" else np.frombuffer(raw, dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C")
