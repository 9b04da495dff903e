"""Policies on emulated microcontrollers: the self-test passes there, and a count is the same every time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.strategies import Form, random_linear

from lilliput import layers, reference, spaces
from lilliput.artifact import Artifact
from lilliput.cli import cli
from lilliput.errors import LilliputError, MissingDependency
from lilliput.export import export
from lilliput.measure import target
from lilliput.policy import Policy

RELU = layers.Relu()


def artifact_of(
    form: Form,
    folder: Path,
    widths: tuple[int, ...] = (21, 18, 3),
    activation: layers.Activation = RELU,
    *,
    per_dimension: bool = True,
) -> Artifact:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (64, 9)).astype(np.float32)
    stack: list[layers.Layer] = []
    for width in widths:
        linear = random_linear(x, form, rng, outputs=width, per_dimension=per_dimension or not stack)
        for layer in (linear, activation):
            stack.append(layer)
            x = reference.apply(layer, x)
    stack[-1] = layers.SquashAction()
    infinite, one = np.array(np.inf), np.array(1.0)
    space = spaces.Box((9,), np.array(-np.inf), infinite)
    return export(Policy(space, spaces.Box((widths[-1],), np.array(-1.0), one), tuple(stack)), "c", folder / form)


def needs(chosen: target.Target) -> None:
    for command in (chosen.compiler, chosen.emulator[0]):
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed")


@pytest.mark.embedded
@pytest.mark.parametrize("form", ["float32", "static", "dynamic"])
@pytest.mark.parametrize("name", sorted(target.TARGETS))
def test_the_selftest_passes_and_the_count_repeats(name: str, form: Form, tmp_path: Path) -> None:
    chosen = target.target_named(name)
    needs(chosen)
    artifact = artifact_of(form, tmp_path)
    first, second = target.count(artifact, chosen), target.count(artifact, chosen)
    assert first.passes_selftest
    assert first == second
    assert first.instructions > artifact.manifest.n_macs  # no core here does more than one a cycle on these kernels
    assert first.flash_bytes > artifact.manifest.model_bytes
    assert 0 < first.stack_bytes <= first.ram_bytes
    assert {m.quantity for m in target.measurements(first)} == {"flash_bytes", "ram_bytes", "instructions"}


@pytest.mark.embedded
@pytest.mark.parametrize("activation", [layers.Relu, layers.Tanh])
@pytest.mark.parametrize(("name", "share"), [("cortex-m0plus", 0.1), ("cortex-m3", 0.1), ("cortex-m4", 0.75)])
def test_integers_take_a_share_of_the_float_instructions(
    name: str, share: float, activation: type[layers.Relu | layers.Tanh], tmp_path: Path
) -> None:
    chosen = target.target_named(name)
    needs(chosen)
    counts = {}
    for form in ("float32", "static"):
        artifact = artifact_of(form, tmp_path, (64, 64, 6), activation(), per_dimension=False)
        counts[form] = target.count(artifact, chosen)
        assert counts[form].passes_selftest
    assert counts["static"].instructions <= share * counts["float32"].instructions
    assert counts["static"].ram_bytes < counts["float32"].ram_bytes


@pytest.mark.embedded
def test_the_command_says_what_does_not_fit(tmp_path: Path) -> None:
    needs(target.TARGETS["cortex-m4"])
    folder = artifact_of("static", tmp_path).folder
    run = CliRunner().invoke(cli, ["measure", str(folder), "--target", "cortex-m4", "--max-flash", "100", "--json"])
    assert run.exit_code == 3
    found = json.loads(run.stdout)
    assert found["selftest"] == "passed"
    assert found["limits"][0]["left"] < 0
    assert not found["fits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-flash", "100"], "--max-flash needs --target"),
        (["--target", "cortex-m4", "--deadline", "0.1"], "--deadline needs --clock"),
    ],
)
def test_what_is_said_of_a_processor_needs_it(arguments: list[str], message: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(cli, ["measure", str(tmp_path), *arguments])
    assert run.exit_code == 2
    assert message in run.output


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(LilliputError, match=r"the target is 'pdp-11'; known: host, cortex-m0plus"):
        target.target_named("pdp-11")


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = artifact_of("float32", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="apt install gcc-arm-none-eabi"):
        target.count(artifact, target.TARGETS["cortex-m4"])
