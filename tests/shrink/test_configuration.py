"""Sizes foretold against sizes made; texts against the recipes that they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.policy import Policy
from lilliput.shrink.configuration import Loss, Sight, Student, losses, start_after, student_of
from lilliput.shrink.request import Request
from lilliput.shrink.run import shrink
from lilliput.task import Task

CHOICES: tuple[Loss, ...] = ("kl", "regret", "cross_entropy")
ARRAYS: tuple[Loss, ...] = ("l2", "l1")


def test_students_begin_with_what_the_policy_tells_of_its_learner() -> None:
    bounds = np.full(2, -1.0), np.full(2, 1.0)
    layer = layers.Dense(np.ones((2, 2), np.float32), None)
    box = Policy(spaces.Box((2,), *bounds), spaces.Box((2,), *bounds), (layer,))
    drawn = Checkpoint(box, Learner(action_std=(0.1, 0.5)))
    judged = Checkpoint(box, Learner((layers.Dense(np.ones((1, 4), np.float32), None),)))
    choice = Policy(box.observation_space, spaces.Discrete(2), (layer, layers.ArgmaxAction((2,))))
    assert (losses(Checkpoint(box)), losses(Checkpoint(choice))) == (ARRAYS, CHOICES)
    assert losses(drawn) == ("kl", "l2", "l1")
    assert losses(judged) == ("regret", "l2", "l1")
    assert drawn.digest == box.digest, "how a policy was trained is no part of what it decides"


@pytest.mark.parametrize(
    "student",
    [
        Student((), 4, "kl"),
        Student((5,), 3, "kl"),
        Student((4, 3), 6, "kl", "none"),
        Student((7,), 8, "kl", "per_tensor"),
        Student((9, 9), (5, 4, 6), "kl"),
        Student((9, 9), 5, "kl", per_channel=True),
        Student((5,), 4, "kl", seen=4),
        Student((5,), 4, "kl", seen=4, history=3),
    ],
)
def test_the_size_is_known_before_the_student_is_made(student: Student) -> None:
    from lilliput.policies import layers, spaces, students
    from lilliput.policies.policy import Policy

    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)).astype(np.float32)
    n, select = student.seen or 6, ()
    if student.seen is not None:
        select = (layers.SelectInputs(np.arange(n, dtype=np.uint16)),)
        x = x[:, :n]
    if student.history is not None:
        select, n = (*select, layers.History(student.history)), n * student.history
        x = np.concatenate([x] * student.history, axis=1)
    made = students.Students((n, *student.hidden, 3), "silu", 1, students.Inputs.of(x), rng)
    every = student.weight_bits
    bits = every if isinstance(every, tuple) else (every,) * (len(student.hidden) + 1)
    made.quantize(students.Quantization(bits, 8, student.input_range, student.per_channel), x)
    box = spaces.Box((6,), np.full(6, -np.inf), np.full(6, np.inf))
    policy = Policy(box, spaces.Discrete(3), (*select, *made.network(0), layers.ArgmaxAction((3,))))
    # Weights that came out as zeros may be stored in less.
    assert 0.9 * student.model_bytes(Sight(6), 3, 0) <= policy.model_bytes <= student.model_bytes(Sight(6), 3, 0)
    assert policy.n_macs == student.n_macs(Sight(6), 3)


def test_the_less_the_first_student_keeps_the_wider_is_the_next() -> None:
    first, sight = Student((16,), 6, "regret"), Sight(17)
    widths = [start_after(kept, first, sight, 6).hidden for kept in (0.89, 0.65, 0.48, 0.2, 0.0)]
    assert widths == sorted(widths)
    assert (widths[1], widths[2], widths[4]) == ((22, 22), (34, 34), (96, 96))
    delicate, easier = (start_after(kept, first, sight, 6) for kept in (0.2, 0.65))
    assert (delicate.restarts, easier.restarts) == (2, 4), "wide restarts differ little"
    assert delicate.steps == easier.steps == 3 * first.steps


def test_what_a_student_takes_to_train_is_foretold_of_every_kind() -> None:
    sight, small, wide = Sight(17), Student((8,), 6, "l2"), Student((64, 64), 6, "l2")
    assert small.steps < small.work(sight, 6) < replace(wide, restarts=2).work(sight, 6) < wide.work(sight, 6)
    assert replace(small, memory=4).work(sight, 6) > 2 * small.work(sight, 6)
    images = Sight(1296, windows=((64, 64), (16, 9)), channels=1)
    assert Student((32,), 6, "kl", channels=(8, 16)).work(images, 2) == small.steps


@pytest.mark.parametrize("student", [Student((64, 64), 5, "l2", restarts=2, per_channel=True), Student((), 6, "kl")])
def test_a_student_is_known_by_its_recipe(student: Student) -> None:
    assert student_of(student.recipe) == student


def test_what_a_policy_without_its_checkpoint_goes_without_is_said(tmp_path: Path) -> None:
    (tmp_path / "else").write_text("something else's folder")
    seen, played = (spaces.Box((n,), np.full(n, -high), np.full(n, high)) for n, high in ((3, np.inf), (1, 2.0)))
    policy = Policy(seen, played, (layers.Dense(np.ones((1, 3), np.float32), None),))
    request = Request(Task("Pendulum-v1"))
    for subject, lines in ((policy, 1), (Checkpoint(policy), 0)):
        said: list[str] = []
        with pytest.raises(LilliputError, match="choose another"):
            shrink(subject, request, tmp_path, said.append)
        assert [("lilliput.load_checkpoint" in line) for line in said] == [True] * lines


@pytest.mark.parametrize(
    ("channels", "hidden", "bits"), [((4, 6), (5,), 4), ((3,), (), 6), ((2, 3), (4, 3), (8, 4, 5, 6, 3))]
)
def test_the_size_of_one_that_sees_images_is_known_too(
    channels: tuple[int, ...], hidden: tuple[int, ...], bits: Any
) -> None:
    pytest.importorskip("torch")
    from tests.policies.bright import bright

    from lilliput.policies.policy import replace_layers
    from lilliput.policies.students.image_student import ImageStudent, Shape

    teacher = bright()
    windows = (((8, 8), (4, 4), (0, 0)), ((4, 4), (2, 2), (0, 0)))[: len(channels)]
    n = len(channels) + len(hidden) + 1
    made = ImageStudent(
        Shape((1, 36, 36), windows, channels, hidden, 2), bits if isinstance(bits, tuple) else (bits,) * n, 8, 0
    )
    made.quantize(np.random.default_rng(0).integers(0, 255, (64, 1, 36, 36), np.uint8))
    policy = replace_layers(teacher, (*made.network(), teacher.layers[-1]))
    student, sight = Student(hidden, bits, "kl", channels=channels), Sight.of(teacher)
    assert 0.9 * student.model_bytes(sight, 2, 0) <= policy.model_bytes <= 1.1 * student.model_bytes(sight, 2, 0)
    assert policy.n_macs == student.n_macs(sight, 2)
