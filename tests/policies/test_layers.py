"""Layers: shapes are those of what they compute, arrays cannot be changed, errors say what does not fit."""

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from tests.arrays import f32, i8, i32
from tests.strategies import N_CALIBRATION, plausible_observations, policies

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, layer_shapes


@settings(max_examples=40)
@given(policies())
def test_shapes_are_those_of_what_is_computed(policy: Policy) -> None:
    observations = plausible_observations(policy.observation_space, N_CALIBRATION, np.random.default_rng(0))
    computed = [x.shape[1:] for x in reference.layer_inputs(policy, observations)]
    assert list(layer_shapes(policy)) == computed


def test_every_kind_is_listed_by_its_name() -> None:
    assert set(layers.KINDS.values()) == set(get_args(layers.Layer))
    assert all(kind.__name__ == name for name, kind in layers.KINDS.items())


@settings(max_examples=40)
@given(policies())
def test_arrays_are_read_only(policy: Policy) -> None:
    def arrays(value: Any) -> list[np.ndarray]:
        if isinstance(value, np.ndarray):
            return [value]
        if dataclasses.is_dataclass(value):
            return [array for field in dataclasses.fields(value) for array in arrays(getattr(value, field.name))]
        return []

    found = [array for layer in policy.layers for array in arrays(layer)]
    assert found
    assert not any(array.flags.writeable for array in found)


def test_the_arrays_of_the_caller_stay_the_callers() -> None:
    weight = f32([[1, 2]])
    layer = layers.Dense(weight, None)
    weight[0, 0] = 9
    assert layer.weight[0, 0] == 1


WEIGHT = QuantizedTensor(i8([[1, 2]]), f32(1), 8)
KERNEL = QuantizedTensor(i8(np.ones((1, 1, 2, 2))), f32(1), 8)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Dense(f32([[1, 2]]), None), (3,), "a weight of shape [1, 2] gets an input of shape [3]"),
        (layers.Dense(f32([[1, 2]]), None), (2, 2), "gets an input of shape [2, 2]"),
        (layers.Dense(f32([[1, 2]]), f32([1, 2])), (2,), "a layer of 1 outputs has a bias of shape [2]"),
        (layers.QuantizedDense(WEIGHT, None, None), (3,), "a weight of shape [1, 2] gets an input of shape [3]"),
        (
            layers.QuantizedDense(WEIGHT, None, layers.StaticRange(f32([1, 1, 1]), i32([0, 0, 0]))),
            (2,),
            "an input range of shape [3] for an input of shape [2]",
        ),
        (layers.Conv2d(f32(np.ones((1, 2, 3, 3))), None, (1, 1)), (1, 5, 5), "gets an input of shape [1, 5, 5]"),
        (layers.Conv2d(f32(np.ones((1, 1, 3, 3))), None, (1, 1)), (1, 2, 5), "larger than its input [1, 2, 5]"),
        (layers.Conv2d(f32(np.ones((1, 1, 3, 3))), None, (0, 1)), (1, 5, 5), "has the stride (0, 1)"),
        (layers.Conv2d(f32(np.ones((1, 1, 3, 3))), None, (1, 1), (0, -1)), (1, 5, 5), "the padding (0, -1)"),
        (
            layers.QuantizedConv2d(KERNEL, None, layers.StaticRange(f32([1]), i32([0])), (1, 1)),
            (1, 5, 5),
            "an input range of shape [1]",
        ),
        (layers.SelectInputs(np.array([0, 5], np.uint16)), (5,), "input 5 is selected from an input of shape [5]"),
        (layers.ArgmaxAction((2, 2)), (5,), "an argmax over groups of [2, 2] gets an input of shape [5]"),
        (layers.LayerNorm(f32([1]), f32([1])), (2,), "a layer norm of shape [1]"),
        (
            layers.Standardize(f32([0, 0]), f32(1), f32(1)),
            (3,),
            "Standardize has [2] numbers for an input of shape [3]",
        ),
        (layers.ClipAction(f32(0), f32([1, 2])), (1,), "ClipAction has [2] numbers"),
        (layers.RescaleAction(f32([1, 2]), f32(0)), (1,), "RescaleAction has [2] numbers"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_that_does_not_fit_is_refused(layer: Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(LilliputError) as caught:
        layers.output_shape(layer, shape)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dense(np.ones((1, 2)), None), "Dense.weight is float64; it must be float32 or float16"),
        (lambda: layers.DynamicRange(1), "activation_bits is 1; it must be from 2 to 8"),
        (lambda: layers.StaticRange(f32(1), i32([0])), "a zero point must be int32 and have the shape of its scale"),
        (lambda: layers.StaticRange(f32(1), np.array(0)), "a zero point must be int32"),
        (lambda: layers.SelectInputs(np.array([1, 1], np.uint16)), "input indices must ascend, each index once"),
        (lambda: layers.SelectInputs(np.array([], np.uint16)), "must be uint16, one or more"),
        (lambda: layers.SelectInputs(np.array([1])), "input indices are int64[1]"),
    ],
)
def test_an_impossible_layer_is_refused(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(LilliputError) as caught:
        make()
    assert message in str(caught.value)


def test_real_arrays_are_all_that_must_be_finite() -> None:
    dense = layers.QuantizedDense(WEIGHT, f32([1]), layers.StaticRange(f32(2), i32(0)))
    assert [array.tolist() for array in layers.real_arrays(dense)] == [1.0, 2.0, [1.0]]
    assert layers.real_arrays(layers.ClipAction(f32(-np.inf), f32(np.inf))) == ()
