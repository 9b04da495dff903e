"""Policies on emulated microcontrollers: the self-test passes there, and a count is the same every time."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.strategies import Form, random_linear

from lilliput import layers, reference, spaces
from lilliput.artifact import Artifact
from lilliput.errors import LilliputError, MissingDependency
from lilliput.export import export
from lilliput.measure import target
from lilliput.policy import Policy


def artifact_of(form: Form, folder: Path) -> Artifact:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (64, 9)).astype(np.float32)
    stack: list[layers.Layer] = []
    for width in (21, 18, 3):
        for layer in (random_linear(x, form, rng, outputs=width), layers.Relu()):
            stack.append(layer)
            x = reference.apply(layer, x)
    stack[-1] = layers.SquashAction()
    infinite, one = np.array(np.inf), np.array(1.0)
    space = spaces.Box((9,), np.array(-np.inf), infinite)
    return export(Policy(space, spaces.Box((3,), np.array(-1.0), one), tuple(stack)), "c", folder / form)


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


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(LilliputError, match=r"the target is 'pdp-11'; known: host, cortex-m0plus"):
        target.target_named("pdp-11")


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = artifact_of("float32", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="apt install gcc-arm-none-eabi"):
        target.count(artifact, target.TARGETS["cortex-m4"])
