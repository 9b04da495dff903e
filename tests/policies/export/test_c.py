"""The C format against the reference: compilers and sanitizers are the judges."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.compiled import compiled
from tests.strategies import Form, policies, random_linear

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import c, c_kernels
from lilliput.policies.export.c_text import real
from lilliput.policies.export.golden import golden_examples
from lilliput.policies.policy import Policy

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-Wfloat-conversion", "-pedantic", "-ffp-contract=off"]
SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
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
    built = shutil.which(compiler) and subprocess.run(
        [compiler, *SANITIZERS, "main.c"], cwd=folder, capture_output=True
    )
    return bool(built) and built.returncode == 0


INTEGERS = "-DLILLIPUT_INTEGERS=1"
# A compiler takes as long for each as a test may; the quick suite has the portable code and this processor's own.
AVX2 = pytest.param(["-O3", "-march=haswell"], marks=pytest.mark.slow)
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


def test_two_policies_choose_integers_for_themselves(tmp_path: Path) -> None:
    """One has a table so large that a float unit does without; the other's working memory is its own all the same."""
    x = np.zeros((1, 9), np.float32)
    chosen = []
    for name, activation in (("curved", layers.Tanh()), ("straight", layers.Relu())):
        rng, met = np.random.default_rng(0), np.random.default_rng(1).normal(0, 1, (64, 9)).astype(np.float32)
        first = random_linear(met, "static", rng, outputs=6, per_dimension=False)
        met = reference.apply(activation, reference.apply(first, met))
        last = random_linear(met, "static", rng, outputs=2, per_dimension=False)
        ends = np.full(9, np.inf)
        policy = Policy(spaces.Box((9,), -ends, ends), spaces.Box((2,), -ends[:2], ends[:2]), (first, activation, last))
        c.write(policy, tmp_path, x, reference.act(policy, x), 1e-3, name=name)
    for included in (["straight"], ["curved", "straight"]):
        text = "".join(f'#include "{name}.h"\n' for name in included)
        (tmp_path / "main.c").write_text(f"#include <stdio.h>\n{text}int main(void) {{ return STRAIGHT_INTEGERS; }}\n")
        command = ["gcc", "-U__SSE2__", "-D__ARM_FP=4", "main.c", "-o", "main"]  # as a Cortex-M4 sees the headers
        subprocess.run(command, cwd=tmp_path, check=True)
        chosen.append(subprocess.run(["./main"], cwd=tmp_path).returncode)
    assert "|| defined(__ARM_FP)" in (tmp_path / "curved.h").read_text()
    assert chosen == [1, 1]


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
    policy = quantized_mlp(form, 0, bits, (70, 37, 130, 5), sparsity)
    observations = np.random.default_rng(1).normal(0, 2, (64, 70)).astype(np.float32)
    c.write(policy, tmp_path, observations, reference.act(policy, observations), 0.0)
    if "-march=haswell" in flags and not runs_here(tmp_path, flags):
        pytest.skip("this processor has no AVX2")
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
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("outputs", "kernel"), [((32, 64), 4), ((48, 16), 2), ((40, 5), 3)])
def test_convolutions_of_codes_are_exact_to_the_bit(
    outputs: tuple[int, int], kernel: int, dtype: str, form: Form, compiler: str, flags: list[str], tmp_path: Path
) -> None:
    policy = image_policy(form, outputs, kernel, dtype)
    observations = np.random.default_rng(1).integers(0, 256, (8, 4, 21, 19)).astype(dtype)
    c.write(policy, tmp_path, observations, reference.act(policy, observations), 0.0)
    assert "largest difference 0," in built_and_run(tmp_path, compiler, *flags, "-DLILLIPUT_INTEGERS=0")
    in_words = (tmp_path / "policy.c").read_text()
    assert ("look_up_image(" in in_words) == (form == "static" and dtype == "uint8")


def runs_here(folder: Path, flags: list[str]) -> bool:
    (folder / "runs.c").write_text('int main(void) { return !__builtin_cpu_supports("avx2"); }\n')
    built = subprocess.run(["gcc", *flags, "runs.c", "-o", "runs"], cwd=folder, capture_output=True)
    return built.returncode == 0 and subprocess.run(["./runs"], cwd=folder).returncode == 0


@pytest.mark.parametrize("flags", [["-O2"], AVX2, ["-O3", "-march=native"]])
@pytest.mark.parametrize(
    ("form", "bits"), [("float32", 8), ("float16", 8), ("weight_only", 8), ("weight_only", 4), ("weight_only", 3)]
)
def test_decoded_weights_decide_as_the_reference(form: Form, bits: int, flags: list[str], tmp_path: Path) -> None:
    observations = np.random.default_rng(1).normal(0, 2, (16, 70)).astype(np.float32)
    for sparsity in (0.0, 0.6, 0.97, 1.0):
        policy = quantized_mlp(form, 0, (bits, 8), (70, 37, 131, 5), sparsity)
        actions = reference.act(policy, observations)
        c.write(policy, tmp_path, observations, actions, 2e-5 * float(np.abs(actions).max()))
        if "-march=haswell" in flags and not runs_here(tmp_path, flags):
            pytest.skip("this processor has no AVX2")
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


