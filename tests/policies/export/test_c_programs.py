"""Generated C among other code: several artifacts in one program, libraries of microcontrollers, archives."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import WARNINGS, quantized_mlp
from tests.strategies import random_linear

from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import c
from lilliput.policies.policy import Policy


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
