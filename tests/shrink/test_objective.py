"""What is made small and its limits: what a trial says is what its record says, and no limit is forgotten."""

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.shrink.games import cartpole

from lilliput.policies.learner import Checkpoint
from lilliput.shrink import objective
from lilliput.shrink.confirm import finalists
from lilliput.shrink.request import Place, Request
from lilliput.shrink.result import frontier
from lilliput.shrink.run import shrink
from lilliput.shrink.search import Searched
from lilliput.shrink.trial import Bar, attempt, known, play_random
from lilliput.study.policies import POLICIES
from lilliput.study.workspace import Workspace
from lilliput.task import Task

RECIPE = "quantize()"


def tried(folder: Path, request: Request) -> tuple[Place, Searched]:
    """The baseline and one trial, as the search makes them."""
    policy = cartpole()
    POLICIES.keep(Checkpoint(policy), Workspace(folder))
    place = Place(folder, policy.digest, request)
    until = time.time() + 60
    trials = {"": attempt(place, "", until, None, 16)}
    bar = Bar(trials[""].returns, play_random(place, 16), request.keep)
    trials[RECIPE] = attempt(place, RECIPE, until, bar, 16)
    return place, Searched(trials, bar)


@pytest.mark.parametrize(
    "asked",
    [
        Request(Task("CartPole-v1"), objective="latency_s", train=False, format="onnx"),
        Request(Task("CartPole-v1"), deadline_s=1e-12, train=False, format="onnx"),
        Request(Task("CartPole-v1"), objective="n_macs", train=False, format="onnx"),
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
    place, found = tried(tmp_path, Request(Task("CartPole-v1"), deadline_s=1e-12, train=False, format="onnx"))
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


@pytest.mark.embedded
def test_the_fewest_instructions_within_the_flash_of_a_processor(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    from lilliput.measure import count, target_named
    from lilliput.policies.artifact import read_artifact

    request = Request(
        Task("CartPole-v1"), 0.8, 60.0, "instructions", train=False, target="cortex-m4", max_flash=6_000, max_ram=4_000
    )
    result = shrink(cartpole(), request, tmp_path, lambda _: None)
    assert result.recipe
    figures = {name: (before, after) for name, before, after in result.figures}
    counts = count(read_artifact(tmp_path / "artifact"), target_named("cortex-m4"))
    assert figures["instructions"][1] == counts.instructions < figures["instructions"][0]
    assert figures["flash_bytes"][1] == counts.flash_bytes <= 6_000
    assert figures["ram_bytes"][1] == counts.ram_bytes <= 4_000
    assert f"{counts.instructions:,} instructions a decision instead of" in result.sentence
    assert f"flash_bytes is {counts.flash_bytes:,}, the limit 6,000" in result.notes
