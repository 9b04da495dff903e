"""Golden examples: steady, repeatable, of the input's kind, and none where nothing could be compared."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from tests.arrays import f32, i32
from tests.strategies import Form, plausible_observations, policies, random_linear

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.export import export
from lilliput.policies.export.golden import N_EXAMPLES, golden_examples
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

SPACE = spaces.Box((2,), np.array(-np.inf), np.array(np.inf))
ACTIONS = spaces.Box((1,), np.array(-1.0), np.array(1.0))


@settings(max_examples=25)
@given(policies())
def test_they_are_what_the_reference_does(policy: Policy) -> None:
    golden = golden_examples(policy)
    assert golden.observations.shape == (N_EXAMPLES, *spaces.input_shape(policy.observation_space))
    assert golden.observations.dtype == spaces.input_dtype(policy.observation_space)
    assert np.isfinite(golden.observations.astype(np.float64)).all()
    np.testing.assert_array_equal(golden.actions, reference.act(policy, golden.observations))
    assert (golden.tolerance == 0) == policy.is_discrete
    again = golden_examples(policy)
    assert again.observations.tobytes() == golden.observations.tobytes()


@settings(max_examples=25)
@given(policies())
def test_a_last_digit_of_the_observation_does_not_show(policy: Policy) -> None:
    golden = golden_examples(policy)
    if golden.observations.dtype == np.uint8:
        return
    for towards in (-np.inf, np.inf):
        shifted = np.nextafter(golden.observations, np.float32(towards), dtype=np.float32)
        moved = np.abs(reference.act(policy, shifted).astype(np.float64) - golden.actions)
        assert moved.max() <= golden.tolerance


def test_real_observations_are_used_where_they_are_given() -> None:
    policy = Policy(SPACE, ACTIONS, (layers.Dense(f32([[1, -1]]), None),))
    seen = f32(np.random.default_rng(0).uniform(0.25, 0.75, (500, 2)))
    golden = golden_examples(policy, seen)
    known = {row.tobytes() for row in seen}
    assert sum(row.tobytes() in known for row in golden.observations) >= N_EXAMPLES - 8


def test_few_observations_are_added_to() -> None:
    policy = Policy(SPACE, ACTIONS, (layers.Dense(f32([[1, -1]]), None),))
    golden = golden_examples(policy, np.full((5, 2), 0.125))
    assert len(np.unique(golden.observations, axis=0)) == N_EXAMPLES
    assert [0.125, 0.125] in golden.observations.tolist()


def test_observations_of_another_shape_are_refused() -> None:
    policy = Policy(SPACE, ACTIONS, (layers.Dense(f32([[1, -1]]), None),))
    with pytest.raises(LilliputError, match=r"observations are float64\[1, 3\]"):
        golden_examples(policy, np.zeros((1, 3)))


def test_drawn_observations_are_like_those_of_the_normalizer() -> None:
    mean, deviation = f32([100, -3]), f32([5, 0.01])
    stack = (layers.Standardize(mean, f32(1 / deviation), f32(10)), layers.Dense(f32([[1, -1]]), None))
    golden = golden_examples(Policy(SPACE, ACTIONS, stack))
    standard = (golden.observations - mean) / deviation
    assert 0.5 < np.median(np.abs(standard)) < 3
    assert np.abs(standard).max() > 100  # and some far outside


def test_drawn_observations_keep_to_the_space() -> None:
    low, high = np.array([0.0, -2.0]), np.array([1.0, 7.0])
    policy = Policy(spaces.Box((2,), low, high, "int64"), ACTIONS, (layers.Dense(f32([[1, -1]]), None),))
    drawn = golden_examples(policy).observations
    assert (drawn >= low).all()
    assert (drawn <= high).all()
    assert (drawn == np.rint(drawn)).all()
    assert {tuple(low), tuple(high)} <= {tuple(row) for row in drawn.tolist()}


def test_a_choice_near_a_tie_is_left_out() -> None:
    # The two choices are equal on a diagonal; half of the given observations lie within a few float32 steps of it.
    policy = Policy(SPACE, spaces.Discrete(2), (layers.Dense(f32(np.eye(2)), None), layers.ArgmaxAction((2,))))
    seen = f32(np.random.default_rng(0).normal(size=(200, 2)))
    seen[::2, 1] = seen[::2, 0] * np.float32(1 + 2e-7)
    golden = golden_examples(policy, seen)
    assert len(golden.observations) >= N_EXAMPLES - 8
    moved = golden.observations[golden.observations.any(axis=1)]  # (0, 0) ties everywhere alike
    near = np.abs(moved[:, 0] - moved[:, 1]) < 5e-7 * np.abs(moved).max(axis=1)
    assert near.sum() <= 1  # of half the candidates


def test_a_code_near_a_tie_is_left_out() -> None:
    tensor = QuantizedTensor(np.array([[2, -1]], np.int8), f32(0.01), 8)
    quantized = layers.QuantizedDense(tensor, None, layers.StaticRange(f32(1), i32(128)))
    seen = f32(np.random.default_rng(0).integers(-100, 100, (200, 2)))
    seen[::2] += np.float32(0.5)
    golden = golden_examples(Policy(SPACE, spaces.Box((1,), np.array(-1.0), np.array(1.0)), (quantized,)), seen)
    ties = (golden.observations - np.floor(golden.observations) == 0.5).any(axis=1)
    assert len(ties) > 40
    assert ties.sum() <= 2  # of half the candidates


def test_a_policy_whose_choices_always_tie_has_examples_all_the_same() -> None:
    policy = Policy(SPACE, spaces.Discrete(2), (layers.Dense(f32(np.zeros((2, 2))), None), layers.ArgmaxAction((2,))))
    golden = golden_examples(policy)
    assert len(golden.observations) == N_EXAMPLES
    assert not golden.actions.any()


def test_an_offset_that_float32_does_not_hold_is_named_as_the_cause() -> None:
    """A position in metres of a national grid; more bits would not help."""
    far = layers.Standardize(f32([465000.0, 5246000.0]), f32([2.0, 2.0]), f32(np.inf))
    stack = (far, layers.Dense(f32([[1.0, 1.0]]), None))
    with pytest.raises(LilliputError, match=r"float32 has steps of 1 standard deviations .*: take that offset off"):
        golden_examples(Policy(SPACE, ACTIONS, stack))


def test_a_policy_that_amplifies_rounding_is_refused() -> None:
    stack = (layers.Dense(f32([[1e7, -1e7]]), None), layers.Tanh())
    seen = f32(np.random.default_rng(0).normal(size=(300, 1)) * np.ones(2))
    with pytest.raises(
        LilliputError, match="the policy is too unsteady to check: numbers changed by 1e-06 move its action"
    ):
        golden_examples(Policy(SPACE, ACTIONS, stack), seen)


def test_the_tolerance_follows_the_action() -> None:
    dense = layers.Dense(f32([[1, -1]]), None)
    wide = spaces.Box((1,), np.array(-1000.0), np.array(1000.0))
    free = spaces.Box((1,), np.array(-np.inf), np.array(np.inf))
    assert golden_examples(Policy(SPACE, wide, (dense,))).tolerance == pytest.approx(1e-2)
    assert golden_examples(Policy(SPACE, ACTIONS, (dense,))).tolerance == pytest.approx(1e-5)
    assert 1e-6 < golden_examples(Policy(SPACE, free, (dense,))).tolerance < 1e-4


def test_images_are_fewer() -> None:
    space = spaces.Box((4, 84, 84), np.array(0.0), np.array(255.0), "uint8")
    rng = np.random.default_rng(0)
    stack = [layers.Standardize(f32(0), f32(1 / 255), f32(np.inf))]
    x = reference.apply(stack[0], plausible_observations(space, 2, rng).astype(np.float32))
    conv = random_linear(x, "float32", rng, outputs=2, kernel=8, stride=(4, 4))
    dense = random_linear(np.ones((1, 800), np.float32), "float32", rng, outputs=3)
    policy = Policy(space, spaces.Discrete(3), (*stack, conv, layers.Flatten(), dense, layers.ArgmaxAction((3,))))
    golden = golden_examples(policy)
    assert 16 <= len(golden.observations) <= 20
    assert {0, 255} <= {int(image.flat[0]) for image in golden.observations if image.min() == image.max()}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float16", "static", "dynamic", "weight_only"])
@pytest.mark.parametrize("activation", [layers.Tanh(), layers.Relu()], ids=["tanh", "relu"])
def test_networks_as_wide_as_real_ones_reproduce_theirs(tmp_path: Path, activation: Layer, form: Form) -> None:
    # Saturated units of a dynamic range lie just where two codes meet: examples that hang on one are none.
    for seed in range(3):
        rng = np.random.default_rng(seed)
        space = spaces.Box((17,), np.array(-np.inf), np.array(np.inf))
        x = f32(rng.normal(size=(64, 17)) * 4)
        stack: list[Layer] = []
        for width in (256, 256):
            linear = random_linear(x, form, rng, outputs=width, bits=(8, 8 - 3 * (seed == 1)))
            stack += [linear, activation]
            x = reference.apply(activation, reference.apply(linear, x))
        last = random_linear(x, form, rng, outputs=6)
        box = spaces.Box((6,), np.array(-1.0), np.array(1.0))
        for policy in (
            Policy(space, box, (*stack, last, layers.SquashAction())),
            Policy(space, spaces.Discrete(6), (*stack, last, layers.ArgmaxAction((6,)))),
        ):
            made = export(policy, "onnx", tmp_path / f"{seed}-{policy.is_discrete}")
            assert made.manifest.tolerance == (0 if policy.is_discrete else pytest.approx(1e-5))
