"""Held against `reference`, `rollout` and the teacher's own return."""

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.arrays import f32

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress, format_recipe, parse
from lilliput.policies.compress.context import Abandoned
from lilliput.policies.compress.distill import Distill
from lilliput.policies.compress.distill_play import Disturbance, Seen, Teacher, Watch, collect, small_head
from lilliput.policies.compress.restarts import BLOCK
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.play import EnvironmentSpec, Lockstep, episode_returns
from lilliput.policies.policy import Policy


def cartpole() -> Policy:
    """A linear policy that balances the pole for all 500 steps."""
    gain = np.array([0.1, 0.5, 3.0, 1.5], np.float32)
    return Policy(
        spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf)),
        spaces.Discrete(2),
        (layers.Dense(np.stack([-gain, gain]), np.zeros(2, np.float32)), layers.ArgmaxAction((2,))),
    )


def pendulum(rng: np.random.Generator) -> Policy:
    """Some policy of Pendulum's shape; nothing here needs it to swing the pendulum up."""
    return Policy(
        spaces.Box((3,), np.array([-1.0, -1, -8]), np.array([1.0, 1, 8])),
        spaces.Box((1,), np.array([-2.0]), np.array([2.0])),
        (
            layers.Dense(rng.standard_normal((8, 3)).astype(np.float32), rng.standard_normal(8).astype(np.float32)),
            layers.Tanh(),
            layers.Dense(rng.standard_normal((1, 8)).astype(np.float32), None),
            layers.SquashAction(),
            layers.RescaleAction(np.array(2.0, np.float32), np.array(0.0, np.float32)),
        ),
    )


