"""Held against the teacher, `reference` and the exported C."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.bright import BRIGHT, SWITCHES, bright, switches

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress, parse
from lilliput.policies.compress.distill_play import can_be_taught, sees_a_vector
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy, replace_layers
from lilliput.policies.students.frames import Frames


def images(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, (n, 1, 36, 36), np.uint8)


def context(teacher: Policy, folder: Path | None = None) -> Context:
    return Context.from_environment(teacher, BRIGHT, seed=0, work_folder=folder)


def test_a_student_chooses_what_the_teacher_does_and_its_artifact_plays(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from lilliput.policies.export import export, open_artifact

    teacher = bright()
    recipe = "distill_images(channels=(4, 6), hidden=(8,), steps=80, weight_bits={})"
    small = compress(teacher, recipe.format(4), context(teacher, tmp_path))
    assert small.model_bytes < teacher.model_bytes / 4
    assert small.weight_bits == (4, 4, 4, 4)
    export(small, "c", tmp_path / "c")
    act = open_artifact(tmp_path / "c")
    assert (episode_returns(act, BRIGHT, range(5)) == 20).all()
    x = images(np.random.default_rng(0), 50)
    np.testing.assert_array_equal(act.batch(x), reference.act(small, x))
    # The real student is trained once, and it is the same with what was kept of it and without.
    (kept,) = tmp_path.glob("distill_images-*.npz")
    written = kept.stat().st_mtime_ns
    other = compress(teacher, recipe.format(8), context(teacher, tmp_path))
    assert kept.stat().st_mtime_ns == written
    assert other.weight_bits == (8, 8, 8, 8)
    assert compress(teacher, recipe.format(8), context(teacher)).digest == other.digest


@pytest.mark.parametrize("bits", [None, 8, 3])
def test_what_is_trained_is_what_the_layers_mean(bits: int | None) -> None:
    pytest.importorskip("torch")
    from lilliput.policies.students.image_student import ImageStudent, Shape

    rng, teacher = np.random.default_rng(0), bright()
    shape = Shape((1, 36, 36), (((8, 8), (4, 4), (0, 0)), ((3, 3), (1, 1), (1, 1))), (3, 4), (5,), 2)
    student = ImageStudent(shape, None if bits is None else (bits,) * 4, 8, 0)
    frames, x = Frames((1, 36, 36)), images(rng, 300)
    for at in range(0, 300, 10):
        frames.add(x[at : at + 10])
    rows, targets = rng.integers(0, 300, (3, 16)), rng.standard_normal((300, 2)).astype(np.float32)
    student.train(frames, targets, (2,), rows, [1e-3] * 3)
    if bits is not None:
        before = student.outputs(x)
        student.quantize(x)
        assert bits < 8 or np.abs(student.outputs(x) - before).mean() < 0.1 * before.std()
        student.train(frames, targets, (2,), rows, [1e-3] * 3)
    y = x.astype(np.float32)
    for layer in student.network():
        y = reference.apply(layer, y)
    if bits is None:
        np.testing.assert_allclose(student.outputs(x), y, atol=1e-5)
    else:
        np.testing.assert_array_equal(student.outputs(x), y)
    replace_layers(teacher, (*student.network(), teacher.layers[-1]))  # whole, as a policy


def test_the_teacher_is_what_the_reference_says() -> None:
    pytest.importorskip("torch")
    from lilliput.policies.students.image_student import outputs_of

    teacher, x = bright(), images(np.random.default_rng(1), 20)
    y = x.astype(np.float32)
    for layer in teacher.layers[:-1]:
        y = reference.apply(layer, y)
    np.testing.assert_allclose(outputs_of(teacher.layers[:-1], x), y, atol=1e-5)


def test_a_student_inherits_the_channels_that_say_something_on_the_bytes_that_it_sees() -> None:
    pytest.importorskip("torch")
    from lilliput.policies.students.image_student import ImageStudent, Shape
    from lilliput.policies.students.inheritance import inherited

    rng, teacher = np.random.default_rng(0), bright()
    first, second, last = (teacher.layers[at] for at in (1, 3, 6))
    assert isinstance(first, layers.Conv2d)
    assert isinstance(second, layers.Conv2d)
    assert isinstance(last, layers.Dense)
    first = layers.Conv2d(f32(rng.standard_normal((4, 1, 8, 8))), f32(rng.standard_normal(4)), (4, 4))
    mixed = f32(rng.standard_normal((6, 4, 4, 4)))
    mixed[:, 2] = 0  # what its third channel gives is not looked at
    second = layers.Conv2d(mixed, f32(rng.standard_normal(6)), (2, 2))
    weight = last.weight.copy().reshape(2, 6, 9)
    weight[:, [0, 4]] = 0
    dense = layers.Dense(weight.reshape(2, 54), last.bias)
    stack = (teacher.layers[0], first, layers.Relu(), second, layers.Relu(), layers.Flatten(), dense)
    x = images(rng, 200)
    student = ImageStudent(
        Shape((1, 36, 36), (((8, 8), (4, 4), (0, 0)), ((4, 4), (2, 2), (0, 0))), (3, 4), (), 2), None, 8, 0
    )
    student.begin(x, inherited(stack, (3, 4), x))

    def behind(network: Sequence[layers.Layer]) -> np.ndarray:
        y = x.astype(np.float32)
        for layer in network:
            y = reference.apply(layer, y)
        return y

    for depth, kept in ((3, [0, 1, 3]), (5, [1, 2, 3, 5])):
        wanted, given = behind(stack[:depth])[:, kept], behind(student.network()[: depth - 1])
        assert np.sqrt(np.mean(given**2)) == pytest.approx(1, rel=0.1)
        np.testing.assert_allclose(given, wanted * (given.std() / wanted.std()), atol=1e-3)
    # Of what cannot be had nothing is taken: more channels than the teacher's, or no ReLU behind them.
    assert inherited(stack, (5, 4), x) == ()
    assert inherited((*stack[:2], layers.Tanh(), *stack[3:]), (3, 4), x) == ()
    assert len(inherited(stack, (3, 7), x)) == 1


def test_frames_that_overlap_are_kept_once() -> None:
    rng = np.random.default_rng(0)
    frames, seen = Frames((4, 6, 5)), []
    stacks = np.zeros((3, 4, 6, 5), np.uint8)
    for step in range(40):
        new = rng.integers(1, 256, (3, 1, 6, 5), np.uint8)
        stacks = np.concatenate([stacks[:, 1:], new], axis=1)
        if step % 13 == 12:  # an episode begins behind zeros
            stacks[1, :3] = 0
        frames.add(stacks)
        seen.append(stacks.copy())
    every = np.concatenate(seen)
    np.testing.assert_array_equal(frames.rows(np.arange(120)), every)
    assert len(frames) == 120
    # One of zeros, one for each new frame, and nothing else but what a cut stack moved on.
    assert frames._used == 1 + 120


def continuous(teacher: Policy) -> Policy:
    """The same network, whose numbers are the action."""
    box = spaces.Box((2,), np.full(2, -1.0), np.full(2, 1.0))
    return Policy(teacher.observation_space, box, (*teacher.layers[:-1], layers.ClipAction(f32(-1), f32(1))))


def flat(shape: tuple[int, ...]) -> Policy:
    """Chooses by the bytes of the observation, in one vector from the first layer on."""
    n = int(np.prod(shape))
    layer = layers.Dense(np.eye(2, n, dtype=np.float32), np.zeros(2, np.float32))
    seen = spaces.Box(shape, np.zeros(shape), np.full(shape, 255.0), "uint8")
    return Policy(seen, spaces.Discrete(2), (layers.Flatten(), layer, layers.ArgmaxAction((2,))))


@pytest.mark.parametrize(
    "teacher", [switches(), flat((6, 6)), flat((7, 7, 3)), continuous(bright())], ids=["board", "two", "flat", "array"]
)
def test_what_distill_images_refuses_distill_takes(teacher: Policy) -> None:
    assert not can_be_taught(teacher)
    assert sees_a_vector(teacher)


def test_what_cannot_be_is_said() -> None:
    pytest.importorskip("torch")
    teacher = bright()
    with pytest.raises(NotApplicable, match="channels has 3 numbers; the policy has 2 convolutions"):
        compress(teacher, "distill_images()", context(teacher))
    with pytest.raises(NotApplicable, match="distill: the observation is an image, and its students see vectors"):
        compress(teacher, "distill()", context(teacher))
    array, board = continuous(teacher), switches()
    with pytest.raises(NotApplicable, match="the observation is no image of bytes; use distill"):
        compress(board, "distill_images()", Context.from_environment(board, SWITCHES, seed=0))
    with pytest.raises(NotApplicable, match="the policy makes no choice"):
        compress(array, "distill_images(channels=(2, 2))", context(array))
    with pytest.raises(LilliputError, match="weight_bits has 2 numbers; the student has 5 layers"):
        parse("distill_images(weight_bits=(8, 8))")
    with pytest.raises(LilliputError, match="distill_images plays the environment"):
        compress(
            teacher,
            "distill_images(channels=(2, 2))",
            Context.from_observations(teacher, images(np.random.default_rng(0), 4)),
        )
