"""The kernels of generated C by themselves: each compiles alone, and numpy judges what they compute."""

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import WARNINGS

from lilliput.compiler import cache_folder, kept_vectors
from lilliput.policies.export import c_kernels

NAMES = sorted(file.stem for file in Path(c_kernels.__file__).parent.glob("*.h"))
"""Of every kernel: its file holds the function of that name."""
VECTORS = re.compile(r"\b(?:_mm|_MM_|__m(?:128|256|512|mask)|_bzhi_|_pdep_|_pext_|_cvt)\w*")
NATIVE = ("-std=c99", "-ffp-contract=off", "-O2", "-march=native")


def test_functions_that_c_libraries_compute_in_different_ways_are_our_own() -> None:
    """newlib's and picolibc's `expf` is not glibc's; fused multiply-add, roots and rounding are exact everywhere."""
    library = r"\b((?:exp|expm1|log|log1p|pow|tanh|sinh|cosh|sin|cos|tan|atan|erf|fma|sqrt|rint|round|floor|ceil)f?)\("
    code = "".join(re.sub(r"/\*.*?\*/", "", c_kernels.bundle([name]), flags=re.DOTALL) for name in NAMES)
    assert set(re.findall(library, code)) == {
        "fmaf",
        "sqrtf",
        "rintf",
        "erff",
    }  # erff: GELU, whose self-test allows for it


@pytest.mark.parametrize("name", NAMES)
def test_each_kernel_compiles_alone(name: str, tmp_path: Path) -> None:
    """Portable, and for this processor where that is other code. Vectors are read once for all, and asked for apart."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    text = c_kernels.bundle([name])
    (tmp_path / "kernel.c").write_text(text + "int unused;\n")

    def read(*flags: str) -> str:
        done = subprocess.run(["gcc", *flags, "kernel.c"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    only = "-fsyntax-only"  # no function is called: there is no code
    read("-std=c99", "-O2", *WARNINGS, only)
    if re.search(r"^#(if|el)", text.removeprefix(c_kernels.bundle([])), re.MULTILINE):
        read(*NATIVE, *WARNINGS, only, *kept_vectors(cache_folder(), ("gcc",), NATIVE))
    if VECTORS.search(resources.files(c_kernels).joinpath(f"{name}.h").read_text()):
        for header in ("imm", "smm", "tmm", "emm"):
            (tmp_path / f"{header}intrin.h").write_text("vectors_are_read\n")
        assert not VECTORS.search(read(*NATIVE, "-I.", "-E").partition("vectors_are_read")[0])


def every_float(step: int) -> np.ndarray:
    return np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def applied(kernel: str, x: np.ndarray, folder: Path, extra: str = "", flags: tuple[str, ...] = ()) -> np.ndarray:
    text = c_kernels.bundle([kernel])
    text += f"#include <stdio.h>\nint main(void) {{ static float x[{x.size}];\n"
    text += f"if (fread(x, 4, {x.size}, stdin) != {x.size}) return 1;\n{kernel}(x, {x.size}{extra});\n"
    text += f"return fwrite(x, 4, {x.size}, stdout) != {x.size}; }}\n"
    (folder / "apply.c").write_text(text)
    command = ["gcc", "-std=c99", "-ffp-contract=off", *flags, "apply.c", "-lm", "-o", "apply"]
    compiled(command, folder).check_returncode()
    done = subprocess.run(["./apply"], cwd=folder, input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


@pytest.mark.parametrize("flags", [("-O2",), ("-O3", "-march=native")], ids=["portable", "native"])
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
