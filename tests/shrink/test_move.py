"""Each move leads to a student of its own; what moves do is learned."""

import itertools

import pytest

from lilliput.policies.compress import format_recipe, parse
from lilliput.shrink import move
from lilliput.shrink.configuration import Loss, Sight, Student, image_starts, starts, student_of
from lilliput.shrink.move import MOVES, Effects, chance, moves

CHOICES: tuple[Loss, ...] = ("kl", "regret", "cross_entropy")
ARRAYS: tuple[Loss, ...] = ("l2", "l1")


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("inputs", [17, 376])
@pytest.mark.parametrize("ways", [CHOICES, ARRAYS])
def test_every_move_leads_to_a_recipe_that_says_what_it_is(
    ways: tuple[Loss, ...], inputs: int, *, remembers: bool
) -> None:
    seen = list(starts(ways, inputs, remembers=remembers))
    for _ in range(2):
        neighbours = (moves(student, Sight(inputs), 6, ways, (512, 2), remembers=remembers) for student in seen[:16])
        seen += [child for each in neighbours for kind, child in each if kind in MOVES]
    assert any(student.memory for student in seen) == any(student.history for student in seen) == remembers
    assert len({student.recipe for student in seen}) > 50
    for student in dict.fromkeys(seen):
        assert format_recipe(parse(student.recipe)) == student.recipe
        assert student_of(student.recipe) == student


def test_every_move_has_an_effect_to_begin_with() -> None:
    for ways, inputs in itertools.product((CHOICES, ARRAYS), (17, 376)):
        every = [Student((8,), bits, "l2") for bits in (2, 3, 4, 5, 6, 8, (5, 6))]
        for student in (*every, Student((8, 8), 6, "l2", steps=18_000), Student((), 6, "l2", steps=162_000)):
            assert {kind for kind, _ in moves(student, Sight(inputs), 6, ways, (512, 1))} <= set(MOVES)
    assert len({kind.name for kind in MOVES}) == len(MOVES)


def test_what_a_student_keeps_of_the_past_grows_shrinks_and_goes() -> None:
    def after(student: Student) -> dict[move.Move, Student]:
        return dict(moves(student, Sight(17), 6, ARRAYS, (512, 1), remembers=True))

    plain = Student((8,), 6, "l2")
    found = after(plain)
    assert found[move.A_MEMORY] == Student((), 6, "l2", memory=4, steps=3_000)
    assert found[move.LONGER_HISTORY].history == 2
    assert after(found[move.LONGER_HISTORY])[move.SHORTER_HISTORY] == plain
    assert move.EVOLVED in found
    assert not {move.EVOLVED, move.NO_RANGES, move.FEWER_BITS_WHERE_MOST_ARE} & set(after(found[move.A_MEMORY]))
    assert after(found[move.A_MEMORY])[move.NO_MEMORY].memory is None
    sizes = [one.model_bytes(Sight(17), 6, 0) for one in (plain, found[move.LONGER_HISTORY])]
    assert sizes[0] < sizes[1]


def test_of_many_inputs_students_see_a_part() -> None:
    first, *_ = starts(ARRAYS, 376)
    assert first.seen == 94
    found = dict(moves(first, Sight(376), 6, ARRAYS, (512, 1)))
    inputs = (move.FAR_FEWER_INPUTS, move.FEWER_INPUTS, move.MORE_INPUTS, move.FAR_MORE_INPUTS)
    assert [found[kind].seen for kind in inputs] == [38, 66, 132, 235]
    assert dict(moves(found[move.FAR_MORE_INPUTS], Sight(376), 6, ARRAYS, (512, 1)))[move.FAR_MORE_INPUTS].seen is None
    assert not any(kind in inputs for kind, _ in moves(starts(ARRAYS, 17)[0], Sight(17), 6, ARRAYS, (512, 1)))


def test_students_of_images_change_in_ways_of_their_own() -> None:
    atari = Sight(28_224, ((64, 400), (16, 81), (9, 49)), 4)
    seen = list(image_starts(atari))
    seen += [child for student in seen for _, child in moves(student, atari, 6, ("kl",), (512, 2))]
    assert len({student.recipe for student in seen}) > 30
    for student in dict.fromkeys(seen):
        assert len(student.channels) == 3
        assert student.recipe.startswith("distill_images(")
        assert student_of(student.recipe) == student
    first = seen[0]
    found = dict(moves(first, atari, 6, ("kl",), (512, 2)))
    assert found[move.NARROWER].channels == (6, 12, 12)
    assert found[move.FEWER_BITS_WHERE_MOST_ARE].weight_bits == (6, 6, 6, 5, 6)
    assert found[move.FEWER_BITS_WHERE_MOST_ARE].root == first.root, "the real student is trained once for both"


@pytest.mark.parametrize(
    ("hidden", "inputs", "wanted"),
    [((36, 36), 17, (6, 5, 6)), ((10, 10), 17, (5, 6, 6)), ((8,), 17, (5, 6)), ((8,), 3, (6, 5))],
)
def test_the_layer_of_the_most_weights_gets_fewer_bits(
    hidden: tuple[int, ...], inputs: int, wanted: tuple[int, ...]
) -> None:
    found = dict(moves(Student(hidden, 6, "l2"), Sight(inputs), 6, ARRAYS, (512, 1)))[move.FEWER_BITS_WHERE_MOST_ARE]
    assert found.weight_bits == wanted
    assert found.model_bytes(Sight(inputs), 6, 0) < Student(hidden, 6, "l2").model_bytes(Sight(inputs), 6, 0)
    assert found.root == Student(hidden, 6, "l2").root, "the real student is trained once for both"


def test_effects_move_towards_what_is_seen_and_get_surer() -> None:
    effects = Effects()
    prior, spread = effects.predict(move.LINEAR, 0.9)
    for _ in range(5):
        effects.learn(move.LINEAR, 0.9, 0.9)
    mean, later = effects.predict(move.LINEAR, 0.9)
    assert prior < mean < 0
    assert later < spread


def test_what_improves_promises_less_where_less_is_short() -> None:
    effects = Effects()
    far, near, best = (effects.predict(move.LONGER, before)[0] for before in (0.6, 0.97, 1.1))
    assert far > near > best == 0
    effects.learn(move.LONGER, 0.97, 1.03)
    assert effects.predict(move.LONGER, 0.6)[0] > far, "six points of the seven that were short are a great deal"


def test_a_chance_is_a_normal_tail() -> None:
    assert chance(1.0, 0.1, 1.0) == pytest.approx(0.5)
    assert chance(1.0, 0.1, 0.9) == pytest.approx(0.8413, abs=1e-3)
