"""What is made small and its limits: what a trial says is what its record says, and no limit is forgotten."""

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.shrink.counted import AN_HOUR_S, end_after, trials
from tests.shrink.games import BALANCE, cartpole

from lilliput.errors import LilliputError, MissingDependency
from lilliput.measure import count, target_named
from lilliput.policies.artifact import read_artifact
from lilliput.policies.compress import compress
from lilliput.policies.export import c, export
from lilliput.policies.learner import Checkpoint
from lilliput.shrink import objective
from lilliput.shrink.bar import Bar
from lilliput.shrink.code_bytes import CodeBytes
from lilliput.shrink.configuration import Student
from lilliput.shrink.confirm import finalists
from lilliput.shrink.request import Place, Request
from lilliput.shrink.result import Result, frontier, table
from lilliput.shrink.run import shrink
from lilliput.shrink.searched import Searched
from lilliput.shrink.student_space import StudentSpace
from lilliput.shrink.trial import Trial, attempt, known, play_random
from lilliput.study.policies import POLICIES
from lilliput.study.workspace import Workspace
from lilliput.task import Task

RECIPE = "quantize()"


def tried(folder: Path, request: Request) -> tuple[Place, Searched]:
    """The baseline and one trial, as the search makes them."""
    policy = cartpole()
    POLICIES.keep(Checkpoint(policy), Workspace(folder))
    place = Place(folder, policy.digest, request)
    until = time.time() + 3600
    trials = {"": attempt(place, "", until, None, 16)}
    bar = Bar(trials[""].returns, play_random(place, 16), request.keep)
    trials[RECIPE] = attempt(place, RECIPE, until, bar, 16)
    return place, Searched(trials, bar)


@pytest.mark.parametrize(
    "asked",
    [
        Request(Task(BALANCE), objective="latency_s", train=False, format="onnx"),
        Request(Task(BALANCE), deadline_s=1e-12, train=False, format="onnx"),
        Request(Task(BALANCE), objective="n_macs", train=False, format="onnx"),
    ],
)
def test_taken_up_again_a_trial_has_the_value_and_the_broken_limit_that_it_had(tmp_path: Path, asked: Request) -> None:
    pytest.importorskip("onnxruntime")
    place, found = tried(tmp_path, asked)
    again, _ = known(place)
    assert set(again) == set(found.trials)
    for recipe, trial in found.trials.items():
        assert math.isfinite(trial.value)
        assert again[recipe].value == trial.value
        assert again[recipe].broken == trial.broken
        assert (trial.broken != "") == (asked.deadline_s is not None)
        np.testing.assert_array_equal(again[recipe].returns, trial.returns)


