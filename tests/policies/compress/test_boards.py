"""Observations of several axes that are no images: whatever makes a policy smaller sees their numbers in a row."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.bright import SWITCHES, bright, switches

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.compress.distill_play import MOST_SQUARES, Seen, Teacher, outputs, vector_view
from lilliput.policies.export import export, open_artifact
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy

BOARDS = np.random.default_rng(7).integers(0, 2, (64, 4, 4, 2)).astype(bool)


def context(policy: Policy) -> Context:
    return Context.from_environment(policy, SWITCHES, seed=0)


def through_a_convolution() -> Policy:
    """`switches`, its first axis read as channels: what it sees is no image of bytes all the same."""
    weight = np.zeros((1, 4, 1, 1), np.float32)
    weight[0, 0] = 1
    last = np.zeros((2, 8), np.float32)
    last[1, 0] = 1
    stack = layers.Conv2d(weight, None, (1, 1)), layers.Flatten(), layers.Dense(last, f32([0.5, 0]))
    return Policy(switches().observation_space, spaces.Discrete(2), (*stack, layers.ArgmaxAction((2,))))


@pytest.mark.parametrize(
    ("teacher", "recipe"),
    [
        (switches(), "distill(hidden=(4,), steps=400, restarts=1)"),
        (switches(), 'distill(hidden=(), steps=400, weight_bits=4, input_range="per_tensor", inputs=2, restarts=2)'),
        (switches(), 'distill(hidden=(4,), steps=400, weight_bits=4, input_range="none", history=2, restarts=1)'),
        (through_a_convolution(), "distill(hidden=(4,), steps=400, weight_bits=6, restarts=1)"),
    ],
)
def test_its_student_plays_it_and_both_formats_are_the_student(teacher: Policy, recipe: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert (reference.act(teacher, BOARDS) == reference.act(switches(), BOARDS)).all()
    student = compress(teacher, recipe, context(teacher))
    assert isinstance(student.layers[0], layers.Flatten)
    assert student.observation_space is teacher.observation_space
    best = episode_returns(teacher, SWITCHES, range(20)).mean()
    assert episode_returns(student, SWITCHES, range(20)).mean() > 0.9 * best
    expected = reference.act_episode(student, BOARDS)
    for form in ("c", "onnx"):
        act = open_artifact(export(student, form, tmp_path / form).folder).begin()
        assert [int(act(board)) for board in BOARDS] == expected.tolist()


@pytest.mark.slow
def test_a_student_that_remembers_sees_it_too(tmp_path: Path) -> None:
    teacher = switches()
    student = compress(teacher, "distill(hidden=(), steps=200, weight_bits=8, memory=3, inputs=3)", context(teacher))
    best = episode_returns(teacher, SWITCHES, range(20)).mean()
    assert episode_returns(student, SWITCHES, range(20)).mean() > 0.9 * best
    learned = compress(student, "finetune(steps=30)", context(teacher))
    assert [type(layer) for layer in learned.layers] == [type(layer) for layer in student.layers]
    act = open_artifact(export(learned, "c", tmp_path / "c").folder).begin()
    assert [int(act(board)) for board in BOARDS] == reference.act_episode(learned, BOARDS).tolist()


@pytest.mark.parametrize("learn", ["finetune(steps=40, restarts=1)", "evolve(episodes=60)"])
def test_its_own_weights_learn_on(learn: str) -> None:
    teacher = switches()
    small = compress(teacher, 'remove_dead_inputs() | quantize(scheme="static")', context(teacher))
    learned = compress(small, learn, context(teacher))
    assert [type(layer) for layer in learned.layers] == [type(layer) for layer in small.layers]
    best = episode_returns(teacher, SWITCHES, range(20)).mean()
    assert episode_returns(learned, SWITCHES, range(20)).mean() > 0.9 * best


def test_dead_squares_go_and_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    board = spaces.Box((4, 4, 2), np.zeros((4, 4, 2)), np.ones((4, 4, 2)), "bool")
    first = layers.Dense(f32(rng.standard_normal((6, 32))), f32(rng.standard_normal(6)))
    last = layers.Dense(f32(rng.standard_normal((3, 6))), None)
    stack = layers.Flatten(), first, layers.Relu(), last, layers.ArgmaxAction((3,))
    policy = Policy(board, spaces.Discrete(3), stack)
    seen = BOARDS.copy()
    seen[:, 1], seen[:, 2, 3] = True, False
    small = compress(policy, "remove_dead_inputs()", Context.from_observations(policy, seen))
    flatten, select = small.layers[:2]
    assert isinstance(flatten, layers.Flatten)
    assert isinstance(select, layers.SelectInputs)
    assert select.indices.tolist() == [*range(8), *range(16, 22), *range(24, 32)]
    before, after = (outputs(one.layers[:-1], f32(seen)) for one in (policy, small))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_students_see_what_the_choice_depends_on_or_all_that_moved() -> None:
    boards = BOARDS.copy()
    boards[:, 1:3], boards[:, 3, :, 1] = True, False
    for shape, without_limit in (((4, 4, 2), [*range(8), 24, 26, 28, 30]), ((32,), None)):
        seen = Seen(f32(boards).reshape(1, -1, *shape), np.ones((1, len(boards)), bool))
        few, every = (Teacher(switches()).selected_inputs(seen, most) for most in (5, None))
        assert few is not None
        assert few.indices.tolist() == [0]
        assert (None if every is None else every.indices.tolist()) == without_limit


def test_squares_that_stood_still_keep_the_bounds_of_the_board() -> None:
    teacher, seen = switches(), BOARDS.copy()
    said: list[str] = []
    seen[:, 0] = False
    told = replace(Context.from_observations(teacher, seen), say=said.append)
    small = compress(teacher, 'quantize(scheme="static", input="per_dimension")', told)
    assert (reference.act(small, BOARDS) == reference.act(teacher, BOARDS)).all()
    assert not any("guessed" in line for line in said)


def test_what_is_too_large_or_an_image_is_refused() -> None:
    assert vector_view(switches(), "distill") == (layers.Flatten(),)
    size = MOST_SQUARES // 2 + 1
    box = spaces.Box((2, size), np.zeros(()), np.ones(()))
    stack = layers.Flatten(), layers.Dense(np.ones((2, 2 * size), np.float32), None), layers.ArgmaxAction((2,))
    large = Policy(box, spaces.Discrete(2), stack)
    with pytest.raises(NotApplicable, match=r"distill: the observation is 2x2049 numbers.*up to 4,096; quantize or pr"):
        compress(large, "distill()", context(large))
    with pytest.raises(NotApplicable, match=r"distill: the observation is an image.*use distill_images"):
        compress(bright(), "distill(memory=2)", context(bright()))
    with pytest.raises(LilliputError, match="distill: inputs is 33; the observation has 32"):
        compress(switches(), "distill(inputs=33)", context(switches()))