def seen(x: np.ndarray) -> Seen:
    """All of these at once, each the first of an episode."""
    return Seen(f32(x)[None], np.ones((1, len(x)), bool))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill(steps=3)", "distill: steps is 3; it must be from 10"),
        ("distill(hidden=(24, 0))", "distill: hidden is 0; it must be from 1"),
        ("distill(weight_bits=9)", "weight_bits is 9; it must be from 2 to 8"),
        ("distill(hidden=(8,), weight_bits=(8, 4, 4))", "weight_bits has 3 numbers; the student has 2 layers"),
        ("distill(history=1)", "history is 1; it must be from 2"),
        ("distill(disturbance=-1)", "disturbance is -1; it must be from 0 to 2"),
        ('distill(loss="l3")', "distill: loss is 'l3'"),
    ],
)
def test_what_cannot_be_is_said(text: str, message: str) -> None:
    with pytest.raises(LilliputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        parse(text)


def test_the_text_of_a_distillation_round_trips() -> None:
    text = 'distill(hidden=(8, 8), steps=6000, weight_bits=(8, 4, 6), loss="l1", disturbance=1.5)'
    assert format_recipe(parse(text)) == text


def test_images_and_missing_environments_are_refused() -> None:
    with pytest.raises(LilliputError, match="name it"):
        Distill().apply(cartpole(), Context(cartpole()))


def test_episodes_in_lockstep_are_those_of_rollout() -> None:
    policy = pendulum(np.random.default_rng(0))
    seeds = (3, 7, 11, 900)
    lockstep = Lockstep(EnvironmentSpec("Pendulum-v1"), policy.observation_space, 4, itertools.count())
    found = lockstep.returns(lambda x: reference.act(policy, x), seeds)
    again = lockstep.returns(lambda x: reference.act(policy, x), seeds)
    np.testing.assert_array_equal(found, episode_returns(policy, "Pendulum-v1", seeds))
    np.testing.assert_array_equal(found, again)


def test_box2d_episodes_in_lockstep_do_not_depend_on_those_before() -> None:
    pytest.importorskip("Box2D")
    rng = np.random.default_rng(0)
    infinite = np.full(8, np.inf)
    network = layers.Dense(rng.standard_normal((4, 8)).astype(np.float32), None)
    policy = Policy(spaces.Box((8,), -infinite, infinite), spaces.Discrete(4), (network, layers.ArgmaxAction((4,))))
    lockstep = Lockstep(EnvironmentSpec("LunarLander-v3"), policy.observation_space, 2, itertools.count())
    lockstep.returns(lambda x: reference.act(policy, x), (5, 6))
    found = lockstep.returns(lambda x: reference.act(policy, x), (7, 8))
    np.testing.assert_array_equal(found, episode_returns(policy, "LunarLander-v3", (7, 8)))


def test_the_teacher_says_what_the_reference_does() -> None:
    policy = pendulum(np.random.default_rng(1))
    x = np.random.default_rng(2).standard_normal((500, 3)).astype(np.float32)
    np.testing.assert_allclose(Watch(Teacher(policy).stack).over(seen(x)), reference.act(policy, x), atol=1e-6)
    said = Watch(Teacher(cartpole()).stack).over(seen(np.random.default_rng(3).standard_normal((500, 4))))
    choices = Teacher(cartpole()).chosen(said)
    expected = reference.act(cartpole(), np.random.default_rng(3).standard_normal((500, 4)).astype(np.float32))
    np.testing.assert_array_equal(choices, expected)


def test_an_error_costs_what_the_critic_expects_less_to_either_side_of_it() -> None:
    low, high = np.full(2, -2.0), np.full(2, 2.0)
    # Minus twice the distance of the first action from 1; the second action and the observation are worth nothing.
    hinge = layers.Dense(f32([[0, 1, 0], [0, -1, 0]]), f32([-1, 1]))
    critic = (hinge, layers.Relu(), layers.Dense(f32([[-2, -2]]), f32([7])))
    stack = (layers.Dense(np.ones((2, 1), np.float32), None), layers.SquashAction())
    policy = Policy(spaces.Box((1,), low[:1], high[:1]), spaces.Box((2,), low, high), stack)
    teacher = Teacher(policy, Learner(critic))
    found = teacher.costs(f32([[0.5], [0], [9]]), f32([[1, 0], [2, 0], [0, 0]]))
    # Errors of 0.8: twice 1.6 is lost at the peak; a bound leaves one side, which is better; on a slope nothing is.
    np.testing.assert_allclose(found[:, 0], [2 * 1.6 / (2 * 0.64), -1.6 / 0.64, 0], atol=1e-5)
    np.testing.assert_array_equal(found[:, 1], 0)


def test_the_regret_of_an_array_needs_a_critic() -> None:
    policy = pendulum(np.random.default_rng(0))
    context = Context.from_environment(policy, "Pendulum-v1")
    with pytest.raises(LilliputError, match="loss 'regret' of an array needs the teacher's critic, which"):
        Distill(loss="regret").apply(policy, context)


def test_a_critic_that_overflows_is_said_to() -> None:
    policy = pendulum(np.random.default_rng(0))
    high = np.full((1, 4), 1e38, np.float32)
    critic = (layers.Dense(high, np.zeros(1, np.float32)), layers.Dense(np.full((1, 1), 1e38, np.float32), None))
    context = Context.from_environment(Checkpoint(policy, Learner(critic)), "Pendulum-v1")
    with pytest.raises(LilliputError, match="distill: the teacher's critic overflows; take another loss"):
        Distill(hidden=(2,), steps=20, loss="regret").apply(context.teacher, context)


def test_a_student_may_see_only_what_the_teacher_depends_on(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, (1, 8, 1, 1), (3_000, 4)).astype(np.float32)
    x[:, 3] = 5
    box = spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf))
    weight = np.array([[2.0, 0.5, 0.1, 9.0], [0, 0, 0.1, 9.0]], np.float32)
    plain = Policy(box, spaces.Box((2,), np.full(2, -99.0), np.full(2, 99.0)), (layers.Dense(weight, None),))
    # A linear teacher depends on an input by its weight times the input's spread: 2, 4, 0.1 and nothing.
    assert [list(Teacher(plain).needed_inputs(seen(x), most)) for most in (1, 2, 4)] == [[1], [0, 1], [0, 1, 2]]
    drawn = Learner(action_std=(10.0, 0.01))
    found = list(Teacher(plain, drawn).needed_inputs(seen(x), 1))
    assert found == [2], "the second action is drawn with the smallest spread"

    teacher = pendulum(np.random.default_rng(0))
    context = Context.from_environment(teacher, "Pendulum-v1", work_folder=str(tmp_path))
    step = Distill(hidden=(3,), steps=30, weight_bits=4, inputs=2)
    student = step.apply(teacher, context)
    first = student.layers[0]
    assert isinstance(first, layers.SelectInputs)
    assert first.indices.size == 2
    assert step.apply(teacher, context).digest == student.digest, "taken up from its checkpoint"
    with pytest.raises(LilliputError, match="distill: inputs is 4; the observation has 3"):
        Distill(inputs=4).apply(teacher, context)


