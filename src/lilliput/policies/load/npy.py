"""Arrays of numpy's .npy files, read without numpy.load: what a header claims is checked first."""

import ast
import math

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.inert_numpy import MAX_DIMENSIONS, NUMBERS

MAX_NPY_HEADER = 1024

_NPY_TYPES = {f"{order}{code}": np.dtype(f"{order}{code}") for order in "<>" for code in NUMBERS} | {
    f"|{code}": np.dtype(code) for code in ("u1", "i1")
}


def read_npy(data: bytes, name: str) -> np.ndarray:
    """An array in numpy's own format: plain numbers only, its announced size checked before anything of it is made.

    Raises:
        LilliputError: damaged, or of something else than plain numbers.
    """
    # Magic and version (8 bytes), the length of the header (2 bytes, or 4 from version 2 on), the header, the numbers.
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    try:
        if not data.startswith(b"\x93NUMPY") or start > MAX_NPY_HEADER:
            raise ValueError("not a header of numpy")
        header = ast.literal_eval(data[8 + width : start].decode("ascii").strip())
        shape, dtype = header["shape"], _NPY_TYPES[header["descr"]]
        if not all(type(size) is int and size >= 0 for size in shape) or len(shape) > MAX_DIMENSIONS:
            raise ValueError("an impossible shape")
        if math.prod(shape) * dtype.itemsize != len(data) - start:
            raise ValueError("the size announced is not the size there")
        order = "F" if header["fortran_order"] else "C"
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError) as error:
        raise LilliputError(f"{name} is damaged or no plain numbers; write it with numpy.savez") from error
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order=order)
