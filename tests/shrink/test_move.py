"""Each move leads to a student of its own; what moves do is learned."""

import pytest

from lilliput.policies.compress import format_recipe, parse
from lilliput.shrink import move
from lilliput.shrink.configuration import Loss, Sight, Student, image_starts, starts, student_of
from lilliput.shrink.move import TO_FEWER_BITS, Effects, Move, chance, moves

CHOICES: tuple[Loss, ...] = ("kl", "regret", "cross_entropy")
ARRAYS: tuple[Loss, ...] = ("l2", "l1")


@pytest.mark.parametrize(
    ("ways", "inputs", "remembers"),
    [(CHOICES, 17, False), (CHOICES, 376, True), (ARRAYS, 17, True), (ARRAYS, 376, False)],
)
def test_every_move_leads_to_a_recipe_that_says_what_it_is(
    ways: tuple[Loss, ...], inputs: int, *, remembers: bool
) -> None:
    seen = list(starts(ways, inputs, remembers=remembers))
    for _ in range(2):
        neighbours = (moves(student, Sight(inputs), 6, ways, (512, 2), remembers=remembers) for student in seen[:16])
        seen += [child for each in neighbours for _, child in each]
    assert any(student.memory for student in seen) == any(student.history for student in seen) == remembers
    assert len({student.recipe for student in seen}) > 50
    for student in dict.fromkeys(seen):
        assert format_recipe(parse(student.recipe)) == student.recipe
        assert student_of(student.recipe) == student


def test_every_move_is_made_from_some_student_and_has_a_name_of_its_own() -> None:
    declared = [one for one in vars(move).values() if isinstance(one, Move)] + list(TO_FEWER_BITS.values())
    assert len({kind.name for kind in declared}) == len(declared)
    made: set[str] = set()
    for ways, inputs, remembers in ((CHOICES, 17, False), (ARRAYS, 376, False), (ARRAYS, 17, True)):
        seen = [Student((8,), bits, "l2") for bits in (2, 3, 4, 5, 6, 8, (5, 6))]
        seen += [Student((8, 8), 6, "l2", steps=18_000), *starts(ways, inputs, remembers=remembers)]
        teachers = {None: ways, "other": ways}
        for _ in range(2):
            near = {
                kind.name.partition(":")[0]: child
                for student in seen
                for kind, child in moves(student, Sight(inputs), 6, ways, (512, 1), teachers, remembers=remembers)
            }
            made |= near.keys()
            seen = list(near.values())
    assert made == {kind.name for kind in declared}


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
    assert len({student.recipe for student in seen}) >= 30
    for student in dict.fromkeys(seen):
        assert len(student.channels) == 3
        assert student.recipe.startswith("distill_images(")
        assert student_of(student.recipe) == student
    first = seen[0]
    found = dict(moves(first, atari, 6, ("kl",), (512, 2)))
    assert found[move.NARROWER].channels == (12, 17, 17)
    assert found[move.FEWER_BITS_WHERE_MOST_ARE].weight_bits == (4, 4, 4, 3, 4)
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