def test_what_breaks_a_limit_is_no_finalist_and_not_on_the_frontier(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    place, found = tried(tmp_path, Request(Task(BALANCE), deadline_s=1e-12, train=False, format="onnx"))
    assert "latency_s is" in found.trials[RECIPE].broken
    again = Searched(known(place)[0], found.bar)
    for searched in (found, again):
        assert finalists(searched) == ()
        assert [point.recipe for point in frontier(searched, {})] == [""]
    # The same trial without the limit is one, so it was the limit that shut it out.
    free = {recipe: replace(trial, broken="") for recipe, trial in again.trials.items()}
    assert [trial.recipe for trial in finalists(Searched(free, found.bar))] == [RECIPE]


def test_a_limit_is_broken_from_one_byte_on() -> None:
    from lilliput.measurement import Measurement

    flash = (Measurement("flash_bytes", (1_000.0,), "counted: by hand"),)
    request = Request(Task("CartPole-v1"), target="cortex-m4", max_flash=1_000)
    assert objective.broken(request, flash) == ""
    assert objective.broken(replace(request, max_flash=999), flash) == "flash_bytes is 1,000, 1 over the limit of 999"
    assert objective.names(request) == ("flash_bytes", "ram_bytes", "instructions")


def test_flash_and_ram_are_the_smallest_processors_where_none_is_named() -> None:
    for name in ("flash_bytes", "ram_bytes"):
        request = Request(Task("CartPole-v1"), objective=name)
        assert request.target == "cortex-m0plus"
        assert objective.names(request) == ("flash_bytes", "ram_bytes")
    assert Request(Task("CartPole-v1"), objective="flash_bytes", target="riscv32").target == "riscv32"
    with pytest.raises(LilliputError, match="it takes the format c"):
        Request(Task("CartPole-v1"), objective="flash_bytes", format="onnx")


def test_without_the_compiler_flash_is_refused_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    request = Request(Task("CartPole-v1"), objective="flash_bytes")
    with pytest.raises(MissingDependency, match="apt install gcc-arm-none-eabi"):
        shrink(cartpole(), request, tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


def test_policies_of_one_shape_have_one_text_and_others_another() -> None:
    one, other, wide = (compress(cartpole(width), recipe) for width, recipe in
                        ((8, "half()"), (8, "prune_weights(sparsity=0.1) | half()"), (10, "half()")))  # fmt: skip
    assert one.digest != other.digest
    assert c.shape(one) == c.shape(other) != c.shape(wide)
    assert c.shape(one) != c.shape(cartpole(8))


@pytest.mark.embedded
def test_a_shape_is_compiled_once_and_a_record_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    request = Request(Task("CartPole-v1"), objective="flash_bytes")
    first = objective.measured(compress(cartpole(8), "half()"), request, tmp_path)
    monkeypatch.setattr(objective, "_on_the_target", lambda *_: pytest.fail("compiled again"))
    again = objective.measured(compress(cartpole(8), "prune_weights(sparsity=0.1) | half()"), request, tmp_path)
    assert [(one.quantity, one.values) for one in first] == [(one.quantity, one.values) for one in again]
    assert all("(of a policy of this shape)" in one.method for one in again)
    assert objective.value(request, first) > cartpole(8).model_bytes / 2


def test_what_was_seen_of_code_foretells_students_of_its_kind() -> None:
    space = StudentSpace.of(Checkpoint(cartpole()), (), train=True)
    small, large, linear = Student((4,), 4, "l2"), Student((9,), 4, "l2"), Student((), 4, "l2")
    code = CodeBytes("flash_bytes", space)
    code.learn(small, 2_000.0 + space.model_bytes(small))
    code.learn(linear, 900.0 + space.model_bytes(linear))
    assert code.predict(large) == 2_000 + space.model_bytes(large)
    other = Student((), 3, "l1")
    assert code.predict(other) == 900 + space.model_bytes(other)


@pytest.mark.embedded
def test_flash_before_and_after_is_that_of_the_artifacts_and_is_said(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    request = Request(Task("CartPole-v1"), objective="flash_bytes")
    before = export(cartpole(16), "c", tmp_path / "before")
    after = export(compress(cartpole(8), "half()"), "c", tmp_path / "after")
    figures = objective.compared(request, before.folder, after.folder)
    counts = [count(one, target_named("cortex-m0plus")) for one in (before, after)]
    assert {name: values for name, *values in figures}["flash_bytes"] == [one.flash_bytes for one in counts]
    made = Result(
        400, 100, 0.97, 0.95, 1.0, "half()", 1.0, 1.0, 96, 12, 60.0, (), (), figures,
        objective=request.objective, target=request.target,
    )  # fmt: skip
    assert "100 bytes instead of 400" in made.sentence
    assert f"{counts[1].flash_bytes:,} bytes of flash instead of {counts[0].flash_bytes:,}" in made.sentence
    assert made.made_small == "bytes of flash on cortex-m0plus"
    assert replace(made, recipe="").sentence.startswith("100 bytes as before: nothing smaller, in bytes of flash on ")


def test_the_frontier_is_that_of_the_objective() -> None:
    def trial(recipe: str, value: float, model_bytes: int, kept: float) -> Trial:
        return Trial(recipe, float(value), model_bytes, np.full(32, 100 * kept), 1.0)

    bar = Bar(np.full(32, 100.0), np.zeros(32), 0.9)
    made = [trial("", 5_000, 400, 1.0), trial("a()", 3_000, 300, 0.9), trial("b()", 4_000, 100, 0.8)]
    hopeless = trial("c()", np.inf, 50, 0.1)  # was not compiled
    points = frontier(Searched({one.recipe: one for one in (*made, hopeless)}, bar), {})
    assert [(point.recipe, point.size) for point in points] == [("a()", 3_000), ("", 5_000)]
    heading, first, *_ = table(points, 400, "flash_bytes").splitlines()
    assert "flash_bytes" in heading
    assert "3,000" in first


@pytest.mark.embedded
@pytest.mark.longest
def test_the_fewest_instructions_within_the_flash_of_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    end_after(monkeypatch, trials(3))
    request = Request(
        Task(BALANCE), 0.8, AN_HOUR_S, "instructions",
        train=False, target="cortex-m4", max_flash=6_000, max_ram=4_000,
    )  # fmt: skip
    result = shrink(cartpole(), request, tmp_path, lambda _: None)
    assert result.recipe
    figures = {name: (before, after) for name, before, after in result.figures}
    counts = count(read_artifact(tmp_path / "artifact"), target_named("cortex-m4"))
    assert figures["instructions"][1] == counts.instructions < figures["instructions"][0]
    assert figures["flash_bytes"][1] == counts.flash_bytes <= 6_000
    assert figures["ram_bytes"][1] == counts.ram_bytes <= 4_000
    assert f"{counts.instructions:,} instructions a decision instead of" in result.sentence
    assert f"flash_bytes is {counts.flash_bytes:,}, the limit 6,000" in result.notes