def test_two_policies_live_in_one_program(tmp_path: Path) -> None:
    main = '#include "one/one.h"\n#include "two/two.h"\n'
    main += "int main(void) { float x[9] = {0}, y[9]; one_act(x, y); two_act(x, y); return 0; }\n"
    for seed, name in enumerate(("one", "two")):
        policy = quantized_mlp("static", seed, (8, 8), (9, 8, 3))
        x = np.zeros((1, 9), np.float32)
        (tmp_path / name).mkdir()
        c.write(policy, tmp_path / name, x, reference.act(policy, x), 0.0, name=name)
    (tmp_path / "main.c").write_text(main)
    command = ["gcc", "-std=c99", *WARNINGS, "main.c", "one/one.c", "two/two.c", "-lm", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_two_artifacts_and_both_of_their_selftests_live_in_one_program(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    for seed, name in enumerate(("one", "two")):
        policy = quantized_mlp("float32", seed, (8, 8), (9, 8, 3 + seed))
        x = np.ones((1, 9), np.float32)
        (tmp_path / name).mkdir()
        c.write(policy, tmp_path / name, x, reference.act(policy, x), 1e-4, name=name)
    includes = '#include "one/one.h"\n#include "two/two.h"\n'
    (tmp_path / "main.c").write_text(f"{includes}int main(void) {{ return one_selftest() + 2 * two_selftest(); }}\n")
    sources = [f"{name}/{name}{end}.c" for name in ("one", "two") for end in ("", "_selftest")]
    command = [compiler, *WARNINGS, "main.c", *sources, "-lm", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run(["./main"], cwd=tmp_path).returncode == 0
    # What the folder's own Makefile builds is a program.
    said = subprocess.run(["make", "test"], cwd=tmp_path / "two", check=True, capture_output=True, text=True).stdout
    assert "passed" in said


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_each_caller_of_two_archives_gets_its_own_policy(order: tuple[str, str], tmp_path: Path) -> None:
    """As Arduino and PlatformIO link libraries: of two symbols of one name the linker would take the first."""
    for seed, name in enumerate(("one", "two")):
        policy = quantized_mlp("float32", seed, (8, 8), (9, 8, 3 + seed))
        x = np.ones((1, 9), np.float32)
        folder = tmp_path / name
        folder.mkdir()
        c.write(policy, folder, x, reference.act(policy, x), 1e-4, name=name)
        for source in (f"{name}.c", f"{name}_selftest.c"):
            command = ["gcc", "-std=c99", *WARNINGS, "-DARDUINO=10800", "-Wno-pedantic", "-c", source]
            subprocess.run(command, cwd=folder, check=True)
        subprocess.run(["ar", "rcs", f"../lib{name}.a", f"{name}.o", f"{name}_selftest.o"], cwd=folder, check=True)
        caller = f'#include "{name}/{name}.h"\nint call_{name}(void); int call_{name}(void)'
        (tmp_path / f"call_{name}.c").write_text(f"{caller} {{ return {name}_selftest(); }}\n")
    main = "int call_one(void); int call_two(void);\nint main(void) { return call_one() + 2 * call_two(); }\n"
    (tmp_path / "main.c").write_text(main)
    libraries = [f"-l{name}" for name in order]
    command = ["gcc", "-std=c99", "main.c", "call_one.c", "call_two.c", "-L.", *libraries, "-lm", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run(["./main"], cwd=tmp_path).returncode == 0


def test_sums_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    policy = quantized_mlp("static", 0, (8, 8), (66_000, 1))
    with pytest.raises(LilliputError, match="do not fit 32 bits"):
        c.write(policy, tmp_path, np.zeros((1, 66_000)), np.zeros((1, 1)), 0.0)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_literals_read_back_as_the_same_float(value: float) -> None:
    text = real(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


def test_functions_that_c_libraries_compute_in_different_ways_are_our_own() -> None:
    """newlib's and picolibc's `expf` is not glibc's; fused multiply-add, roots and rounding are exact everywhere."""
    library = r"\b((?:exp|expm1|log|log1p|pow|tanh|sinh|cosh|sin|cos|tan|atan|erf|fma|sqrt|rint|round|floor|ceil)f?)\("
    code = "".join(re.sub(r"/\*.*?\*/", "", c_kernels.bundle([name]), flags=re.DOTALL) for name in c_kernels.names())
    assert set(re.findall(library, code)) == {
        "fmaf",
        "sqrtf",
        "rintf",
        "erff",
    }  # erff: GELU, whose self-test allows for it


@pytest.mark.parametrize("name", sorted(c_kernels.names()))
def test_each_kernel_compiles_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "kernel.c").write_text(c_kernels.bundle([name]) + "int unused;\n")
    for flags in (["-O2"], ["-O2", "-march=native"]):
        done = compiled(["gcc", "-std=c99", *WARNINGS, *flags, "-c", "kernel.c", "-o", "kernel.o"], tmp_path)
        assert done.returncode == 0, done.stderr


def every_float(step: int) -> np.ndarray:
    return np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def applied(kernel: str, x: np.ndarray, folder: Path, extra: str = "", flags: tuple[str, ...] = ()) -> np.ndarray:
    text = c_kernels.bundle([kernel])
    text += f"#include <stdio.h>\nint main(void) {{ static float x[{x.size}];\n"
    text += f"if (fread(x, 4, {x.size}, stdin) != {x.size}) return 1;\n{kernel}(x, {x.size}{extra});\n"
    text += f"return fwrite(x, 4, {x.size}, stdout) != {x.size}; }}\n"
    (folder / "apply.c").write_text(text)
    compiled(["gcc", "-std=c99", "-O2", *flags, "apply.c", "-lm", "-o", "apply"], folder).check_returncode()
    done = subprocess.run(["./apply"], cwd=folder, input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


@pytest.mark.parametrize("flags", [(), ("-O3", "-march=native")], ids=["portable", "native"])
@pytest.mark.parametrize(
    ("kernel", "extra", "exact", "bound"),
    [
        ("tanh_all", "", np.tanh, 3e-7),
        ("sigmoid", "", lambda x: 0.5 + 0.5 * np.tanh(x / 2), 3e-7),
        ("elu", ", 1.0f", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 3e-7),
    ],
)
def test_nonlinear_functions_keep_their_bound_over_all_floats(
    kernel: str, extra: str, exact, bound: float, flags: tuple[str, ...], tmp_path: Path
) -> None:
    x = every_float(1021)
    y = applied(kernel, x, tmp_path, extra, flags)
    real_x = x[~np.isnan(x)].astype(np.float64)
    with np.errstate(all="ignore"):
        wanted = exact(real_x)
    found = y[~np.isnan(x)].astype(np.float64)
    equal = found == wanted
    assert np.abs(found - wanted)[~equal].max() <= bound
    assert np.isnan(y[np.isnan(x)]).all()


@pytest.mark.embedded
@pytest.mark.parametrize("compiler", ["gcc", "g++"])
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_a_microcontroller_library_compiles_cleanly(compiler: str, level: str, tmp_path: Path) -> None:
    policy = quantized_mlp("static", 0, (8, 8), (9, 37, 18, 5))
    x = np.zeros((1, 9), np.float32)
    c.write(policy, tmp_path, x, reference.act(policy, x), 0.0)
    language = ["-x", "c++", "-std=c++11"] if compiler == "g++" else ["-std=c99"]
    for cpu in ("cortex-m0plus", "cortex-m4", "cortex-m33"):
        for source in ("policy.c", "policy_selftest.c"):
            command = [f"arm-none-eabi-{compiler}", *language, "-mthumb", f"-mcpu={cpu}", level, *WARNINGS]
            done = compiled([*command, "-DARDUINO=10800", "-Wno-pedantic", "-c", source, "-o", "object.o"], tmp_path)
            assert done.returncode == 0, done.stderr[:2000]


def test_the_header_says_every_bound_of_the_action(tmp_path: Path) -> None:
    policy = quantized_mlp("float32", 0, (8, 8), (9, 8, 32))
    low = -np.arange(1.0, 33.0)
    bounded = Policy(policy.observation_space, spaces.Box((32,), low, -2 * low), policy.layers)
    x = np.zeros((1, 9), np.float32)
    c.write(bounded, tmp_path, x, reference.act(bounded, x), 0.0)
    header = (tmp_path / "policy.h").read_text()
    assert f"Box([{', '.join(f'{one:g}' for one in low)}], [{', '.join(f'{-2 * one:g}' for one in low)}]" in header


def test_an_artifact_is_an_arduino_and_a_platformio_library(tmp_path: Path) -> None:
    policy = quantized_mlp("static", 0, (8, 8), (9, 8, 3))
    x = np.zeros((1, 9), np.float32)
    c.write(policy, tmp_path, x, reference.act(policy, x), 0.0, name="walker")
    lines = (tmp_path / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert {
        "name",
        "version",
        "author",
        "maintainer",
        "sentence",
        "paragraph",
        "category",
        "url",
        "architectures",
    } <= set(properties)
    assert properties["name"] == "Lilliput_walker"
    about = json.loads((tmp_path / "library.json").read_text())
    assert (tmp_path / about["headers"]).is_file()
    assert about["build"]["srcFilter"] == ["-<*>", "+<walker.c>", "+<walker_selftest.c>"]
