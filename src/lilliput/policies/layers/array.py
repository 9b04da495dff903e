"""Real arrays of a layer: float32 or float16, and nobody's to change."""

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.affine import frozen


def freeze_real(layer: object, *names: str) -> None:
    """Makes the layer's fields of those names read-only.

    Raises:
        LilliputError: one is no array of float32 or float16.
    """
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise LilliputError(f"{type(layer).__name__}.{name} is {type(value).__name__}; it must be an array")
        if value.dtype not in (np.float32, np.float16):
            raise LilliputError(f"{type(layer).__name__}.{name} is {value.dtype}; it must be float32 or float16")
        object.__setattr__(layer, name, frozen(value))
