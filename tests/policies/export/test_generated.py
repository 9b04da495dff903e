"""Generated C as it stands in `generated/`: a change of the writer shows as a diff that a reader can judge.

One tiny policy for each family of kernels, of weights that no library draws or adds up. `pytest --update` on this file
writes them again. `_kernels.h` is what `kernels.txt` lists, file after file, and is written out for one policy only.
"""

from pathlib import Path

import numpy as np
import pytest

from lilliput.policies import layers, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.export import c
from lilliput.policies.policy import Policy

GENERATED = Path(__file__).parent / "generated"
WHOLE = "integers"
"""The policy all of whose files stand there."""

RELU = layers.Relu()


def numbers(*shape: int) -> np.ndarray:
    """Float32 with few digits, each another."""
    count = np.arange(np.prod(shape)).reshape(shape)
    return ((count * 37 % 101 - 50) / 64).astype(np.float32)


def codes(bits: int, *shape: int, kept: int = 1) -> QuantizedTensor:
    """Whole numbers of so many bits, one in `kept` of them not zero."""
    count = np.arange(np.prod(shape)).reshape(shape)
    values = count * 37 % (2**bits - 1) - (2 ** (bits - 1) - 1)
    return QuantizedTensor(
        np.where(count % kept == 0, values | 1, 0).astype(np.int8), np.array(1 / 64, np.float32), bits
    )


def static(inverse_scale: float, zero_point: int = 0) -> layers.StaticRange:
    return layers.StaticRange(np.array(inverse_scale, np.float32), np.array(zero_point, np.int32))


def dense(rows: int, width: int) -> layers.Dense:
    return layers.Dense(numbers(rows, width), numbers(rows))


def quantized(
    weight: QuantizedTensor, input_range: layers.InputRange = None, dtype: type[np.floating] = np.float32
) -> layers.QuantizedDense:
    return layers.QuantizedDense(weight, numbers(len(weight.values)).astype(dtype), input_range)


def normalizer(dtype: type[np.floating]) -> layers.Standardize:
    return layers.Standardize(numbers(5).astype(dtype), (1 + numbers(5) ** 2).astype(dtype), np.array(10, dtype))


def actor(inputs: int, *stack: layers.Layer) -> Policy:
    """Two real actions."""
    ends, one = np.full(inputs, np.inf), np.ones(2)
    return Policy(spaces.Box((inputs,), -ends, ends), spaces.Box((2,), -one, one), (*stack, layers.SquashAction()))


def on_image(first: layers.Layer) -> Policy:
    """A choice from an image of bytes."""
    space = spaces.Box((4, 9, 8), np.zeros(()), np.array(255.0), "uint8")
    scale = layers.Standardize(*(np.array(number, np.float32) for number in (0, 1 / 256, np.inf)))
    last = layers.Flatten(), dense(3, 12), layers.ArgmaxAction((3,))
    return Policy(space, spaces.Discrete(3), (scale, first, RELU, *last))


def policy_of(name: str) -> Policy:
    """The policy of that name."""
    match name:
        case "float32":
            return actor(5, normalizer(np.float32), dense(3, 5), layers.Tanh(), dense(2, 3))
        case "half":
            first = layers.Dense(numbers(3, 5).astype(np.float16), numbers(3).astype(np.float16))
            middle = layers.LayerNorm(numbers(3) + 1, numbers(3)), layers.Elu(1.0)
            last = layers.Dense(numbers(2, 3).astype(np.float16), None)
            return actor(5, normalizer(np.float16), first, *middle, last)
        case "weight_only":
            return actor(5, quantized(codes(3, 3, 5)), RELU, quantized(codes(8, 2, 3)))
        case "integers":
            return actor(5, quantized(codes(8, 3, 5), static(20, 128)), RELU, quantized(codes(8, 2, 3), static(0.1)))
        case "table":
            first = quantized(codes(4, 3, 5), static(20, 300), np.float16)
            return actor(5, first, layers.Silu(), quantized(codes(4, 2, 3), static(0.1, 9)))
        case "dynamic":
            by_itself = layers.DynamicRange(8)
            last = quantized(codes(4, 2, 3), by_itself)
            return actor(5, quantized(codes(8, 3, 5), by_itself), layers.Sigmoid(), last)
        case "bit_mask":
            first = quantized(codes(8, 4, 20, kept=3), static(20, 128))
            return actor(20, first, RELU, quantized(codes(4, 2, 4), static(0.1)))
        case "indices":
            select = layers.SelectInputs(np.arange(1, 41, 2, dtype=np.uint16))
            first = quantized(codes(5, 4, 20, kept=19))
            return actor(41, select, first, RELU, quantized(codes(4, 2, 4), static(0.1)))
        case "lstm":
            cell = layers.Lstm(dense(12, 5), quantized(codes(8, 12, 3)), numbers(2, 3))
            return actor(5, cell, dense(2, 3))
        case "gru":
            return actor(10, layers.History(2), layers.Gru(dense(9, 20), dense(9, 3)), dense(2, 3))
        case "image":
            return on_image(layers.Conv2d(numbers(2, 4, 3, 3), numbers(2), (3, 3)))
        case "image_codes":
            bytes_ = layers.StaticRange(np.array(255, np.float32), np.array(0, np.int32))
            return on_image(layers.QuantizedConv2d(codes(8, 2, 4, 3, 3), numbers(2), bytes_, (3, 3)))
        case _:
            raise KeyError(name)


NAMES = (
    "float32", "half", "weight_only", "integers", "table", "dynamic", "bit_mask", "indices", "lstm", "gru", "image",
    "image_codes",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_c_is_what_is_committed(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    policy = policy_of(name)
    golden = (1, 1) if policy.has_memory else (1,)  # an episode, or an observation
    observation = np.zeros((*golden, *spaces.input_shape(policy.observation_space)))
    action = np.zeros((*golden, *spaces.action_shape(policy.action_space)))
    c.write(policy, tmp_path, observation, action, 0.0, name=name)
    kept = sorted(tmp_path.iterdir()) if name == WHOLE else [tmp_path / f"{name}.h", tmp_path / f"{name}.c"]
    texts = {path.name: path.read_text() for path in kept}
    texts["kernels.txt"] = "".join(f"{kernel}\n" for kernel in c.kernels(policy))
    folder = GENERATED / name
    if request.config.getoption("update"):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()
        for file, text in texts.items():
            (folder / file).write_text(text)
    assert {path.name: path.read_text() for path in folder.iterdir()} == texts


def test_no_example_is_left_over() -> None:
    assert {path.name for path in GENERATED.iterdir()} == set(NAMES)
