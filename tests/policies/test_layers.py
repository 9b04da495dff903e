"""Layers: shapes are those of what they compute, arrays cannot be changed, errors say what does not fit."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from tests.arrays import f32, i8, i32
from tests.strategies import N_CALIBRATION, plausible_observations, policies

from lilliput.errors import LilliputError
from lilliput.policies import layers, numbers, reference, spaces
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
        (layers.PreviousAction(3, 2), (2,), "2 numbers of previous actions at 3 get an input of shape [2]"),
        (layers.PreviousAction(0, 2), (2, 2), "previous actions at 0 get an input of shape [2, 2]"),
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
        (lambda: layers.PreviousAction(-1, 2), "a previous action of 2 numbers and 1 steps at -1, 0 layers behind it"),
        (lambda: layers.PreviousAction(0, 0), "a previous action of 0 numbers"),
        (lambda: layers.PreviousAction(0, 1, 0), "at least one number, 1 to 1024 steps"),
        (lambda: layers.PreviousAction(0, 1, 1, -1), "-1 layers behind it"),
        (lambda: layers.SelectInputs(np.array([1])), "input indices are int64[1]"),
    ],
)
def test_an_impossible_layer_is_refused(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(LilliputError) as caught:
        make()
    assert message in str(caught.value)


EVERY: dict[type, tuple[Layer, tuple[int, ...]]] = {
    layers.SelectInputs: (layers.SelectInputs(np.array([0, 2], np.uint16)), (3,)),
    layers.Standardize: (layers.Standardize(f32([0, 0]), f32([1, 1]), f32([np.inf, 5])), (2,)),
    layers.Dense: (layers.Dense(f32([[1, 2]]), f32([1])), (2,)),
    layers.QuantizedDense: (
        layers.QuantizedDense(WEIGHT, f32([1]), layers.StaticRange(f32([1, 1]), i32([0, 0]))),
        (2,),
    ),
    layers.Conv2d: (layers.Conv2d(f32(np.ones((1, 1, 2, 2))), f32([1]), (1, 1)), (1, 3, 3)),
    layers.QuantizedConv2d: (
        layers.QuantizedConv2d(KERNEL, f32([1]), layers.StaticRange(f32(1), i32(0)), (1, 1)),
        (1, 3, 3),
    ),
    layers.LayerNorm: (layers.LayerNorm(f32([1, 1]), f32([0, 0])), (2,)),
    layers.Flatten: (layers.Flatten(), (2, 2)),
    layers.Relu: (layers.Relu(), (2,)),
    layers.Tanh: (layers.Tanh(), (2,)),
    layers.Sigmoid: (layers.Sigmoid(), (2,)),
    layers.Elu: (layers.Elu(), (2,)),
    layers.LeakyRelu: (layers.LeakyRelu(), (2,)),
    layers.Silu: (layers.Silu(), (2,)),
    layers.Gelu: (layers.Gelu(), (2,)),
    layers.HardTanh: (layers.HardTanh(-1.0, 1.0), (2,)),
    layers.Lstm: (
        layers.Lstm(
            layers.Dense(f32(np.ones((8, 3))), f32(np.ones(8))),
            layers.QuantizedDense(
                QuantizedTensor(i8(np.ones((8, 2))), f32(1), 8), f32(np.ones(8)), layers.StaticRange(f32(127), i32(128))
            ),
            f32([[0, 0], [1, 2]]),
        ),
        (3,),
    ),
    layers.Gru: (
        layers.Gru(
            layers.Dense(f32(np.ones((6, 3))), f32(np.ones(6))), layers.Dense(f32(np.ones((6, 2))), None), f32([[0, 1]])
        ),
        (3,),
    ),
    layers.History: (layers.History(3), (2,)),
    layers.PreviousAction: (layers.PreviousAction(2, 2, 2), (2,)),
    layers.SquashAction: (layers.SquashAction(), (2,)),
    layers.BetaAction: (layers.BetaAction(), (4,)),
    layers.RescaleAction: (layers.RescaleAction(f32([1, 1]), f32([0, 0])), (2,)),
    layers.ClipAction: (layers.ClipAction(f32([-1, -np.inf]), f32([1, 1])), (2,)),
    layers.ArgmaxAction: (layers.ArgmaxAction((2,)), (2,)),
}
"""One layer of each kind, with the shape of an input that it takes."""


def broken(value: Any) -> list[Callable[[], Any]]:
    """What makes the value with a NaN in place of one of its real numbers, once for each place."""
    match value:
        case float():
            return [lambda: math.nan]
        case np.ndarray() if value.dtype.kind == "f":
            return [lambda mask=mask: np.where(mask, np.float32("nan"), value) for mask in _masks(value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return [
                lambda name=field.name, make=make: dataclasses.replace(value, **{name: make()})
                for field in dataclasses.fields(value)
                for make in broken(getattr(value, field.name))
            ]
        case _:
            return []


def _masks(array: np.ndarray) -> list[np.ndarray]:
    return [np.arange(array.size).reshape(array.shape) == place for place in range(array.size)]


def stacked(layer: Layer, shape: tuple[int, ...]) -> Policy:
    """A policy with that layer, beside what it takes to be one."""
    if len(shape) > 1:
        box, before = spaces.Box(shape, np.array(-1.0), np.array(1.0)), ()
        size = int(np.prod(layers.output_shape(layer, shape)))
        after: tuple[Layer, ...] = (layers.Flatten(), layers.Dense(f32(np.ones((2, size))), None))
    else:
        box, after = spaces.Box((3,), np.array(-1.0), np.array(1.0)), ()
        before = (layers.Dense(f32(np.ones((*shape, 3))), None),)
    if isinstance(layer, layers.PreviousAction):
        after = (layers.Dense(f32(np.ones((layer.actions, *layers.output_shape(layer, shape)))), None),)
    stack = (*before, layer, *after)
    if isinstance(layer, layers.ArgmaxAction):
        return Policy(box, spaces.Discrete(2), stack)
    return Policy(box, spaces.Box(_output(stack, spaces.input_shape(box)), np.array(-1.0), np.array(1.0)), stack)


def _output(stack: tuple[Layer, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    for layer in stack:
        shape = layers.output_shape(layer, shape)
    return shape


def test_there_is_one_of_every_kind() -> None:
    assert set(EVERY) == set(layers.KINDS.values())


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_a_layer_of_any_kind_with_a_number_that_is_none_is_refused(kind: type) -> None:
    layer, shape = EVERY[kind]
    stacked(layer, shape)
    for make in broken(layer):
        with pytest.raises(LilliputError, match=r"holds a number that is not finite|has the epsilon nan"):
            stacked(make(), shape)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_a_layer_of_any_kind_counts_what_it_computes(kind: type) -> None:
    """Oracle: the arithmetic on an input, by the reference, and the arrays by name."""
    layer, shape = EVERY[kind]
    x = np.ones((1, *shape), np.float32)
    if isinstance(layer, layers.Memory):
        first = tuple(one[None] for one in layers.initial_state(layer, shape))
        y, after = reference.remember(layer, x, first)
        assert [one.shape[1:] for one in after] == [*layers.state_shapes(layer, shape).values()]
    else:
        y = reference.apply(layer, x)
    computed = y.shape[1:]
    assert layers.output_shape(layer, shape) == computed
    holders = (layer.input, layer.recurrent) if isinstance(layer, layers.Recurrent) else (layer,)
    named = [getattr(holder, name, None) for holder in holders for name in ("weight", "bias")]
    assert sum(array.size for array in numbers.parameters(layer)) == sum(
        int(np.prod(one.shape)) for one in named if one is not None
    )
    macs = sum(int(np.prod(part.weight.shape)) for part in layers.linear_parts(layer))
    assert numbers.n_macs(layer, computed) == macs * int(np.prod(computed[1:], dtype=int))


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_a_layer_of_any_kind_refuses_an_input_that_it_does_not_take(kind: type) -> None:
    takes_any = (layers.Flatten, layers.History, *get_args(layers.Activation), layers.SquashAction)
    layer, _ = EVERY[kind]
    if kind in takes_any:
        assert layers.output_shape(layer, (7,)) == (7 * (layer.length if isinstance(layer, layers.History) else 1),)
        return
    if isinstance(layer, layers.PreviousAction):
        assert layers.output_shape(layer, (7,)) == (7 + layer.size,)
    with pytest.raises(LilliputError):
        layers.output_shape(layer, (1,))


NO_KIND = """
import dataclasses, numpy as np
from lilliput.policies import constants, layers, numbers, reference

@dataclasses.dataclass(frozen=True)
class Rotate:
    angle: float = float("nan")

x = np.ones((1, 2), np.float32)
for function, more in (
    (layers.output_shape, [(2,)]), (numbers.real_numbers, []), (numbers.bounds, []), (numbers.parameters, []),
    (numbers.n_macs, [(2,)]), (reference.apply, [x]), (constants.constants, []),
):
    try:
        print(function.__name__, function(Rotate(), *more))
    except AssertionError:
        pass
"""


def test_a_layer_of_no_kind_is_never_taken_for_one() -> None:
    """In a process of its own: here the types of arguments are checked, there they are not."""
    done = subprocess.run([sys.executable, "-c", NO_KIND], capture_output=True, text=True, check=True)
    assert done.stdout == ""
