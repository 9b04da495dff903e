"""What model_bytes counts, against counts by hand and against what can be decoded from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.arrays import f32, i8
from tests.strategies import policies

from lilliput.policies import affine, constants, layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.constants import StoredWeight
from lilliput.policies.policy import Policy


def unpacked(packed: np.ndarray, bits: int, n: int) -> list[int]:
    """The signed codes of a stream of bits, which is one large integer and no longer than they are."""
    assert packed.nbytes == -(-n * bits // 8)
    stream = int.from_bytes(packed.tobytes(), "little")
    fields = [stream >> (bits * i) & (2**bits - 1) for i in range(n)]
    return [field - 2**bits if field >= 2 ** (bits - 1) else field for field in fields]


def decoded(stored: StoredWeight, shape: tuple[int, int], bits: int | None) -> np.ndarray:
    """The weight again, read one by one."""
    rows, columns = shape
    n_kept = {
        "dense": rows * columns,
        "bitmask": sum(int(byte).bit_count() for byte in stored.mask),
        "indexed": int(stored.row_lengths.sum()),
    }[stored.encoding]
    packed = bits is not None and bits < 8
    values = iter(unpacked(stored.values, bits, n_kept) if packed and bits is not None else stored.values)
    result = np.zeros(shape, np.int8 if bits is not None else stored.values.dtype)
    columns_left = iter(stored.columns)
    for row in range(rows):
        match stored.encoding:
            case "dense":
                kept = list(range(columns))
            case "bitmask":
                flat = [row * columns + column for column in range(columns)]
                kept = [column for column, i in enumerate(flat) if int(stored.mask[i // 8]) >> (i % 8) & 1]
            case _:
                kept = [int(next(columns_left)) for _ in range(int(stored.row_lengths[row]))]
        for column in kept:
            result[row, column] = next(values)
    assert next(values, None) is None
    return result


def by_hand(weight: np.ndarray, bits: int | None, is_dense: bool = True) -> int:
    """Bytes of the encoding that the rule takes, counted from the rule and not from arrays."""
    rows, columns = weight.shape
    n_kept = int(np.count_nonzero(weight))

    def values(count: int) -> int:
        return -(-count * bits // 8) if bits is not None else count * weight.itemsize

    index = 1 if columns <= 256 else 2
    length = 1 if columns <= 255 else 2
    dense, bitmask = values(rows * columns), values(n_kept) + -(-rows * columns // 8)
    indexed = values(n_kept) + n_kept * index + rows * length
    sparse = min(bitmask, indexed) if is_dense else bitmask
    return sparse if sparse <= 0.75 * dense else dense


@given(
    shape=st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 7, 8, 33, 255, 256, 257])),
    bits=st.sampled_from([None, 2, 3, 4, 5, 8]),
    density=st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]),
    half=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_stored_weight_comes_back_from_its_encoding(
    shape: tuple[int, int], bits: int | None, density: float, half: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kept = rng.random(shape) < density
    if bits is None:
        weight = (rng.uniform(1, 2, shape) * kept).astype(np.float16 if half else np.float32)
        stored = constants.store_weight(weight)
    else:
        low, high = affine.signed_range(bits)
        weight = (rng.integers(low, high + 1, shape) * kept).astype(np.int8)
        stored = constants.store_weight(QuantizedTensor(weight, f32(1), bits))
    np.testing.assert_array_equal(decoded(stored, shape, bits), weight)
    assert stored.nbytes == by_hand(weight, bits)


@settings(max_examples=40)
@given(policies())
def test_model_bytes_are_counted_by_hand(policy: Policy) -> None:
    total = 0
    for layer in policy.layers:
        match layer:
            case layers.Dense(weight=weight, bias=bias) | layers.Conv2d(weight=weight, bias=bias):
                total += by_hand(weight.reshape(len(weight), -1), None, weight.ndim == 2) + (
                    0 if bias is None else bias.nbytes
                )
            case (
                layers.QuantizedDense(weight=tensor, bias=bias, input=range_)
                | layers.QuantizedConv2d(weight=tensor, bias=bias, input=range_)
            ):
                total += (
                    by_hand(tensor.values.reshape(len(tensor.values), -1), tensor.bits, tensor.values.ndim == 2)
                    + tensor.scale.nbytes
                )
                total += 0 if bias is None else bias.nbytes
                if isinstance(range_, layers.StaticRange):
                    low, high = range_.zero_point.min(), range_.zero_point.max()
                    size = 1 if low >= 0 and high <= 255 else 2 if low >= -32768 and high <= 32767 else 4
                    total += range_.inverse_scale.nbytes + size * range_.zero_point.size
            case layers.Standardize():
                total += (
                    layer.mean.nbytes + layer.scale.nbytes + (layer.clip.nbytes if np.isfinite(layer.clip).any() else 0)
                )
            case layers.LayerNorm():
                total += layer.weight.nbytes + layer.bias.nbytes
            case layers.RescaleAction():
                total += layer.scale.nbytes + layer.offset.nbytes
            case layers.ClipAction():
                total += layer.low.nbytes + layer.high.nbytes
            case layers.SelectInputs(indices=indices):
                total += min(indices.size * (1 if indices.max() < 256 else 2), indices.max() // 8 + 1)
            case _:
                pass
    assert policy.model_bytes == total


@pytest.mark.parametrize(
    ("zero_point", "dtype"), [(255, np.uint8), (256, np.int16), (-1, np.int16), (40_000, np.int32)]
)
def test_a_zero_point_takes_the_smallest_integer(zero_point: int, dtype: type[np.generic]) -> None:
    range_ = layers.StaticRange(f32(1), np.array(zero_point, np.int32))
    layer = layers.QuantizedDense(QuantizedTensor(i8([[1]]), f32(1), 8), None, range_)
    stored = constants.constants(layer)["zero_point"]
    assert stored.dtype == dtype
    assert int(stored) == zero_point


def test_the_order_is_that_of_the_c_format() -> None:
    range_ = layers.StaticRange(f32(1), np.array(0, np.int32))
    layer = layers.QuantizedDense(QuantizedTensor(i8([[0, 0, 0, 0, 0, 0, 0, 0, 1]]), f32(1), 8), f32([0]), range_)
    # One of nine: the mask and the indices take as much, and the simpler one is taken.
    assert list(constants.constants(layer)) == ["inverse_scale", "zero_point", "weight", "mask", "weight_scale", "bias"]
