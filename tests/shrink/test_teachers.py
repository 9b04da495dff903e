"""Several teachers: the best of them is what is to be kept, and students are of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.shrink.counted import AN_HOUR_S, end_after, lessons
from tests.shrink.games import BALANCE, cartpole

from lilliput.cli import cli
from lilliput.compiler import has_compiler
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import layers
from lilliput.policies.compress import Context, compress
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy, replace_layers
from lilliput.shrink.configuration import Loss, Sight, Teachers, starts, student_of
from lilliput.shrink.move import Effects, moves, to_teacher
from lilliput.shrink.page import rows
from lilliput.shrink.request import Place, Request
from lilliput.shrink.result import Result, Taught, from_json, to_json
from lilliput.shrink.run import shrink
from lilliput.shrink.searched import Searched
from lilliput.shrink.teachers import best, distinct
from lilliput.study.workspace import enter
from lilliput.task import Task

REQUEST = Request(Task("CartPole-v1"), within_s=AN_HOUR_S, train=False, format="onnx", workers=1)


def worse() -> Policy:
    """Balances for some dozens of steps: it does not look at where the cart is going."""
    first, *others = cartpole().layers
    assert isinstance(first, layers.Dense)
    weight = first.weight.copy()
    weight[:, :2] = 0
    weight[:, 3] *= -0.2
    return replace_layers(cartpole(), (layers.Dense(weight, first.bias), *others))


def test_the_best_teacher_is_what_is_to_be_kept_and_that_stays(tmp_path: Path) -> None:
    good, bad = (
        Checkpoint(replace(policy, provenance=replace(policy.provenance, source="a.zip", algorithm=algorithm)))
        for policy, algorithm in ((cartpole(), "PPO"), (worse(), "A2C"))
    )
    place, said = Place(enter(tmp_path, "shrink", force=False).folder, bad.digest, REQUEST), []
    assert best(place, (bad, good), said.append) is good
    assert len(said) == 3
    assert said[0].startswith(f"a.zip (A2C, {bad.digest[:12]}) returns "), "one name for two is none"
    assert best(place, (good, bad), said.append) is good
    assert len(said) == 3, "what is decided is not played again"
    for others in ((bad,), (bad, Checkpoint(cartpole(32)))):
        with pytest.raises(LilliputError, match="a shrink of other teachers; choose another folder or give --force"):
            best(place, others, said.append)


def test_a_folder_of_one_policy_refuses_several(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "lilliput.json").write_text(json.dumps({"kind": "shrink", "format": 1}))
    asked = {"version": 1, "policy": cartpole().digest, "environment": "CartPole-v1"}
    (folder / "request.json").write_text(json.dumps(asked))
    with pytest.raises(LilliputError, match=r"holds a shrink of .*teachers None.*; choose another folder"):
        shrink(cartpole(), REQUEST, folder, lambda _: None, teachers=(worse(),))


def test_several_sources_are_teachers_where_that_is_said(tmp_path: Path) -> None:
    paths = tmp_path / "good.lilliput", tmp_path / "bad.lilliput"
    for path, policy in zip(paths, (cartpole(), worse()), strict=True):
        policy_file.write(policy, path)
    command = ["shrink", *map(str, paths), "-o", str(tmp_path / "small")]
    refused = CliRunner().invoke(cli, [*command, "--env", "CartPole-v1"])
    assert refused.exit_code == 2
    assert "2 sources; with --teachers" in refused.stderr
    assert not (tmp_path / "small").exists()


def test_the_result_says_who_taught_in_words_and_in_json() -> None:
    schools = (Taught("sac.zip", "a" * 12, True, 5, 0.9, False), Taught("td3.pt", "b" * 12, False, 7, 0.97, True))
    found = Result(9_000, 300, 0.97, 0.95, 1.0, "quantize()", 1.0, 1.0, 96, 12, 60.0, (), (), teachers=schools)
    assert found.sentence.endswith("It is a student of td3.pt; the return is that of sac.zip, the best of 2 teachers.")
    assert from_json(json.loads(json.dumps(to_json(found)))) == found
    assert schools[0].sentence == "sac.zip (the best teacher) taught 5 students, of which the best kept 90.0 %"


def test_teachers_have_to_see_the_same(tmp_path: Path) -> None:
    stacked = replace(cartpole().provenance, wrappers=("time_feature(500)",))
    with pytest.raises(LilliputError):
        distinct((Checkpoint(cartpole()), Checkpoint(replace(cartpole(), provenance=stacked))), Task("CartPole-v1"))
    assert len(distinct(tuple(map(Checkpoint, (cartpole(), cartpole(), worse()))), Task("CartPole-v1"))) == 2


def test_a_student_of_another_teacher_is_what_that_one_s_own_is() -> None:
    if not has_compiler():
        pytest.skip("students are trained in C: there is no compiler")
    good, bad = cartpole(), worse()
    recipe = "distill((4,), steps=40, restarts=1, weight_bits=6)"
    own = compress(good, recipe, Context.from_environment(good, "CartPole-v1"))
    named = f'distill((4,), steps=40, restarts=1, weight_bits=6, teacher="{good.digest[:12]}")'
    context = Context.from_environment(bad, "CartPole-v1", teachers=(Checkpoint(good),))
    assert compress(bad, named, context).digest == own.digest
    with pytest.raises(LilliputError, match="is none of those that are here"):
        compress(bad, named, Context.from_environment(bad, "CartPole-v1"))
    with pytest.raises(LilliputError, match="beginning of a digest"):
        compress(bad, 'distill(teacher="../x")', context)


WAYS: tuple[Loss, ...] = ("l2", "l1")
SCHOOLS: Teachers = {None: WAYS, "a" * 12: ("regret", "l2", "l1"), "b" * 12: WAYS}


def test_the_search_begins_with_a_student_of_each_and_moves_between_them() -> None:
    every = starts(WAYS, 17, SCHOOLS)
    assert [student.teacher for student in every[:3]] == [None, "a" * 12, "b" * 12]
    assert len(every) == len(starts(WAYS, 17)) + 2
    for student in every:
        assert student_of(student.recipe) == student
    found = list(moves(every[1], Sight(17), 6, SCHOOLS["a" * 12], (512, 1), SCHOOLS))
    others = (to_teacher(None), to_teacher("b" * 12))
    assert {child.teacher for move, child in found if move in others} == {None, "b" * 12}
    regret = next(child for _, child in found if child.loss == "regret")
    back = dict(moves(regret, Sight(17), 6, SCHOOLS["a" * 12], (512, 1), SCHOOLS))[to_teacher(None)]
    assert back.loss in WAYS, "a loss that the other teacher has"


def test_what_is_learned_of_one_teacher_is_not_held_against_another() -> None:
    effects = Effects()
    before = effects.predict(to_teacher("a"), 0.8)
    for _ in range(5):
        effects.learn(to_teacher("a"), 0.8, 1.0)
    assert effects.predict(to_teacher("a"), 0.8)[0] > 0.1
    assert effects.predict(to_teacher("b"), 0.8) == before


def are_of_both(found: Searched) -> bool:
    return len({found.students[recipe].teacher for recipe in found.students.keys() & found.trials.keys()}) == 2


@pytest.mark.slow
@pytest.mark.longest
def test_students_of_both_are_tried_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from lilliput import record

    end_after(monkeypatch, are_of_both)
    lessons(monkeypatch, 1_000)
    request = Request(Task(BALANCE), keep=0.8, within_s=AN_HOUR_S, format="onnx", workers=2)
    result = shrink(worse(), request, tmp_path, lambda _: None, teachers=(cartpole(),))
    assert all(one.n_students for one in result.teachers)
    assert sum(one.chosen for one in result.teachers) == 1
    assert "It is a student of" in result.sentence
    kept = next(one.digest for one in result.teachers if one.best)
    every = [r for r in record.read_all(tmp_path / "records") if r.cell.is_floor or r.cell.subject.startswith(kept)]
    shown = rows(every, result, 0.8)
    assert result.recipe in {row.recipe for row in shown}