def test_a_smaller_head_does_the_same() -> None:
    x = np.linspace(-3, 3, 40, dtype=np.float32).reshape(-1, 2)
    head = (
        layers.RescaleAction(np.full(2, 2.0, np.float32), np.zeros(2, np.float32)),
        layers.ClipAction(np.array([-1.0, -1.0], np.float32), np.array([1.0, 0.1], np.float32)),
    )
    small = small_head(head)
    expected, found = x, x
    for one in head:
        expected = reference.apply(one, expected)
    for one in small:
        found = reference.apply(one, found)
    np.testing.assert_array_equal(found, expected)
    assert isinstance(small[1], layers.ClipAction)
    assert small[1].low.dtype == np.float16
    assert small[1].high.dtype == np.float32  # 0.1 is no float16


def test_every_second_environment_is_disturbed_and_no_action_leaves_its_bounds() -> None:
    policy = pendulum(np.random.default_rng(0))
    lockstep = Lockstep(EnvironmentSpec("Pendulum-v1"), policy.observation_space, 8, itertools.count())
    calm = Disturbance(0.0, lockstep, np.random.default_rng(0))
    rough = Disturbance(1.0, lockstep, np.random.default_rng(0))
    actions = np.full((8, 1), 1.9, np.float32)
    np.testing.assert_array_equal(calm(actions), actions)
    played = np.stack([rough(actions) for _ in range(200)])
    changed = (played != np.float32(1.9)).any(axis=(0, 2))
    assert changed.tolist() == [False, False, True, True, False, False, True, True]
    assert np.abs(played).max() <= 2.0
    found = collect(lockstep, lambda x, _: reference.act(policy, x), rough, 20)
    assert found.observations.shape[:2] == found.begins.shape
    assert len(found.flat) == 24


@pytest.mark.slow
def test_a_student_of_four_bits_does_what_its_teacher_does(tmp_path: Path) -> None:
    teacher = cartpole()
    context = Context.from_environment(teacher, "CartPole-v1", seed=1, work_folder=tmp_path)
    recipe = 'distill(hidden=(), steps=300, weight_bits=4, input_range="none", restarts=2)'
    small = compress(teacher, recipe, context)
    assert small.weight_bits == (4,)
    assert small.model_bytes <= 4 + 4 + 2
    assert small.provenance.recipe == recipe
    assert episode_returns(small, "CartPole-v1", range(900, 910)).mean() >= 475
    # The real students of the first run are taken up again, and all else follows from the seed.
    assert list(tmp_path.glob("distill-*.npz"))
    again = compress(teacher, recipe, context)
    fresh = compress(teacher, recipe, Context.from_environment(teacher, "CartPole-v1", seed=1))
    assert again.weight_bits == fresh.weight_bits
    assert fresh.digest == small.digest


