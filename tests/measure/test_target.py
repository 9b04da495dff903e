"""Policies on emulated microcontrollers: the self-test passes there, and a count is the same every time."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.policies.export.test_avr import stack_said
from tests.policies.export.test_c import quantized_mlp
from tests.policies.recurrent import every_memory
from tests.strategies import Form, random_linear

from lilliput.cli import cli
from lilliput.errors import LilliputError, MissingDependency
from lilliput.measure import target
from lilliput.policies import layers, reference, spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.compress import compress
from lilliput.policies.export import export
from lilliput.policies.policy import Policy

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
    first = target.count(artifact, chosen)
    assert first.passes_selftest
    if form == "static" and name in ("cortex-m0plus", "cortex-m33", "riscv32"):  # of each emulator and board
        assert target.count(artifact, chosen) == first
    assert first.instructions > artifact.manifest.n_macs  # no core here does more than one a cycle on these kernels
    assert first.flash_bytes > artifact.manifest.model_bytes
    assert 0 < first.stack_bytes <= first.ram_bytes
    has_floats = any(flag.startswith(("-mfpu", "-mabi=ilp32f")) for flag in chosen.flags)
    assert first.stack_bytes <= stack_said(artifact.folder / f"{form}.h")[has_floats]
    assert {m.quantity for m in target.measurements(first)} == {"flash_bytes", "ram_bytes", "instructions"}


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["cortex-m0plus", "riscv32"])
@pytest.mark.parametrize(
    ("form", "bits"), [("float16", 8), ("weight_only", 3), ("static", 8), ("static", 5), ("dynamic", 8), ("dynamic", 4)]
)
def test_a_small_policy_takes_a_small_stack(form: Form, bits: int, name: str, tmp_path: Path) -> None:
    """As much as its header says, and not much less: what registers take is known to some 70 bytes."""
    chosen = target.target_named(name)
    needs(chosen)
    policy = quantized_mlp(form, 0, (bits, 8), (3, 2, 1))
    policy = dataclasses.replace(policy, layers=(*policy.layers, layers.Tanh()))
    artifact = export(policy, "c", tmp_path / "tiny")
    found = target.count(artifact, chosen)
    assert found.passes_selftest
    assert found.stack_bytes < (128 if name == "cortex-m0plus" else 160)
    assert found.stack_bytes <= stack_said(artifact.folder / "tiny.h")[0] <= found.stack_bytes + 70


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["riscv32", "cortex-m4"])
@pytest.mark.parametrize(
    ("form", "bits", "sparsity"), [("float16", 8, 0.7), ("dynamic", 8, 0.0), ("float32", 8, 0.0), ("static", 4, 0.7)]
)
def test_blocks_of_sixteen_rows_take_no_more_stack_than_is_said(
    form: Form, bits: int, sparsity: float, name: str, tmp_path: Path
) -> None:
    """RV32 saves the most of all; with a float unit weights are decoded into a tile, those kept into another."""
    chosen = target.target_named(name)
    needs(chosen)
    artifact = export(quantized_mlp(form, 0, (bits, 8), (5, 11, 18, 2), sparsity), "c", tmp_path / "wide")
    found = target.count(artifact, chosen).stack_bytes
    said = stack_said(artifact.folder / "wide.h")[name == "cortex-m4"]
    assert found <= said <= found + 300


@pytest.mark.embedded
@pytest.mark.parametrize(
    "activation", [layers.Sigmoid(), layers.Elu(1.0), layers.Gelu()], ids=lambda a: type(a).__name__
)
@pytest.mark.parametrize("name", ["cortex-m3", "riscv32"])
def test_curved_activations_keep_the_tolerance_with_other_c_libraries(
    name: str, activation: layers.Activation, tmp_path: Path
) -> None:
    chosen = target.target_named(name)
    needs(chosen)
    artifact = artifact_of("float32", tmp_path, (5, 3), activation)
    assert 0 < artifact.manifest.tolerance < 1e-3
    assert target.count(artifact, chosen).passes_selftest


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


def student_of(bits: int, activation: layers.Activation, folder: Path, *, per_channel: bool) -> Artifact:
    """Two small layers as distillation makes them: packed weights and every real number in 16 bits."""
    rng = np.random.default_rng(bits)
    x = rng.normal(0, 1, (64, 9)).astype(np.float32)
    stack: list[layers.Layer] = []
    for width in (21, 3):
        layer = random_linear(
            x, "static", rng, outputs=width, bits=(bits, 8), per_channel=per_channel, per_dimension=not stack
        )
        assert isinstance(layer, layers.QuantizedDense)
        assert isinstance(layer.input, layers.StaticRange)
        assert layer.bias is not None
        weight = dataclasses.replace(layer.weight, scale=layer.weight.scale.astype(np.float16))
        inverse = layer.input.inverse_scale.astype(np.float16)
        range_ = dataclasses.replace(layer.input, inverse_scale=inverse)
        for one in (layers.QuantizedDense(weight, layer.bias.astype(np.float16), range_), activation):
            stack.append(one)
            x = reference.apply(one, x)
    stack[-1] = layers.SquashAction()
    infinite, one = np.array(np.inf), np.array(1.0)
    space = spaces.Box((9,), np.array(-np.inf), infinite)
    return export(Policy(space, spaces.Box((3,), np.array(-1.0), one), tuple(stack)), "c", folder / "student")


CURVES: tuple[layers.Activation, ...] = (layers.Silu(), RELU, layers.Tanh())


@pytest.mark.embedded
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(("place", "name"), list(enumerate(("cortex-m0plus", "cortex-m4", "riscv32"))))
def test_students_do_what_the_reference_does_in_integers(place: int, name: str, bits: int, tmp_path: Path) -> None:
    """Every activation on every processor and with every number of bits."""
    activation = CURVES[(place + bits) % 3]
    chosen = target.target_named(name)
    needs(chosen)
    artifact = student_of(bits, activation, tmp_path, per_channel=bits % 2 == 1)
    kind = "dense" if bits == 8 else "packed"
    text = (artifact.folder / "student.c").read_text()
    is_masked = bits == 2  # half of the codes of two bits are zeros, which a mask leaves out
    if not is_masked:
        assert f"{kind}_to_{'codes' if activation is RELU else 'table'}(layer0_weight" in text
    found = target.count(artifact, chosen)
    assert found.passes_selftest
    assert found.stack_bytes <= stack_said(artifact.folder / "student.h")[name == "cortex-m4"]
    assert is_masked or found.instructions < (8000 if name == "cortex-m4" else 25000)


@pytest.mark.embedded
@pytest.mark.parametrize("recipe", ["", "quantize()"])
def test_a_memory_is_kept_within_the_stack_that_is_said(recipe: str, tmp_path: Path) -> None:
    chosen = target.target_named("riscv32")
    needs(chosen)
    policy = every_memory()["gru resets first"]
    artifact = export(compress(policy, recipe), "c", tmp_path / "a")
    counts = target.count(artifact, chosen)
    assert counts.passes_selftest
    assert counts.stack_bytes <= stack_said(tmp_path / "a" / "a.h")[0]


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
