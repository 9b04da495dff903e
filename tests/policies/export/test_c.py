"""The C format against the reference: compilers and sanitizers are the judges."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.compiled import compiled, vector_sets
from tests.strategies import Form, policies, random_linear

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import c
from lilliput.policies.export.c_text import real
from lilliput.policies.export.golden import golden_examples
from lilliput.policies.policy import Policy

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-Wfloat-conversion", "-pedantic", "-ffp-contract=off"]
# Unoptimized: nothing is folded away before it is looked at, and of vectors it takes a third of the time to compile.
SANITIZERS = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
ANY = settings(
    deadline=None, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
)


def built_and_run(folder: Path, compiler: str, *flags: str) -> str:
    language = ["-x", "c++", "-std=c++11"] if compiler.endswith("++") else ["-std=c99"]
    sources = ["-DPOLICY_SELFTEST_MAIN", "policy.c", "policy_selftest.c"]
    command = [compiler, *language, *WARNINGS, *flags, *sources, "-lm", "-o", "selftest"]
    built = compiled(command, folder)
    assert built.returncode == 0, built.stderr[:3000]
    run = subprocess.run(["./selftest"], cwd=folder, capture_output=True, text=True)
    assert not run.stderr, run.stderr[:3000]
    assert run.returncode == 0, run.stdout
    return run.stdout


def check(policy: Policy, folder: Path, compiler: str, *flags: str) -> None:
    try:
        golden = golden_examples(policy)
    except LilliputError:
        assume(False)
        raise
    c.write(policy, folder, golden.observations, golden.actions, golden.tolerance)
    assert "passed" in built_and_run(folder, compiler, *flags)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++", "clang++"])
def test_every_kind_of_policy_compiles_cleanly_and_does_what_the_reference_does(
    compiler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(parent=ANY, max_examples=10)
    @given(policies())
    def run(policy: Policy) -> None:
        check(policy, tmp_path_factory.mktemp("c"), compiler, "-O2")

    run()


def links_sanitizers(compiler: str, folder: Path) -> bool:
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    command = [compiler, *SANITIZERS, "main.c", "-o", "main"]
    return bool(shutil.which(compiler)) and not compiled(command, folder).returncode


INTEGERS = "-DLILLIPUT_INTEGERS=1"
# A compiler takes as long for each as a test may; the quick suite has the portable code and this processor's own.
AVX2_FLAG = "-march=haswell"
AVX2 = pytest.param(["-O3", AVX2_FLAG], marks=pytest.mark.slow)
NATIVE_CXX = pytest.param("g++", ["-O3", "-march=native"], marks=pytest.mark.slow)


@pytest.mark.parametrize("compiler", ["gcc", "clang++"])
def test_integers_between_the_layers_do_what_the_reference_does(
    compiler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(parent=ANY, max_examples=12)
    @given(policies(networks=("mlp",), forms=("static",), min_bits=3, max_width=40))
    def run(policy: Policy) -> None:
        check(policy, tmp_path_factory.mktemp("c"), compiler, "-O2", INTEGERS)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [[], ["-march=native"], [INTEGERS]], ids=["portable", "native", "integers"])
def test_sanitizers_find_nothing(compiler: str, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    if not links_sanitizers(compiler, tmp_path_factory.mktemp("link")):
        pytest.skip(f"{compiler} has no sanitizers here (Debian: libclang-rt-14-dev beside clang)")

    @settings(parent=ANY, max_examples=15)
    @given(policies(max_width=40))
    def run(policy: Policy) -> None:
        check(policy, tmp_path_factory.mktemp("c"), compiler, *SANITIZERS, *flags)

    run()


def quantized_mlp(
    form: Form, seed: int, bits: tuple[int, int], widths: tuple[int, ...], sparsity: float = 0.0
) -> Policy:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (64, widths[0])).astype(np.float32)
    stack: list[layers.Layer] = []
    for width in widths[1:]:
        for layer in (random_linear(x, form, rng, outputs=width, bits=bits, sparsity=sparsity), layers.Relu()):
            stack.append(layer)
            x = reference.apply(layer, x)
    low, high = np.array(-np.inf), np.array(np.inf)
    return Policy(spaces.Box((widths[0],), low, high), spaces.Box((widths[-1],), low, high), tuple(stack[:-1]))


@pytest.mark.parametrize("flags", [["-O2"], ["-O3", "-march=skylake-avx512"]], ids=" ".join)
@pytest.mark.parametrize(
    ("form", "widths", "sparsity"), [("static", (11, 40, 40, 3), 0.95), ("weight_only", (40, 3), 0.95)]
)
def test_where_hardly_a_weight_is_left_no_compiler_sees_reads_beyond_them(
    form: Form, widths: tuple[int, ...], sparsity: float, flags: list[str], tmp_path: Path
) -> None:
    """gcc warned of branches that these policies do not take: of values without a mask, and of four at once."""
    policy = quantized_mlp(form, 0, (8, 8), widths, sparsity)
    x = np.zeros((1, widths[0]), np.float32)
    c.write(policy, tmp_path, x, reference.act(policy, x), 0.0)
    built = subprocess.run(
        ["gcc", "-std=c99", *WARNINGS, *flags, "-c", "policy.c"], cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr[:3000]


@pytest.mark.parametrize("flags", [["-O2"], AVX2, ["-O3", "-march=native"]], ids=["portable", "avx2", "native"])
@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("bits", "sparsity"),
    [((8, 8), 0.0), ((4, 8), 0.0), ((3, 5), 0.0), ((8, 8), 0.7), ((8, 8), 0.95), ((8, 8), 1.0), ((5, 8), 0.8)],
)
def test_integer_arithmetic_is_exact_to_the_bit(
    form: Form, bits: tuple[int, int], sparsity: float, flags: list[str], tmp_path: Path
) -> None:
    skip_avx2_where_it_is_not_or_native(flags, tmp_path)
    policy = quantized_mlp(form, 0, bits, (37, 134, 5), sparsity)
    observations = np.random.default_rng(1).normal(0, 2, (64, 37)).astype(np.float32)
    c.write(policy, tmp_path, observations, reference.act(policy, observations), 0.0)
    assert "largest difference 0," in built_and_run(tmp_path, "gcc", *flags)


def image_policy(form: Form, outputs: tuple[int, int], kernel: int, space_dtype: str) -> Policy:
    rng = np.random.default_rng(0)
    space = spaces.Box((4, 21, 19), np.array(0.0), np.array(255.0), space_dtype)
    one = [np.array(value, np.float32) for value in (3.0, 1 / 255, 0.8)]
    stack: list[layers.Layer] = [layers.Standardize(*one)]
    x = reference.apply(stack[0], rng.integers(0, 256, (8, *space.shape)).astype(np.float32))
    for width, stride in zip(outputs, ((2, 1), (1, 2)), strict=True):
        convolution = random_linear(x, form, rng, outputs=width, bits=(8, 8), kernel=kernel, stride=stride)
        for layer in (convolution, layers.Relu()):
            stack.append(layer)
            x = reference.apply(layer, x)
    stack.append(layers.Flatten())
    x = reference.apply(stack[-1], x)
    stack.append(random_linear(x, form, rng, outputs=3, bits=(8, 8)))
    return Policy(space, spaces.Box((3,), np.array(-np.inf), np.array(np.inf)), tuple(stack))


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", ["-O2"]), ("gcc", ["-O3", "-march=native"]), NATIVE_CXX],
    ids=["portable", "native", "native C++"],
)
@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("outputs", "kernel", "dtype"),
    [((32, 64), 4, "uint8"), ((48, 16), 2, "float32"), ((40, 5), 3, "uint8")],
)
def test_convolutions_of_codes_are_exact_to_the_bit(
    outputs: tuple[int, int], kernel: int, dtype: str, form: Form, compiler: str, flags: list[str], tmp_path: Path
) -> None:
    policy = image_policy(form, outputs, kernel, dtype)
    observations = np.random.default_rng(1).integers(0, 256, (8, 4, 21, 19)).astype(dtype)
    c.write(policy, tmp_path, observations, reference.act(policy, observations), 0.0)
    assert "largest difference 0," in built_and_run(tmp_path, compiler, *flags, "-DLILLIPUT_INTEGERS=0")
    in_words = (tmp_path / "policy.c").read_text()
    assert ("look_up_image(" in in_words) == (form == "static" and dtype == "uint8")


def skip_avx2_where_it_is_not_or_native(flags: Sequence[str], folder: Path) -> None:
    if AVX2_FLAG not in flags:
        return
    (folder / "runs.c").write_text('int main(void) { return !__builtin_cpu_supports("avx2"); }\n')
    compiled(["gcc", "runs.c", "-o", "runs"], folder).check_returncode()
    if subprocess.run(["./runs"], cwd=folder).returncode:
        pytest.skip("this processor has no AVX2")
    if vector_sets("gcc", AVX2_FLAG) == vector_sets("gcc", "-march=native"):
        pytest.skip("this processor's own vector instructions are AVX2: what is compiled for it is this")


@pytest.mark.parametrize("flags", [["-O2"], AVX2, ["-O3", "-march=native"]])
@pytest.mark.parametrize(
    ("form", "bits"), [("float32", 8), ("float16", 8), ("weight_only", 8), ("weight_only", 4), ("weight_only", 3)]
)
def test_decoded_weights_decide_as_the_reference(form: Form, bits: int, flags: list[str], tmp_path: Path) -> None:
    skip_avx2_where_it_is_not_or_native(flags, tmp_path)
    observations = np.random.default_rng(1).normal(0, 2, (16, 37)).astype(np.float32)
    for sparsity in (0.0, 0.6, 0.97, 1.0):
        policy = quantized_mlp(form, 0, (bits, 8), (37, 131, 5), sparsity)
        actions = reference.act(policy, observations)
        c.write(policy, tmp_path, observations, actions, 2e-5 * float(np.abs(actions).max()))
        assert "passed" in built_and_run(tmp_path, "gcc", *flags)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", ["-O2"]), ("gcc", ["-O3", "-march=native"]), NATIVE_CXX],
    ids=["portable", "native", "native C++"],
)
def test_a_last_block_of_any_height_decides_as_the_reference(compiler: str, flags: list[str], tmp_path: Path) -> None:
    policy = quantized_mlp("float32", 0, (8, 8), (77, *range(65, 80)))
    observations = np.random.default_rng(1).normal(0, 2, (16, 77)).astype(np.float32)
    actions = reference.act(policy, observations)
    c.write(policy, tmp_path, observations, actions, 2e-5 * float(np.abs(actions).max()))
    assert "passed" in built_and_run(tmp_path, compiler, *flags)


@pytest.mark.parametrize(
    ("kept", "n_bytes"),
    [([3], 1), ([9], 1), ([300], 2), (range(0, 24, 3), 3), ([0, 7, 8, 15, 16], 3), (range(0, 400, 5), 50)],
    ids=["one in a byte", "listed in a byte", "listed in two", "mask", "ends of bytes", "long mask"],
)
@pytest.mark.parametrize("flags", [["-O3", "-march=native"], SANITIZERS], ids=["native", "sanitizers"])
def test_selected_inputs_are_listed_or_masked_whatever_is_less(
    kept: Sequence[int], n_bytes: int, flags: list[str], tmp_path: Path
) -> None:
    if flags is SANITIZERS and not links_sanitizers("gcc", tmp_path):
        pytest.skip("gcc has no sanitizers here")
    indices = np.array(kept, np.uint16)
    box = spaces.Box((401,), np.full(401, -np.inf), np.full(401, np.inf))
    action = spaces.Box((1,), np.full(1, -np.inf), np.full(1, np.inf))
    weight = np.arange(1, len(indices) + 1, dtype=np.float32)[None]
    policy = Policy(box, action, (layers.SelectInputs(indices), layers.Dense(weight, None)))
    assert policy.model_bytes == n_bytes + weight.nbytes
    observations = np.random.default_rng(0).normal(0, 1, (8, 401)).astype(np.float32)
    actions = observations[:, indices] @ weight.T
    c.write(policy, tmp_path, observations, actions, 1e-4 * float(np.abs(weight).sum()))
    assert "passed" in built_and_run(tmp_path, "gcc", *flags)


def constant_bytes(folder: Path) -> int:
    # Unoptimized, so that no array of one number is folded into the code.
    compiled(["gcc", "-std=c99", "-O0", "-c", "policy.c", "-o", "policy.o"], folder).check_returncode()
    symbols = subprocess.run(["nm", "-S", "policy.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return sum(int(line.split()[1], 16) for line in symbols.splitlines() if line.split()[-2] in ("r", "R"))


def test_the_compiled_constants_are_model_bytes_and_nothing_else_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if not shutil.which("gcc") or not shutil.which("nm"):
        pytest.skip("gcc and nm are not installed")

    @settings(parent=ANY, max_examples=15)
    @given(policies())
    def run(policy: Policy) -> None:
        folder = tmp_path_factory.mktemp("c")
        x = np.zeros((1, *spaces.input_shape(policy.observation_space)), np.float32)
        c.write(policy, folder, x, reference.act(policy, x), 1.0)
        assert constant_bytes(folder) == policy.model_bytes
        sizes = subprocess.run(["size", "-A", "policy.o"], cwd=folder, check=True, capture_output=True, text=True)
        found = {line.split()[0]: int(line.split()[1]) for line in sizes.stdout.splitlines() if line.startswith(".")}
        assert found[".data"] == found[".bss"] == 0

    run()


def test_sums_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    policy = quantized_mlp("static", 0, (8, 8), (66_000, 1))
    with pytest.raises(LilliputError, match="do not fit 32 bits"):
        c.write(policy, tmp_path, np.zeros((1, 66_000)), np.zeros((1, 1)), 0.0)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_literals_read_back_as_the_same_float(value: float) -> None:
    text = real(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()