@pytest.mark.parametrize(("granularity", "shapes"), [("per_tensor", [(), ()]), ("per_channel", [(3,), (2,)])])
def test_a_student_has_a_weight_scale_for_a_layer_or_for_every_output(
    granularity: str, shapes: list[tuple[int, ...]]
) -> None:
    teacher = cartpole()
    context = Context.from_environment(teacher, "CartPole-v1", seed=2)
    recipe = f'distill(hidden=(3,), steps=60, weight_bits=5, granularity="{granularity}", restarts=1)'
    small = compress(teacher, recipe, context)
    linear = [layer for layer in small.layers if isinstance(layer, layers.QuantizedDense)]
    assert [layer.weight.scale.shape for layer in linear] == shapes


def test_a_real_student_has_no_normalizer_left() -> None:
    teacher = cartpole()
    context = Context.from_environment(teacher, "CartPole-v1", seed=2)
    small = compress(teacher, "distill(hidden=(3,), steps=60, restarts=1)", context)
    kinds = [type(layer).__name__ for layer in small.layers]
    assert kinds == ["Dense", "Silu", "Dense", "ArgmaxAction"]


def test_a_course_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    teacher = cartpole()
    seen: list[int] = []

    def stop_half_way(_: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    recipe = "distill(hidden=(), steps=60, restarts=1)"
    context = Context.from_environment(teacher, "CartPole-v1", seed=3, work_folder=tmp_path, progress=stop_half_way)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["lilliput.policies.compress.distill_course"], "_SAVE_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            compress(teacher, recipe, context)
        compress(teacher, recipe, context)
    assert seen == [10, 20, 30, 30, 40, 50, 60]


def test_what_the_teacher_shows_is_played_once_and_changes_nothing(tmp_path: Path) -> None:
    teacher = cartpole()
    alone = Context.from_environment(teacher, "CartPole-v1", seed=3)
    shared = Context.from_environment(teacher, "CartPole-v1", seed=3, work_folder=tmp_path)
    compress(teacher, "distill(hidden=(2,), steps=30, restarts=1)", shared)
    (shown,) = tmp_path.glob("shown-*.npz")
    written = shown.stat().st_mtime_ns
    recipe = "distill(hidden=(3,), steps=30, restarts=1)"
    assert compress(teacher, recipe, shared).digest == compress(teacher, recipe, alone).digest
    assert [path.stat().st_mtime_ns for path in tmp_path.glob("shown-*.npz")] == [written]


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_student_is_not_quantized_where_the_context_says_that_it_is_not_worth_it(restarts: int) -> None:
    teacher, recipe = cartpole(), f"distill(hidden=(2,), steps=30, weight_bits=8, restarts={restarts})"
    asked: list[np.ndarray] = []

    def never(returns: np.ndarray) -> bool:
        asked.append(returns)
        return False

    context = Context.from_environment(teacher, "CartPole-v1", seed=3)
    with pytest.raises(Abandoned, match="distill: left before it was quantized") as error:
        compress(teacher, recipe, dataclasses.replace(context, goes_on=never))
    (returns,) = asked
    assert error.value.step == "distill"
    np.testing.assert_array_equal(error.value.returns, returns)
    assert len(returns) == BLOCK
    assert (returns >= 1).all()
    unasked, willing = (
        compress(teacher, recipe, dataclasses.replace(context, goes_on=one)) for one in (None, lambda _: True)
    )
    assert unasked.digest == willing.digest


@pytest.mark.slow
def test_a_course_stops_at_its_deadline(tmp_path: Path) -> None:
    import time

    teacher = cartpole()
    context = Context.from_environment(teacher, "CartPole-v1", seed=2, work_folder=tmp_path, deadline=time.monotonic())
    small = compress(teacher, "distill(hidden=(), steps=1000000, weight_bits=8, restarts=1)", context)
    assert small.weight_bits == (8,)
    assert not list(tmp_path.glob("distill-*.npz"))  # half a training is not taken for a whole one
