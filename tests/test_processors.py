"""The same artifacts on other processors, run by QEMU or here: the same golden examples, the same decisions."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import commands, compiled
from tests.strategies import Form, random_linear

from lilliput.policies import layers, reference, spaces
from lilliput.policies.artifact import golden_observations, read_artifact
from lilliput.policies.compress import compress
from lilliput.policies.export import export
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

pytestmark = pytest.mark.embedded

C = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-static")
CASES = ("float32", "tanh", "static", "dynamic", "packed", "sparse", "choice", "image")

X86 = {"x86-64": "Nehalem", "x86-64-v2": "Nehalem", "x86-64-v3": "Haswell"}
"""What an emulated processor has to be to run it."""
ARM = ("armv8-a", "armv8.2-a+dotprod", "armv8.2-a+dotprod+i8mm")
CPUINFO = Path("/proc/cpuinfo")
BEYOND_AVX2 = {"avx512f", "avx_vnni", "amx_tile"}


def mlp(form: Form, bits: tuple[int, int], sparsity: float, *, squash: bool) -> Policy:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (64, 70)).astype(np.float32)
    stack: list[layers.Layer] = []
    for width in (37, 130, 5):
        stack += [random_linear(x, form, rng, outputs=width, bits=bits, sparsity=sparsity)]
        stack += [layers.Tanh() if squash else layers.Relu()]
        x = reference.apply(stack[-1], reference.apply(stack[-2], x))
    unbounded = np.array(-np.inf), np.array(np.inf)
    return Policy(spaces.Box((70,), *unbounded), spaces.Box((5,), *unbounded), tuple(stack if squash else stack[:-1]))


def image() -> Policy:
    rng = np.random.default_rng(0)
    space = spaces.Box((4, 21, 19), np.array(0.0), np.array(255.0), "uint8")
    stack: list[layers.Layer] = [layers.Standardize(*(np.array(one, np.float32) for one in (3.0, 1 / 255, 0.8)))]
    x = reference.apply(stack[0], rng.integers(0, 256, (8, *space.shape)).astype(np.float32))
    for width in (16, 8):
        stack += [random_linear(x, "static", rng, outputs=width, bits=(8, 8), kernel=3, stride=(2, 2)), layers.Relu()]
        x = reference.apply(stack[-1], reference.apply(stack[-2], x))
    stack.append(layers.Flatten())
    stack += [random_linear(x.reshape(len(x), -1), "static", rng, outputs=3, bits=(8, 8)), layers.ArgmaxAction((3,))]
    return Policy(space, spaces.Discrete(3), tuple(stack))


def policy_of(case: str, examples: Path) -> Policy:
    match case:
        case "float32":
            return mlp("float32", (8, 8), 0, squash=False)
        case "tanh":
            return mlp("float16", (8, 8), 0, squash=True)
        case "static" | "dynamic":
            return mlp(case, (8, 8), 0, squash=False)
        case "packed":
            return mlp("static", (3, 5), 0, squash=False)
        case "sparse":
            return mlp("dynamic", (5, 8), 0.8, squash=False)
        case "choice":
            return compress(load_policy(examples / "ppo-LunarLander-v3"), "quantize(weight_bits=4)")
        case _:
            return image()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory, example_policies: Path) -> dict[str, Path]:
    """Each case as C, exported here once, for a library that chooses its kernels: a folder for all tests here."""
    made = tmp_path_factory.mktemp("processors")
    return {case: export(policy_of(case, example_policies), "c", made / case, dispatch=True).folder for case in CASES}


@functools.cache
def runs_here(march: str, folder: Path) -> bool:
    probe = folder / "probe.c"
    probe.write_text(f'int main(void) {{ return !__builtin_cpu_supports("{march}"); }}\n')
    built = subprocess.run(["gcc", "-O0", str(probe), "-o", str(probe.with_suffix(""))], capture_output=True)
    return built.returncode == 0 and subprocess.run([str(probe.with_suffix(""))]).returncode == 0


def passes(folder: Path, compiler: str, march: str, runner: list[str], level: str) -> None:
    program = f"selftest-{march}{level}"
    name = folder.name
    sources = [f"{name}.c", f"{name}_selftest.c"]
    main = f"-D{name.upper()}_SELFTEST_MAIN"
    command = [compiler, *C, main, level, f"-march={march}", *sources, "-lm", "-o", program]
    built = compiled(command, folder)
    assert built.returncode == 0, built.stderr[:2000]
    run = subprocess.run([*runner, str(folder / program)], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout


def emulator(*names: str) -> None:
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed; apt install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross")


@pytest.mark.parametrize("march", X86)
@pytest.mark.parametrize("case", CASES)
def test_the_selftest_passes_on_emulated_x86(case: str, march: str, artifacts: dict[str, Path]) -> None:
    emulator("qemu-x86_64", "gcc")
    passes(artifacts[case], "gcc", march, ["qemu-x86_64", "-cpu", X86[march]], "-O3")


@pytest.mark.parametrize("case", CASES)
def test_the_selftest_passes_with_512_bits(case: str, artifacts: dict[str, Path], tmp_path: Path) -> None:
    if not runs_here("x86-64-v4", tmp_path):
        pytest.skip("this processor has no AVX-512, and QEMU does not emulate it")
    passes(artifacts[case], "gcc", "x86-64-v4", [], "-O3")


@pytest.mark.parametrize("march", ARM)
@pytest.mark.parametrize("case", CASES)
def test_the_selftest_passes_on_64_bit_arm(case: str, march: str, artifacts: dict[str, Path]) -> None:
    emulator("aarch64-linux-gnu-gcc", "qemu-aarch64")
    passes(artifacts[case], "aarch64-linux-gnu-gcc", march, ["qemu-aarch64", "-cpu", "max"], "-O2")


CHOSEN = """
#include <stdio.h>
#include "{name}.h"
int main(void)
{{
    static {kind} x[{upper}_OBSERVATION_SIZE];
    {action} y[{upper}_ACTION_SIZE];
    int i;
    if ({name}_selftest() != 0) {{
        return 1;
    }}
    puts({name}_kernel_set());
    while (fread(x, sizeof x, 1, stdin) == 1) {{
        {name}_act(x, y);
        for (i = 0; i < {upper}_ACTION_SIZE; i++) {{
            printf("%a ", (double)y[i]);
        }}
    }}
    return 0;
}}
"""


def library(folder: Path, compiler: str) -> None:
    """Builds the artifact's library by its own Makefile, and a program beside it."""
    name, is_image = folder.name, folder.name == "image"
    kinds = {"kind": "uint8_t" if is_image else "float", "action": "int32_t" if is_image else "float"}
    (folder / "chosen.c").write_text(CHOSEN.format(name=name, upper=name.upper(), **kinds))
    program = [compiler, "chosen.c", f"{name}_selftest.c", f"./lib{name}.so", "-o", "chosen"]
    for command in [*commands(folder, compiler), program]:
        done = compiled(command, folder)
        assert done.returncode == 0, done.stderr[:2000]


