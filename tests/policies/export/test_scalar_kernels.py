"""Kernels for processors without vectors or floats, compiled here: numpy and the C library's rounding judge."""

import dataclasses
import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import WARNINGS, built_and_run, quantized_mlp
from tests.strategies import Form

from lilliput.policies import layers, reference
from lilliput.policies.export import c, c_kernels
from lilliput.policies.policy import Policy

SCALAR = ["-DSCALAR", "-DLILLIPUT_SOFT_FLOATS=1", "-DLILLIPUT_INTEGERS=0"]

HALVES = """
int main(void)
{
    unsigned half;
    for (half = 0; half < 65536; half++) {
        float value = half_value((uint16_t)half);
        fwrite(&value, sizeof value, 1, stdout);
    }
    return 0;
}
"""

INTEGERS = """
int main(void)
{
    uint32_t bits = 0;
    do { /* every exponent, and mantissas with ties among them */
        const float x = float_from_bits(bits);
        const int32_t found = nearest_integer(x, -7);
        if (x != x ? found != -7 : fabsf(x) < 8388608.0f ? found != (int32_t)rintf(x)
                                                         : found < 8388608 && found > -8388608) {
            printf("%.9g: %d", (double)x, (int)found);
            return 1;
        }
        bits += 8179;
    } while (bits > 8179);
    for (bits = 0; bits < 8000000; bits++) {
        const float x = 0.5f * (float)bits;
        if (nearest_integer(-x, 0) != (int32_t)rintf(-x)) {
            return 1;
        }
    }
    return 0;
}
"""


def output(folder: Path, kernel: str, main: str) -> bytes:
    """What a program prints that is made of a kernel and its main function."""
    (folder / "main.c").write_text(f"#include <stdio.h>\n{c_kernels.bundle([kernel])}{main}")
    command = ["gcc", "-std=c99", *WARNINGS, *SCALAR, "-O2", "main.c", "-lm", "-o", "main"]
    compiled(command, folder).check_returncode()
    return subprocess.run(["./main"], cwd=folder, check=True, capture_output=True).stdout


def test_halves_become_floats_without_a_float_operation(tmp_path: Path) -> None:
    found = np.frombuffer(output(tmp_path, "half_to_float", HALVES), np.uint32)
    expected = np.arange(1 << 16).astype(np.uint16).view(np.float16).astype(np.float32)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(found[~nan], expected.view(np.uint32)[~nan])
    assert np.isnan(found.view(np.float32)[nan]).all()


def test_floats_are_rounded_without_a_float_operation(tmp_path: Path) -> None:
    assert output(tmp_path, "quantize_static", INTEGERS) == b""


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("compiler", "bits"), [*(("gcc", bits) for bits in range(2, 8)), *itertools.product(["clang", "g++"], [3, 4])]
)
def test_packed_weights_are_exact_to_the_bit(bits: int, form: str, compiler: str, tmp_path: Path) -> None:
    widths = (18 + bits, 37, 5)
    policy = quantized_mlp("static" if form == "static" else "dynamic", bits, (bits, 8), widths)
    observations = np.random.default_rng(1).normal(0, 2, (64, widths[0])).astype(np.float32)
    c.write(policy, tmp_path, observations, reference.act(policy, observations), 0.0)
    assert "largest difference 0," in built_and_run(tmp_path, compiler, "-O2", *SCALAR)


@pytest.mark.parametrize("form", ["static", "dynamic", "weight_only"])
@pytest.mark.parametrize(("bits", "sparsity"), [(8, 0.7), (4, 0.7), (3, 0.9)])
def test_weights_without_zeros_are_read_one_by_one(form: Form, bits: int, sparsity: float, tmp_path: Path) -> None:
    policy = quantized_mlp(form, bits, (bits, 8), (22, 37, 19, 5), sparsity)
    observations = np.random.default_rng(1).normal(0, 2, (32, 22)).astype(np.float32)
    actions = reference.act(policy, observations)
    c.write(policy, tmp_path, observations, actions, 1e-5 * float(np.abs(actions).max()))
    assert "passed" in built_and_run(tmp_path, "gcc", "-O2", *SCALAR)


@pytest.mark.parametrize("form", ["float16", "static"])
def test_small_constants_are_decoded_where_they_stand(form: Form, tmp_path: Path) -> None:
    """Half-precision biases, scales and bounds, and zero points of 8 and 16 bits."""
    network = quantized_mlp(form, 1, (8, 8), (9, 18, 5))
    half = np.linspace(0.5, 2, 9).astype(np.float16)
    stack: list[layers.Layer] = [layers.Standardize(half, half, np.array(10, np.float16)), *network.layers]
    first = stack[1]
    if isinstance(first, layers.QuantizedDense):
        assert isinstance(first.input, layers.StaticRange)
        below = dataclasses.replace(first.input, zero_point=first.input.zero_point - np.int32(140))
        stack[1] = dataclasses.replace(first, input=below)
    policy = Policy(network.observation_space, network.action_space, tuple(stack))
    observations = np.random.default_rng(1).normal(0, 2, (16, 9)).astype(np.float32)
    actions = reference.act(policy, observations)
    c.write(policy, tmp_path, observations, actions, 1e-5 * float(np.abs(actions).max()))
    text = (tmp_path / "policy.c").read_text()
    assert "HALVES(layer0_mean" in text
    assert form == "float16" or "ZEROS_16(layer1_zero_point" in text
    for flags in (SCALAR, ["-DLILLIPUT_SOFT_FLOATS=0"]):
        assert "passed" in built_and_run(tmp_path, "gcc", "-O2", *flags)


SMALLEST: dict[tuple[int, ...], Sequence[int]] = {
    (1, 1): (2, 7),
    (1, 2): (4, 5, 7),
    (3, 3): range(2, 8),
    (1, 1, 1): (3, 4),
}
"""Widths, and bits: of one weight a byte is never full, of two it may be, or a weight stands in two."""


@pytest.mark.parametrize("form", ["static", "dynamic", "weight_only"])
@pytest.mark.parametrize("widths", SMALLEST)
def test_the_smallest_weights_are_not_read_past_the_end(form: Form, widths: tuple[int, ...], tmp_path: Path) -> None:
    """gcc sees how long they are, and warns of a read that could go further.

    With ranges of their own inputs, and in a second layer, weights are read by the same calls: of bits that fill bytes
    and bits that do not it is enough to see one.
    """
    for bits in (3, 4) if form == "dynamic" else SMALLEST[widths]:
        policy = quantized_mlp(form, bits, (bits, 8), widths)
        observations = np.random.default_rng(1).normal(0, 2, (8, widths[0])).astype(np.float32)
        actions = reference.act(policy, observations)
        c.write(policy, tmp_path, observations, actions, 1e-5 * float(np.abs(actions).max() + 1))
        for flags in (["-DLILLIPUT_INTEGERS=1"], SCALAR):
            assert "passed" in built_and_run(tmp_path, "gcc", "-O2", *flags)
