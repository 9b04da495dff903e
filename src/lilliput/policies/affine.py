"""Integer codes for real numbers: scales, zero points, rounding, saturation and bit packing.

Everything that rounds or saturates does it here, as ONNX QuantizeLinear does: to the nearest, ties to even, saturating.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, Float64, Int32, Num, UInt8

from lilliput.errors import LilliputError

MIN_BITS, MAX_BITS = 2, 8


def frozen(array: np.ndarray | np.generic) -> np.ndarray:
    """A C-contiguous, read-only array with the same values; the argument itself where it already is one."""
    if isinstance(array, np.ndarray) and array.flags.c_contiguous and not array.flags.writeable:
        return array
    result = np.array(array, order="C")
    result.flags.writeable = False
    return result


def check_bits(bits: int, name: str) -> None:
    """Check that `bits` is from 2 to 8.

    Raises:
        LilliputError: it is not.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise LilliputError(f"{name} is {bits}; it must be from {MIN_BITS} to {MAX_BITS}")


def signed_range(bits: int) -> tuple[int, int]:
    """The smallest and largest signed code of `bits` bits.

    >>> signed_range(8), signed_range(2)
    ((-128, 127), (-2, 1))
    """
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def unsigned_max(bits: int) -> int:
    """The largest unsigned code of `bits` bits."""
    return (1 << bits) - 1


@final
@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """Signed integer codes with a scale: the real weights are `scale * values`, the scale one for all or one a row.

    Attributes:
        values: codes in `signed_range(bits)`; the first axis is the output channel.
        scale: shape () or (rows,); float32, or float16 where storage is halved (read as float32).
        bits: bits a code takes in storage.
    """

    values: np.ndarray
    scale: np.ndarray
    bits: int

    def __post_init__(self) -> None:
        check_bits(self.bits, "bits")
        low, high = signed_range(self.bits)
        if self.values.dtype != np.int8 or self.values.ndim < 2:
            raise LilliputError(
                f"quantized weights are {self.values.dtype}{list(self.values.shape)}; they must be int8, 2-d or more"
            )
        if self.values.size and (int(self.values.min()) < low or int(self.values.max()) > high):
            raise LilliputError(f"a quantized weight is outside [{low}, {high}], the range of {self.bits} bits")
        if self.scale.shape not in ((), self.values.shape[:1]) or self.scale.dtype not in (np.float32, np.float16):
            raise LilliputError(
                f"a weight scale is {self.scale.dtype}{list(self.scale.shape)}; allowed: float32 or float16, "
                f"one or one a row"
            )
        object.__setattr__(self, "values", frozen(self.values))
        object.__setattr__(self, "scale", frozen(self.scale))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""
        return self.values.shape

    def dequantize(self) -> Float32[np.ndarray, "rows ..."]:
        """The real weights that the codes stand for."""
        scale = self.scale.astype(np.float32)
        return self.values.astype(np.float32) * scale.reshape(scale.shape + (1,) * (self.values.ndim - scale.ndim))


def quantize_weights(weight: Num[np.ndarray, "rows ..."], scale: Num[np.ndarray, "..."], bits: int) -> QuantizedTensor:
    """The codes nearest to `weight / scale`, without the lowest code: the range is symmetric.

    >>> quantize_weights(np.array([[1.0, -2.0, 0.25]], np.float32), np.float32([0.5]), 3).values.tolist()
    [[2, -3, 0]]
    """
    low, high = signed_range(bits)
    scale = np.asarray(scale, np.float32)
    wide = scale.reshape(scale.shape + (1,) * (weight.ndim - scale.ndim))
    codes = np.clip(np.rint(weight.astype(np.float32) / wide), low + 1, high)
    return QuantizedTensor(codes.astype(np.int8), scale, bits)


def quantize_unsigned(
    x: Float32[np.ndarray, "n ..."],
    inverse_scale: Float32[np.ndarray, "..."],
    zero_point: Num[np.ndarray, "..."],
    bits: int,
) -> Float64[np.ndarray, "n ..."]:
    """The unsigned codes `saturate(round(x * inverse_scale) + zero_point)`, held in float64, where they are exact.

    >>> x = np.float32([[-1.0, 0.5, 1.5, 99.0]])
    >>> quantize_unsigned(x, np.float32([1]), np.int32([1]), 2).tolist()  # ties go to even, then both ends saturate
    [[0.0, 1.0, 3.0, 3.0]]
    """
    codes = np.rint(x * np.asarray(inverse_scale, np.float32)).astype(np.float64) + zero_point
    return np.clip(codes, 0, unsigned_max(bits))


def dynamic_range(
    x: Float32[np.ndarray, "n features"], bits: int
) -> tuple[Float32[np.ndarray, "n 1"], Int32[np.ndarray, "n 1"]]:
    """One scale and zero point an observation, as ONNX DynamicQuantizeLinear: the range of `x` and 0 over the codes."""
    top = np.float32(unsigned_max(bits))
    low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
    high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
    scale = (high - low) / top
    scale = np.where(scale == 0, np.float32(1), scale).astype(np.float32)
    zero_point = np.clip(np.rint(-low / scale), 0, top)
    return scale, zero_point.astype(np.int32)


def packed_nbytes(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return (count * bits + 7) // 8


def pack(codes: Num[np.ndarray, "..."], bits: int) -> UInt8[np.ndarray, " nbytes"]:
    """The codes, two's complement, as one little-endian bit stream in row-major order: code i starts at bit i * bits.

    >>> pack(np.int8([1, -1, -2]), 2).tolist()  # 01, 11, 10 from the lowest bit up
    [45]
    """
    fields = np.asarray(codes).reshape(-1).astype(np.int64) & unsigned_max(bits)
    stream = (fields[:, None] >> np.arange(bits)) & 1
    return np.packbits(stream.reshape(-1).astype(np.uint8), bitorder="little")
