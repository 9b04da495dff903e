"""The C functions of `c/train.c`, compiled for this processor, and the structures that they share with Python."""

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.compiler import FOR_THIS_PROCESSOR, shared_object

FLAGS = ("-std=c11", *FOR_THIS_PROCESSOR, "-fno-math-errno", "-fno-trapping-math")
MOST_LAYERS = 16

_FOLDER = Path(__file__).parent / "c"
_POINTER = ctypes.c_void_p


@final
class CNetwork(ctypes.Structure):
    """`network` of network.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("n_layers", "activation", "quantized", "activation_bits")),
        *((name, ctypes.c_int32) for name in ("input_range", "per_channel")),
        *((name, _POINTER) for name in ("sizes", "weight_bits", "centre", "scale", "low", "high", "epsilons")),
    )


@final
class CStudent(ctypes.Structure):
    """`student` of network.h."""

    _fields_ = tuple((name, _POINTER) for name in ("matrices", "scales", "zero_points", "kept"))


@final
class Objective(ctypes.Structure):
    """`objective` of loss.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "n_head", "n_groups")),
        *((name, ctypes.c_float) for name in ("least_cost", "most_cost")),
        *((name, _POINTER) for name in ("unit", "head", "first", "second", "groups")),
    )


@final
@dataclass(frozen=True)
class Functions:
    """The functions of train.c."""

    vector_floats: Any
    scratch_floats: Any
    layer: Any
    forward: Any
    gradient: Any
    loss: Any
    soap_scratch_floats: Any
    soap: Any
    train: Any


@lru_cache
def functions() -> Functions:
    """Compiled, unless they are in the cache.

    Raises:
        MissingDependency: there is no C compiler.
    """
    sources = [_FOLDER / name for name in ("train.c", "loss.h", "network.h", "products.h", "soap.h")]
    library = ctypes.CDLL(str(shared_object(sources, FLAGS, ("-lm",))))

    def function(name: str, result: Any, *arguments: Any) -> Any:
        found = library[f"lilliput_{name}"]
        found.restype, found.argtypes = result, arguments
        return found

    size, real, whole, at = ctypes.c_size_t, ctypes.c_double, ctypes.c_long, ctypes.c_void_p
    return Functions(
        vector_floats=function("vector_floats", size),
        scratch_floats=function("scratch_floats", size, at, size),
        layer=function("layer", None, at, at, ctypes.c_int, *(at,) * 6),
        forward=function("forward", None, at, at, at, size, at, at),
        gradient=function("gradient", real, at, at, at, at, at, at, size, at, at, at),
        loss=function("loss", real, at, size, at, at, size, at),
        soap_scratch_floats=function("soap_scratch_floats", size, size, size),
        soap=function("soap", None, at, at, at, size, size, ctypes.c_float, whole, at),
        train=function("train", real, at, at, at, *(at,) * 5, size, at, whole, whole, at),
    )


def pointer(array: np.ndarray) -> int:
    """The address of an array that is contiguous; it must outlive the call."""
    assert array.flags.c_contiguous
    return array.ctypes.data
