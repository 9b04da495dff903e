"""The shared library that chooses its kernels where it runs: what it chooses, of what it is made, what is refused."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import commands, compiled
from tests.policies.export.test_c import WARNINGS, quantized_mlp

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import c, c_dispatch, export
from lilliput.policies.policy import Policy

FEATURES = """\
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
static int has(const char *feature) { return strstr(getenv("FEATURES"), feature) != NULL; }
static int leaf(unsigned *a) { *a = has("(avxvnni)") ? 1u << 4 : 0; return 1; }
#define __builtin_cpu_init() (void)0
#define __builtin_cpu_supports(feature) has("(" feature ")")
#define __get_cpuid_count(number, second, a, b, c, d) leaf(a)
"""
"""Instead of a processor: what it has is told."""

PREDEFINED = {"AVX", "SSE3", "XSAVE", "CRC32", "FP_FAST_FMA", "FP_FAST_FMAF", "FP_FAST_FMAF32", "FP_FAST_FMAF32x"}
PREDEFINED |= {"FP_FAST_FMAF64"}
"""What compilers add to flags: no processor has the flags' instructions without these."""


def mlp(folder: Path, width: int = 64) -> Policy:
    policy = quantized_mlp("static", 0, (8, 8), (9, width, 3))
    x = np.random.default_rng(0).normal(0, 1, (8, 9)).astype(np.float32)
    c.write(policy, folder, x, reference.act(policy, x), 1e-5, name="quick", dispatch=True)
    return policy


def test_the_best_kernels_that_a_processor_has_are_chosen(tmp_path: Path) -> None:
    mlp(tmp_path)
    stubs = "".join(
        f"int quick_act_{one.name}(const float *x, float *y) {{ (void)x, (void)y; return 0; }}\n"
        f"int quick_act_in_{one.name}(quick_scratch *s, const float *x, float *y) {{ (void)s, (void)x, (void)y; "
        f"return 0; }}\n"
        for one in c_dispatch.X86
    )
    main = "#include <stdio.h>\nint main(void) { return puts(quick_kernel_set()) < 0; }\n"
    (tmp_path / "main.c").write_text(FEATURES + '#include "quick_dispatch.c"\n' + stubs + main)
    compiled(["gcc", "main.c", "-o", "main"], tmp_path).check_returncode()

    def chosen(features: set[str]) -> str:
        environment = {"FEATURES": "".join(f"({one})" for one in sorted(features))}
        return subprocess.run(["./main"], cwd=tmp_path, env=environment, capture_output=True, text=True).stdout.strip()

    flags = {one.name: set(re.findall(r"-m([\w.]+)", one.flags)) for one in c_dispatch.X86}
    assert list(flags) == ["avx512vnni", "avx512", "avxvnni", "avx2", "sse4", "base"]
    for name, wanted in flags.items():
        assert chosen(wanted) == name
        for lacking in wanted:
            found = chosen(wanted - {lacking})
            assert flags[found] <= wanted - {lacking}, f"{found} would stop without {lacking}"
    every = set().union(*flags.values())
    assert [chosen(every), chosen(every - {"avx512vbmi"}), chosen(every - {"avx512f"})] == list(flags)[:3]


@pytest.mark.parametrize("kernels", c_dispatch.X86, ids=lambda kernels: kernels.name)
def test_a_set_is_compiled_for_no_instruction_that_is_not_asked_for(kernels: c_dispatch.KernelSet) -> None:
    """What gcc predefines names every instruction set that it may write."""

    def predefined(flags: str) -> set[str]:
        command = ["gcc", *flags.split(), "-dM", "-E", "-x", "c", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return set(re.findall(r"#define __(\w+?)__ 1\n", said))

    asked = set(re.findall(r'supports\("([\w.]+)"\)|has_(avxvnni)', kernels.condition))
    names = {("".join(pair)).upper().replace(".", "_") for pair in asked}
    assert predefined(kernels.flags) - predefined("") - PREDEFINED <= names


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_each_set_compiles_without_a_warning_and_the_weights_stand_once_in_the_library(
    compiler: str, tmp_path: Path
) -> None:
    policy = mlp(tmp_path, width=1024)
    for command in commands(tmp_path, compiler):
        done = compiled([command[0], *WARNINGS, *command[1:]], tmp_path)
        assert done.returncode == 0, done.stderr
    weight = next(layer for layer in policy.layers if isinstance(layer, layers.QuantizedDense)).weight.values
    # 16 rows of four columns stand side by side
    stored = weight[:16, :4].astype(np.int8).tobytes()
    assert (tmp_path / "libquick.so").read_bytes().count(stored) == 1
    said = subprocess.run(["nm", "-D", "--defined-only", "libquick.so"], cwd=tmp_path, capture_output=True, text=True)
    assert {line.split()[-1] for line in said.stdout.splitlines()} == {"quick_act", "quick_act_in", "quick_kernel_set"}


def test_the_folder_is_an_artifact_that_runs_here_too(tmp_path: Path) -> None:
    policy = quantized_mlp("static", 0, (8, 8), (9, 16, 3))
    artifact = export(policy, "c", tmp_path / "quick", dispatch=True)
    assert "quick_dispatch.c" in artifact.manifest.files
    assert "library.json" not in artifact.manifest.files  # which would compile the sets' names on a microcontroller


def test_dispatch_is_of_c_with_floats(tmp_path: Path) -> None:
    ends = np.ones(2)
    one = layers.Dense(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    policy = Policy(spaces.Box((2,), -ends, ends), spaces.Box((2,), -ends, ends), (one,))
    for format, observation in (("onnx", "float"), ("c", "int16")):
        with pytest.raises(LilliputError, match="--dispatch is of the format c, and of observations that are floats"):
            export(policy, format, tmp_path / "x", dispatch=True, observation=observation)
