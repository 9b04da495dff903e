"""Spaces: JSON and back, flattening as the frameworks do, errors that say what was expected."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.spaces import Box, Dict, Discrete, MultiDiscrete, Space

bounds = st.floats(-1e300, 1e300) | st.sampled_from([np.inf, -np.inf])


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """A small Box with one bound for all or one each."""
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    ends = [
        np.array(draw(st.lists(bounds, min_size=n, max_size=n))).reshape(s)
        for n, s in [_size(draw, shape), _size(draw, shape)]
    ]
    low, high = (np.asarray(choose(*ends)) for choose in (np.minimum, np.maximum))
    return Box(shape, low, high, draw(st.sampled_from(spaces.DTYPES)))


def _size(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return draw(st.sampled_from([(1, ()), (int(np.prod(shape)), shape)]))


any_space = (
    boxes()
    | st.integers(1, 1000).map(Discrete)
    | st.lists(st.integers(1, 9), min_size=1, max_size=4).map(lambda sizes: MultiDiscrete(tuple(sizes)))
    | st.dictionaries(st.text(min_size=1), boxes(), min_size=1, max_size=3).map(lambda d: Dict(tuple(d.items())))
)


@given(any_space)
def test_json_and_back(space: Space) -> None:
    text = json.dumps(spaces.to_json(space), allow_nan=False)
    again = spaces.from_json(json.loads(text))
    assert type(again) is type(space)
    assert spaces.to_json(again) == spaces.to_json(space)
    if isinstance(space, Box) and isinstance(again, Box):
        np.testing.assert_array_equal(again.low, space.low)
        np.testing.assert_array_equal(again.high, space.high)
        assert (again.shape, again.dtype) == (space.shape, space.dtype)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"kind": "tuple"},
        {"kind": ["box"]},
        {"kind": "box", "shape": [-1], "low": 0, "high": 1, "dtype": "float32"},
        {"kind": "box", "shape": [1 << 40], "low": 0, "high": 1, "dtype": "float32"},
        {"kind": "box", "shape": [2], "low": [0, 0, 0], "high": 1, "dtype": "float32"},
        {"kind": "box", "shape": [2], "low": [0, 2], "high": 1, "dtype": "float32"},
        {"kind": "box", "shape": [2], "low": "nan", "high": 1, "dtype": "float32"},
        {"kind": "box", "shape": [2], "low": 0, "high": {}, "dtype": "float32"},
        {"kind": "box", "shape": [2], "low": 0, "high": 1, "dtype": "object"},
        {"kind": "discrete", "n": 0},
        {"kind": "discrete", "n": "many"},
        {"kind": "discrete", "n": 1e999},
        {"kind": "multi_discrete", "sizes": []},
        {"kind": "dict", "boxes": [["a", {"kind": "discrete", "n": 2}]]},
        {"kind": "dict", "boxes": 7},
    ],
)
def test_malformed_json_is_refused(data: Any) -> None:
    with pytest.raises(LilliputError):
        spaces.from_json(data)


def test_a_dict_is_flattened_in_its_own_order_as_gymnasium_does() -> None:
    one = Box((2,), np.array(-1.0), np.array(1.0))
    space = Dict((("achieved", one), ("body", Box((2, 2), np.array(-1.0), np.array(1.0)))))
    theirs = gymnasium.spaces.Dict(
        {key: gymnasium.spaces.Box(-1, 1, box.shape, np.float32) for key, box in space.boxes}
    )
    theirs.seed(0)
    sample = theirs.sample()
    # The caller's order of keys does not matter.
    batch = {key: np.stack([sample[key], 2 * sample[key]]) for key in reversed(list(sample))}
    flat = spaces.flatten(space, batch)
    np.testing.assert_array_equal(flat[0], gymnasium.spaces.flatten(theirs, sample))
    np.testing.assert_array_equal(spaces.flatten(space, flat), flat)
    np.testing.assert_array_equal(spaces.flatten(space, spaces.as_batch(sample)), flat[:1])


VECTOR = Box((3,), np.array(-1.0), np.array(1.0))
IMAGE = Box((1, 2, 2), np.array(0.0), np.array(255.0), "uint8")


@pytest.mark.parametrize(
    ("space", "observations", "message"),
    [
        (VECTOR, np.zeros(3), "observations are float64[3]; the policy takes numbers of shape (n, 3)"),
        (VECTOR, np.zeros((2, 4)), "observations are float64[2, 4]; the policy takes numbers of shape (n, 3)"),
        (VECTOR, np.array([["a", "b", "c"]]), "the policy takes numbers of shape (n, 3)"),
        (VECTOR, [[1, 2, 3], [1]], "observations are no array of numbers"),
        (VECTOR, None, "the policy takes numbers of shape (n, 3)"),
        (VECTOR, {"a": np.zeros((1, 3))}, "the policy takes numbers of shape (n, 3)"),
        (
            Dict((("a", VECTOR), ("b", VECTOR))),
            {"a": np.zeros((1, 3))},
            "an observation has the keys a; the policy takes a, b",
        ),
        (
            Dict((("a", VECTOR),)),
            {"a": np.zeros((1, 3)), "c": 0},
            "an observation has the keys a, c; the policy takes a",
        ),
        (
            Dict((("a", VECTOR), ("b", VECTOR))),
            {"a": np.zeros((1, 3)), "b": np.zeros((2, 3))},
            "1, 2 rows; all must be alike",
        ),
    ],
)
def test_observations_of_another_kind_are_refused(
    space: spaces.ObservationSpace, observations: Any, message: str
) -> None:
    with pytest.raises(LilliputError) as caught:
        spaces.flatten(space, observations)
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "bool"])
def test_an_image_of_whole_numbers_is_taken_in_any_dtype(dtype: str) -> None:
    image = np.array([[[[0, 1], [1, 0]]]], dtype)
    taken = spaces.artifact_input(IMAGE, image)
    assert taken.dtype == np.uint8
    np.testing.assert_array_equal(taken, image)


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan, np.inf])
def test_an_image_that_bytes_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(LilliputError, match=r"numbers other than 0, 1, \.\.\. 255; the policy takes uint8"):
        spaces.artifact_input(IMAGE, np.full((1, 1, 2, 2), value))


def test_network_input_is_row_major_float32() -> None:
    x = spaces.network_input(VECTOR, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert x.dtype == np.float32
    assert x.flags.c_contiguous


def test_the_bounds_of_an_image_cost_nothing() -> None:
    box = Box((4, 84, 84), np.zeros((4, 84, 84)), np.full((4, 84, 84), 255.0), "uint8")
    assert box.low.strides == (0, 0, 0)
    assert not box.low.flags.writeable


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box((0,), np.array(0.0), np.array(1.0)), "sizes must be positive"),
        (lambda: Box((2,), np.array(np.nan), np.array(1.0)), "with NaN in it"),
        (lambda: Box((2,), np.zeros(3), np.array(1.0)), "has a bound of shape [3]"),
        (lambda: Box((2,), np.zeros(2), np.array(1.0), "complex64"), "has the dtype 'complex64'; supported: float32"),
        (lambda: Discrete(0), "n = 0; it must be from 1"),
        (lambda: MultiDiscrete((2, 0)), "sizes [2, 0]; each must be at least 1"),
        (lambda: Dict(()), "at least one key"),
        (lambda: Dict((("a", VECTOR), ("a", VECTOR))), "each of them once"),
    ],
)
def test_impossible_spaces_are_refused(make: Any, message: str) -> None:
    with pytest.raises(LilliputError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("space", "shape"),
    [(VECTOR, (3,)), (Discrete(4), ()), (MultiDiscrete((2, 3)), (2,)), (Box((), np.array(0.0), np.array(1.0)), ())],
)
def test_action_shapes_are_gymnasiums(space: spaces.ActionSpace, shape: tuple[int, ...]) -> None:
    theirs: gymnasium.Space[Any]
    match space:
        case Box():
            theirs = gymnasium.spaces.Box(0, 1, space.shape)
        case Discrete():
            theirs = gymnasium.spaces.Discrete(space.n)
        case MultiDiscrete():
            theirs = gymnasium.spaces.MultiDiscrete(list(space.sizes))
    assert spaces.action_shape(space) == theirs.shape == shape
