"""Quantized layers with a memory: near the policy, the same in every format, calibrated on whole episodes."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.policies.recurrent import every_memory, policy_with, walk

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.compress import Context, compress, quantize_memory
from lilliput.policies.export import export, open_artifact

POLICIES = every_memory()
RECIPES = {
    "static": "quantize(scheme='static', granularity='per_channel', input='per_dimension')",
    "dynamic": "quantize()",
    "weights of 4 bits": "quantize(scheme='weight_only', weight_bits=4)",
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "name", ["lstm begins elsewhere", "gru resets first", pytest.param("all of them", marks=pytest.mark.slow)]
)
def test_codes_act_alike_in_every_format(name: str, recipe: str, tmp_path: Path) -> None:
    policy = POLICIES[name]
    x = walk(policy, 100)
    small = compress(policy, RECIPES[recipe], Context.from_observations(policy, x))
    parts = [[p for layer in one.layers for p in layers.linear_parts(layer)] for one in (policy, small)]
    for before, after in zip(*parts, strict=True):
        assert isinstance(before, layers.Dense)
        assert isinstance(after, layers.QuantizedDense)
        if "4 bits" in recipe:  # elsewhere ranges of inputs stand in the weights
            step = np.max(after.weight.scale.astype(np.float32))
            assert np.abs(after.weight.dequantize() - before.weight).max() <= 0.5001 * step
    assert small.model_bytes < 0.6 * policy.model_bytes
    own, real = reference.act_episode(small, x), reference.act_episode(policy, x)
    # Half a step of 4 bits in each weight moves the actions of a gated unit by as much as a third.
    assert np.abs(own - real).max() < (0.5 if "4 bits" in recipe else 0.05)
    for format_ in ("onnx", "c"):
        export(small, format_, tmp_path / format_, observations=x)
        act = open_artifact(tmp_path / format_).begin()
        off = np.abs(np.stack([act(row) for row in x]) - own).max(axis=1)
        assert np.quantile(off, 0.9) < 1e-5  # a code beside a tie may flip, and is forgotten again
        assert off.max() < 0.02


def test_a_hidden_state_has_its_bounds_as_range_whatever_calibrated() -> None:
    policy = POLICIES["lstm"]
    still = np.zeros((30, 5), np.float32)
    small = compress(policy, RECIPES["static"], Context.from_observations(policy, still))
    layer = small.layers[1]
    assert isinstance(layer, layers.Lstm)
    range_ = layer.recurrent.input if isinstance(layer.recurrent, layers.QuantizedDense) else None
    assert isinstance(range_, layers.StaticRange)
    low, high = (code - range_.zero_point for code in (0, 255))
    assert low / range_.inverse_scale <= -0.99
    assert high / range_.inverse_scale >= 0.99


def test_both_biases_of_an_lstm_become_one() -> None:
    small = compress(POLICIES["lstm"], "quantize()")
    layer = small.layers[1]
    assert isinstance(layer, layers.Lstm)
    assert layer.recurrent.bias is None
    assert isinstance(layer.recurrent.weight, QuantizedTensor)


def test_calibration_sees_what_the_reference_computes() -> None:
    """Oracle: a History, whose outputs are known, before the layer that is asked for."""
    policy = policy_with(layers.History(2))
    episodes = [walk(policy, n, seed=n) for n in (3, 7, 5)]
    seen = quantize_memory.inputs(policy, episodes)[2, ""]
    normalizer = policy.layers[0]
    rows = []
    for episode in episodes:
        x = reference.apply(normalizer, episode)
        rows += [np.concatenate(pair) for pair in zip([np.zeros(5, np.float32), *x[:-1]], x, strict=True)]
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, np.array(rows).tolist()))


def test_bits_of_each_layer_s_own_are_refused() -> None:
    policy = POLICIES["gru"]
    context = Context.from_observations(policy, walk(policy, 20))
    with pytest.raises(
        LilliputError, match=r"'auto' does not weigh the parts of a memory yet; give a number, such as weight_bits=5"
    ):
        compress(policy, "quantize(weight_bits='auto', max_bytes=2000)", context)


def test_every_kind_of_memory_is_tried() -> None:
    tried = {type(layer) for policy in POLICIES.values() for layer in policy.layers if isinstance(layer, layers.Memory)}
    assert tried == set(get_args(layers.Memory))
