"""C between integers: what it decides is what the reference decides on the same numbers, within what is stated."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.policies.bright import bright
from tests.policies.export.test_avr import stack_said
from tests.policies.export.test_c import quantized_mlp
from tests.policies.recurrent import every_memory

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.measure import target
from lilliput.policies import affine, file, layers, reference, spaces
from lilliput.policies.artifact import MANIFEST, read_artifact
from lilliput.policies.export import c, export, fixed, open_artifact
from lilliput.policies.export.golden import golden_integers
from lilliput.policies.fixed_point import FixedPoint, Observation
from lilliput.policies.policy import Policy

FLAGS = (
    "-std=c99",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-fsanitize=undefined",
    "-fno-sanitize-recover",
)
FAR = np.array([100, 100, 1, 1, 1, 1, 1, 100.0])
EIGHT = np.array([1.5, 1.5, 5, 5, 3.14, 5, 1, 1])


def endless(n: int) -> spaces.Box:
    return spaces.Box((n,), np.array(-np.inf), np.array(np.inf))


def linear(rows: int, bits: int, *head: layers.Layer, seed: int = 0, per_channel: bool = False) -> Policy:
    """A student of one layer whose weights alone are quantized, as for LunarLander."""
    rng = np.random.default_rng(seed)
    low, high = affine.signed_range(bits)
    scale = np.array(rng.uniform(0.02, 0.5, rows) if per_channel else 0.4, np.float16)
    weight = affine.QuantizedTensor(rng.integers(low, high + 1, (rows, 8)).astype(np.int8), scale, bits)
    layer = layers.QuantizedDense(weight, rng.normal(0, 0.5, rows).astype(np.float16), None)
    is_choice = isinstance(head[-1], layers.ArgmaxAction)
    action = spaces.Discrete(rows) if is_choice else spaces.Box((rows,), np.array(-1.0), np.array(1.0))
    if is_choice and len(head[-1].sizes) > 1:  # type: ignore[union-attr]
        action = spaces.MultiDiscrete(head[-1].sizes)  # type: ignore[union-attr]
    return Policy(spaces.Box((8,), -EIGHT, EIGHT), action, (layer, *head))


def deep(
    widths: tuple[int, ...], bits: int, between: layers.Activation, *head: layers.Layer, first: str = "static"
) -> Policy:
    """A network that is calibrated on what comes in, its hidden layers by one range each."""
    rng = np.random.default_rng(len(widths) + bits)
    x = rng.normal(0, 1, (256, widths[0])).astype(np.float32) * np.float32(2)
    stack: list[layers.Layer] = []
    for at, width in enumerate(widths[1:]):
        weight = rng.normal(0, 1.3 / np.sqrt(x.shape[1]), (width, x.shape[1])).astype(np.float32)
        bias = rng.normal(0, 0.2, width).astype(np.float32)
        top = affine.signed_range(bits)[1]
        if at == 0 and first == "weights":
            tensor = affine.quantize_weights(weight, np.array(np.abs(weight).max() / top, np.float32), bits)
            stack.append(layers.QuantizedDense(tensor, bias, None))
        else:
            low, high = (
                np.minimum(x.min(axis=0 if at == 0 else None), 0),
                np.maximum(x.max(axis=0 if at == 0 else None), 0),
            )
            inverse = np.asarray(254 / (high - low), np.float32)  # tanh at its ends lies on no tie
            zero = np.asarray(np.rint(-low * inverse), np.int32)
            scaled = weight / inverse
            tensor = affine.quantize_weights(scaled, np.array(np.abs(scaled).max() / top, np.float32), bits)
            less = (tensor.dequantize() * np.broadcast_to(zero, x.shape[1])).sum(axis=1)
            stack.append(
                layers.QuantizedDense(tensor, (bias - less).astype(np.float32), layers.StaticRange(inverse, zero))
            )
        x = reference.apply(stack[-1], x)
        if at < len(widths) - 2:
            stack.append(between)
            x = reference.apply(between, x)
    is_choice = bool(head) and isinstance(head[-1], layers.ArgmaxAction)
    action = spaces.Discrete(widths[-1]) if is_choice else spaces.Box((widths[-1],), np.array(-1.0), np.array(1.0))
    seen = spaces.Box((widths[0],), np.array(-10.0), np.array(10.0)) if first == "weights" else endless(widths[0])
    return Policy(seen, action, (*stack, *head))


def clip(low: float = -1.0, high: float = 1.0) -> layers.ClipAction:
    return layers.ClipAction(np.array(low, np.float32), np.array(high, np.float32))


SQUASHED = layers.SquashAction(), layers.RescaleAction(np.array([2, 0.5], np.float32), np.array([0, 0.25], np.float32))
SCALE, MEAN = np.linspace(0.5, 2, 11).astype(np.float32), np.linspace(-1, 1, 11).astype(np.float32)


def normalized() -> Policy:
    """Behind a normalizer that clips, and with some of the inputs."""
    policy = deep((11, 12, 2), 6, layers.Tanh(), clip())
    chosen = layers.SelectInputs(np.arange(3, 14).astype(np.uint16))
    normalizer = layers.Standardize(MEAN, SCALE, np.array(2.0, np.float32))
    first = policy.layers[0]
    assert isinstance(first, layers.QuantizedDense)
    one = layers.StaticRange(np.array(60.0, np.float32), np.array(128, np.int32))
    stack = (chosen, normalizer, dataclasses.replace(first, input=one), *policy.layers[1:])
    return Policy(endless(16), policy.action_space, stack)


POLICIES = {
    "a choice": linear(4, 4, layers.ArgmaxAction((4,))),
    "two choices": linear(5, 3, layers.ArgmaxAction((2, 3))),
    "a choice, a scale each": linear(4, 5, layers.ArgmaxAction((4,)), per_channel=True),
    "clipped": linear(2, 4, clip()),
    "clipped apart": linear(
        2, 8, layers.ClipAction(np.array([-1, -0.5], np.float32), np.array([1, 0.7], np.float32)), per_channel=True
    ),
    "of far ranges": dataclasses.replace(linear(2, 6, clip()), observation_space=spaces.Box((8,), -FAR, FAR)),
    "squashed": linear(2, 6, *SQUASHED),
    "silu of numbers": deep((3, 2, 2), 4, layers.Silu(), *SQUASHED, first="weights"),
    "tanh of numbers": deep((6, 5, 3, 2), 5, layers.Tanh(), clip(), first="weights"),
    "sigmoid": deep((6, 5, 4, 2), 8, layers.Sigmoid(), clip()),
    "relu": deep((6, 7, 5, 2), 8, layers.Relu(), clip()),
    "relu of numbers, wide": deep((17, 40, 20, 3), 6, layers.Relu(), clip(), first="weights"),
    "elu of numbers, wide": deep((12, 40, 3), 8, layers.Elu(1.0), layers.ArgmaxAction((3,)), first="weights"),
    "silu": deep((17, 16, 6), 6, layers.Silu(), clip()),
    "tanh": deep((11, 40, 33, 3), 8, layers.Tanh(), layers.Tanh()),
    "gelu": deep((11, 33, 4), 5, layers.Gelu(), layers.ArgmaxAction((4,))),
    "behind a normalizer": normalized(),
}


def drawn(policy: Policy, units: FixedPoint, n: int) -> np.ndarray:
    """Observations that integers stand for, some of them far out."""
    rng = np.random.default_rng(1)
    size = len(units.fraction_bits)
    x = rng.normal(0, 1, (n, size)) * rng.choice([0.5, 2.0, 20.0], (n, 1))
    x[0], x[1], x[2] = 0, 1e9, -1e9
    return units.reals(units.integers(x)).astype(np.float32)


ALSO_LONG = (
    "a choice",
    "a choice, a scale each",
    "clipped",
    "silu of numbers",
    "relu of numbers, wide",
    "silu",
    "tanh",
)


@pytest.mark.parametrize(
    ("name", "observation"), [*((name, "int16") for name in POLICIES), *((name, "q16.16") for name in ALSO_LONG)]
)
def test_what_integers_decide_is_the_references_within_what_is_said(
    name: str, observation: Observation, tmp_path: Path
) -> None:
    policy = POLICIES[name]
    units = fixed.units(policy, observation)
    golden = golden_integers(policy, units)
    assert len(golden.observations) >= 16
    c.write(policy, tmp_path, golden.observations, golden.actions, golden.tolerance, units=units)
    text = (tmp_path / "policy.c").read_text()
    assert "float" not in text
    assert not re.search(r"\d\.\d", text)
    built = subprocess.run(
        ["gcc", *FLAGS, "-DPOLICY_SELFTEST_MAIN", "policy_selftest.c", "policy.c", "-lm", "-o", "selftest"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[:3000]
    ran = subprocess.run(["./selftest"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("passed"), ran.stdout + ran.stderr[:2000]


@pytest.mark.parametrize(
    ("name", "observation"),
    [("a choice", "int16"), ("squashed", "q16.16"), ("silu", "int16"), ("tanh of numbers", "int16")],
)
def test_on_any_observation_an_artifact_of_integers_is_near_the_reference(
    name: str, observation: Observation, tmp_path: Path
) -> None:
    policy = POLICIES[name]
    artifact = export(policy, "c", tmp_path / "a", observation=observation)
    assert artifact.manifest.units == fixed.units(policy, observation)
    act = open_artifact(artifact.folder)
    assert artifact.manifest.units is not None
    x = drawn(policy, artifact.manifest.units, 2_000)
    found, meant = act.batch(x), reference.act(policy, x)
    np.testing.assert_array_equal(found[7], act(x[7]))
    off = np.abs(found.astype(np.float64) - meant)
    if policy.is_discrete:
        assert not off.any()
        return
    # Where a code is another one, an action is off by what that code weighs.
    assert np.mean(off.max(axis=1) > artifact.manifest.tolerance) < 0.02
    assert off.mean() < artifact.manifest.tolerance / 10
    assert np.isnan(act(np.full(policy.observation_space.shape, np.nan, np.float32))).all()  # type: ignore[union-attr]


def test_tanh_is_as_near_as_its_header_says(tmp_path: Path) -> None:
    from lilliput.policies.export import c_kernels

    (tmp_path / "t.c").write_text(
        c_kernels.bundle(["fixed_tanh"])
        + "void many(int32_t *x, int n) { for (; n--; x++) { *x = fixed_tanh(*x); } }\n"
    )
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "t.c", "-o", "t.so"], cwd=tmp_path, check=True)
    import ctypes

    x = np.arange(-500_000, 500_000, 7).astype(np.int32)
    y = x.copy()
    ctypes.CDLL(str(tmp_path / "t.so")).many(y.ctypes.data_as(ctypes.c_void_p), len(y))
    assert np.abs(y / 65536 - np.tanh(x / 65536)).max() < 3.6e-5


def test_an_int16_counts_as_finely_as_its_range_allows_and_the_header_says_so(tmp_path: Path) -> None:
    units = fixed.units(POLICIES["a choice"], "int16")
    assert units.fraction_bits == (12,) * 8  # one unit for ranges that are close
    far = dataclasses.replace(POLICIES["squashed"], observation_space=spaces.Box((8,), -FAR, FAR))
    assert fixed.units(far, "int16").fraction_bits == (8, 8, 14, 14, 14, 14, 14, 8)
    assert fixed.units(POLICIES["a choice"], "q16.16").fraction_bits == (16,) * 8
    export(far, "c", tmp_path / "a", observation="int16")
    header = (tmp_path / "a" / "a.h").read_text()
    assert "int a_act(const int16_t *observation, int32_t *action);" in header
    assert "     2: 1 / 16384, x is 16384 x" in header
    assert "A number of the action counts in units of 1 / 65536." in header
    assert "NaN" not in header


def test_of_a_space_without_bounds_observations_tell_the_range() -> None:
    policy = POLICIES["clipped"]
    unbounded = dataclasses.replace(policy, observation_space=endless(8))
    with pytest.raises(LilliputError, match=r"nothing tells how large number 0 of the observation becomes"):
        fixed.units(unbounded, "int16")
    seen = np.tile(np.array([[1, 2, 3, 4, 5, 6, 7, 100]], np.float32), (3, 1))
    assert max(fixed.units(unbounded, "int16", seen).integers(1.9 * seen).max(axis=0)) < 32_767
    assert fixed.units(unbounded, "q16.16").fraction_bits == (16,) * 8


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(POLICIES["a choice"], "c", tmp_path_factory.mktemp("fixed") / "a", observation="int16").folder


def refused() -> dict[str, tuple[Policy, str]]:
    static = POLICIES["relu"]
    first = static.layers[0]
    assert isinstance(first, layers.QuantizedDense)
    plain = layers.Dense(first.weight.dequantize(), first.bias)
    dynamic = dataclasses.replace(first, input=layers.DynamicRange())
    norm = layers.LayerNorm(np.ones(7, np.float32), np.zeros(7, np.float32), 1e-5)
    later = dataclasses.replace(static.layers[2], input=None)  # type: ignore[type-var]

    def with_first(*replaced: layers.Layer) -> Policy:
        return dataclasses.replace(static, layers=(*replaced, *static.layers[1:]))

    return {
        "floats": (with_first(plain), r"layer 0, Dense: its weights are real numbers; quantize\(scheme=\"static\"\)"),
        "dynamic": (with_first(dynamic), "layer 0, QuantizedDense: its input is quantized dynamically"),
        "norm": (with_first(first, norm), "layer 1, LayerNorm"),
        "weights alone": (
            dataclasses.replace(static, layers=(*static.layers[:2], later, *static.layers[3:])),
            "layer 2, QuantizedDense: only its weights are quantized",
        ),
        "each input of a hidden layer by itself": (
            quantized_mlp("static", 0, (8, 8), (9, 40, 3)),
            "the next has an input range",
        ),
        "memory": (next(iter(every_memory().values())), "the policy has a memory"),
        "images": (bright(), "an image or bytes"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_integers_cannot_do_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    policy, reason = refused()[name]
    with pytest.raises(LilliputError, match=reason):
        export(policy, "c", tmp_path / "a", observation="int16")
    assert not (tmp_path / "a").exists()


def test_the_command_exports_integers_and_refuses_them_elsewhere(tmp_path: Path) -> None:
    file.write(POLICIES["a choice"], tmp_path / "p.lilliput")
    asked = ["export", str(tmp_path / "p.lilliput"), "--observation", "int16", "-o"]
    run = CliRunner().invoke(cli, [*asked, str(tmp_path / "a")])
    assert run.exit_code == 0, run.output
    assert CliRunner().invoke(cli, ["check", str(tmp_path / "a")]).exit_code == 0
    run = CliRunner().invoke(cli, [*asked, str(tmp_path / "b"), "--format", "onnx"])
    assert run.exit_code == 1
    assert "--observation int16 is of the format c; onnx takes floats" in str(run.exception)


@pytest.mark.parametrize(
    "damage", [{"observation": "int17"}, {"x": 1}, {"fraction_bits": [12] * 7}, {"fraction_bits": [99] * 8}]
)
def test_units_that_an_observation_cannot_have_are_refused(damage: dict[str, object], exported: Path) -> None:
    path = exported / MANIFEST
    manifest = json.loads(path.read_text())
    whole = path.read_text()
    try:
        path.write_text(json.dumps({**manifest, "fixed_point": {**manifest["fixed_point"], **damage}}))
        with pytest.raises(LilliputError):
            read_artifact(exported)
    finally:
        path.write_text(whole)


@pytest.mark.embedded
def test_a_linear_student_takes_two_hundred_bytes_of_flash_in_all(tmp_path: Path) -> None:
    """Of LunarLander's shape, 26 bytes of constants; by floats 2,552 bytes, 6,256 instructions and a stack of 120."""
    chosen = target.target_named("cortex-m0plus")
    for command in (chosen.compiler, chosen.emulator[0]):
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed")
    artifact = export(POLICIES["a choice"], "c", tmp_path / "a", observation="int16")
    found = target.count(artifact, chosen)
    assert found.passes_selftest
    assert found.flash_bytes <= 240
    assert found.instructions <= 400
    assert found.stack_bytes <= 80


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["silu of numbers", "tanh", "silu"])
def test_on_processors_integers_pass_their_selftest_within_the_stack_that_is_said(name: str, tmp_path: Path) -> None:
    artifact = export(POLICIES[name], "c", tmp_path / "a", observation="int16")
    said = stack_said(artifact.folder / "a.h")
    for chosen in (target.TARGETS[one] for one in ("cortex-m0plus", "cortex-m4", "riscv32")):
        if not shutil.which(chosen.compiler) or not shutil.which(chosen.emulator[0]):
            pytest.skip(f"{chosen.compiler} or {chosen.emulator[0]} is not installed")
        found = target.count(artifact, chosen)
        assert found.passes_selftest
        assert found.stack_bytes <= said[0] == said[1] <= found.stack_bytes + 160
