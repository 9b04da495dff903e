"""The policy that is read from an ONNX file is held to the file, run by onnxruntime."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32, loaded, node

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import flow_layers
from lilliput.policies.load.flow import Affine


def test_an_action_that_is_read_wrongly_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = flow_layers.assemble

    def wrong(*arguments, **options):
        shape, stack, space = right(*arguments, **options)
        first = stack[0]
        assert isinstance(first, layers.Dense)
        return shape, [dataclasses.replace(first, weight=first.weight * np.float32(1.001)), *stack[1:]], space

    loaded(build(SIMPLE, WEIGHTS), tmp_path)
    monkeypatch.setattr(flow_layers, "assemble", wrong)
    with pytest.raises(LilliputError, match=r"runs the file to other actions .* they differ by 0\.0\d+, and reach"):
        loaded(build(SIMPLE, WEIGHTS), tmp_path)


def test_numbers_behind_choices_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong scale in one action of three changes few choices on random observations."""
    nodes = [*SIMPLE[:2], node("Gemm", "a w1 b1", "q", transB=1), node("ArgMax", "q", "action", axis=1, keepdims=0)]
    data = build(nodes, WEIGHTS, outputs=[("action", TensorProto.INT64)])
    loaded(data, tmp_path)
    right = flow_layers.assemble

    def wrong(*arguments, **options):
        shape, stack, space = right(*arguments, **options)
        last = stack[-2]
        assert isinstance(last, layers.Dense)
        factor = np.array([[1.01], [1], [1]], np.float32)
        return shape, [*stack[:-2], layers.Dense(last.weight * factor, last.bias), stack[-1]], space

    monkeypatch.setattr(flow_layers, "assemble", wrong)
    with pytest.raises(LilliputError, match="numbers behind its choices"):
        loaded(data, tmp_path)


def test_observations_that_float32_does_not_hold_are_refused_for_what_they_are(tmp_path: Path) -> None:
    """A position in metres of a national grid: (x - mean) / std in float64, then a float32 network."""
    constants = WEIGHTS | {"mean": 4e6 + np.arange(5.0), "std": np.full(5, 0.5)}
    nodes = [
        node("Sub", "obs mean", "c"),
        node("Div", "c std", "z"),
        node("Cast", "z", "f", to=TensorProto.FLOAT),
        node("Gemm", "f w0 b0", "h"),
        *SIMPLE[1:],
    ]
    with pytest.raises(
        LilliputError, match=r"takes float64, and float32, .* has steps of 0\.\d+ at 4e\+06: take the off"
    ):
        loaded(build(nodes, constants, kind=TensorProto.DOUBLE), tmp_path)
    near = loaded(build(nodes, constants | {"mean": np.arange(5.0)}, kind=TensorProto.DOUBLE), tmp_path)
    assert isinstance(near.layers[0], layers.Standardize)


def test_large_inputs_of_a_narrow_normalizer_are_no_difference(tmp_path: Path) -> None:
    """N(0, 1) is a thousand standard deviations there, and float32 rounds what such numbers sum to."""
    rng = np.random.default_rng(0)
    std = rng.uniform(1e-4, 1e-3, 5).astype(np.float32)
    nodes = [node("Sub", "obs mean", "c"), node("Div", "c std", "z"), node("Gemm", "z w0 b0", "h"), *SIMPLE[1:]]
    loaded(build(nodes, WEIGHTS | {"mean": f32(5, seed=8), "std": std}), tmp_path)


def test_ties_of_choices_are_no_difference(tmp_path: Path) -> None:
    weights = {"w": np.repeat(f32(5, 1), 3, axis=1)}
    nodes = [node("Gemm", "obs w", "q"), node("ArgMax", "q", "action", axis=1, keepdims=0)]
    loaded(build(nodes, weights, outputs=[("action", TensorProto.INT64)]), tmp_path)


def test_what_onnxruntime_does_not_open_is_refused_as_that(tmp_path: Path) -> None:
    nodes = [*SIMPLE[:2], node("Gemm", "a w1 b1", "action", transB=1, unknown=3)]
    with pytest.raises(LilliputError, match=r"onnxruntime .* does not open it, so what was read cannot be compared"):
        loaded(build(nodes, WEIGHTS), tmp_path)


def test_an_affine_step_that_does_nothing_is_none() -> None:
    assert flow_layers._does_nothing(Affine(np.ones(()), np.zeros(3)))
    assert not flow_layers._does_nothing(Affine(np.ones(()), np.ones(3)))