def chosen(folder: Path, runner: list[str]) -> list[str]:
    """The kernels that the library chose, which pass the self-test, and the actions for the golden observations."""
    observations = golden_observations(read_artifact(folder))
    asked = observations.astype(np.uint8 if folder.name == "image" else np.float32).tobytes()
    run = subprocess.run([*runner, "./chosen"], cwd=folder, input=asked, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode().split("\n")


@pytest.mark.parametrize("case", ["static", "dynamic", "image"])
def test_a_library_chooses_on_each_x86_and_its_integers_decide_alike(case: str, artifacts: dict[str, Path]) -> None:
    emulator("qemu-x86_64", "gcc", "make")
    library(artifacts[case], "gcc")
    emulated = {"core2duo": "base", "Nehalem": "sse4", "Haswell": "avx2"}
    found = {cpu: chosen(artifacts[case], ["qemu-x86_64", "-cpu", cpu]) for cpu in emulated}
    assert {cpu: kernels for cpu, (kernels, _) in found.items()} == emulated
    here = chosen(artifacts[case], [])
    assert {actions for _, actions in found.values()} == {here[1]}


@pytest.mark.parametrize("case", ["static", "dynamic", "image"])
def test_a_library_chooses_on_each_64_bit_arm_and_its_integers_decide_alike(
    case: str, artifacts: dict[str, Path]
) -> None:
    emulator("aarch64-linux-gnu-gcc", "qemu-aarch64", "make")
    library(artifacts[case], "aarch64-linux-gnu-gcc")
    runner = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu"]
    found = [chosen(artifacts[case], [*runner, cpu]) for cpu in ("cortex-a72", "cortex-a76", "max")]
    assert [kernels for kernels, _ in found] == ["base", "dotprod", "i8mm"]
    assert len({actions for _, actions in found}) == 1


_CHECK = """
import sys
from lilliput.policies.export import check
for folder in sys.argv[1:]:
    found = check(folder)
    print(folder, found)
    assert found.ok
"""


@pytest.mark.longest
@pytest.mark.parametrize("processor", ["Nehalem", "Haswell"])
def test_onnx_artifacts_decide_alike_where_uint8_by_int8_saturates(
    processor: str, tmp_path: Path, example_policies: Path
) -> None:
    """The whole of Python, numpy and onnxruntime under an emulated processor: their own kernels for it."""
    if not Path(sys.executable).resolve().read_bytes()[:20].endswith(b"\x3e\x00"):
        pytest.skip("this is no x86-64")
    features = set(CPUINFO.read_text().split()) if CPUINFO.exists() else set()
    if processor == "Haswell" and "avx2" in features and not features & BEYOND_AVX2:
        runner = []  # for onnxruntime this one is no more
    else:
        emulator("qemu-x86_64")
        runner = ["qemu-x86_64", "-cpu", processor]
    folders = [
        str(export(policy_of(case, example_policies), "onnx", tmp_path / case).folder)
        for case in ("float32", "static", "dynamic", "packed", "image")
    ]
    command = [*runner, sys.executable, "-c", _CHECK, *folders]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "src"})
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
