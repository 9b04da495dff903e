"""Numbers and arrays as C text that reads back as the same numbers."""

from collections.abc import Iterator

import numpy as np

_C_TYPES = {
    "float32": "float",
    "float16": "uint16_t",
    "uint8": "uint8_t",
    "int8": "int8_t",
    "uint16": "uint16_t",
    "int16": "int16_t",
    "int32": "int32_t",
}


def c_type(dtype: np.dtype) -> str:
    """The C type that an array of this dtype is stored as; half precision is stored as its bits."""
    return _C_TYPES[dtype.name]


def real(value: float | np.float32) -> str:
    """A float literal that reads back as the same float.

    >>> real(0.1), real(-2.0), real(np.float32(1e-30)), real(float("inf"))
    ('0.1f', '-2.0f', '1e-30f', 'INFINITY')
    """
    return _reals(np.array([value], np.float32))[0]


def array(name: str, values: np.ndarray) -> str:
    r"""The definition of a constant array.

    >>> array("layer0_scale", np.float32([1.5, 2]))
    'ALIGNED static const FLASH float layer0_scale[2] = {\n    1.5f, 2.0f,\n};\n'
    """
    lines = "\n".join(f"    {line}," for line in rows(values))
    return f"ALIGNED static const FLASH {c_type(values.dtype)} {name}[{values.size}] = {{\n{lines}\n}};\n"


def rows(values: np.ndarray) -> Iterator[str]:
    """The numbers, separated by commas, a line of text at a time."""
    texts = _texts(values.reshape(-1))
    step = 8 if values.dtype == np.float32 else 20
    for i in range(0, len(texts), step):
        yield ", ".join(texts[i : i + step])


def _texts(values: np.ndarray) -> list[str]:
    if values.dtype == np.float32:
        return _reals(values)
    if values.dtype == np.float16:
        return [f"0x{bits:04x}" for bits in values.view(np.uint16).tolist()]
    return [str(value) for value in values.tolist()]


def _reals(values: np.ndarray) -> list[str]:
    # numpy prints the shortest text that reads back as the same float32.
    texts = [text if "." in text or "e" in text else f"{text}.0" for text in values.astype(str).tolist()]
    if np.isfinite(values).all():
        return [f"{text}f" for text in texts]
    special = {np.inf: "INFINITY", -np.inf: "-INFINITY"}
    return [special.get(value, f"{text}f") for value, text in zip(values.tolist(), texts, strict=True)]
