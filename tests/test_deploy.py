"""examples/deploy: compiled against stub headers of the same signatures (tests/deploy) and run, two policies in one."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.policies.recurrent import dense, gru, policy_with, walk

from lilliput.policies import layers
from lilliput.policies.export import export, open_artifact

EXAMPLES, STUBS = Path(__file__).parents[1] / "examples" / "deploy", Path(__file__).parent / "deploy"
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-O2", "-ffp-contract=off")
ARM = ("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")


@dataclass(frozen=True)
class Program:
    """An example: its sources, and the lines that its stub takes."""

    source: Path
    main: tuple[Path, ...]
    compiler: tuple[str, ...]
    begin: tuple[str, ...]
    change: str
    see: str = ""


PROGRAMS = {
    "ros2": Program(EXAMPLES / "ros2/src/policy_node.cpp", (), ("g++", "-std=c++17"), (), "mode {}", "observation "),
    "px4": Program(
        EXAMPLES / "px4/PolicyModule.cpp", (STUBS / "px4/main.cpp",),
        ("g++", "-std=c++17", '-DMODULE_NAME="policy"', "-Wno-unused-parameter"), ("policy start",), "policy {}",
    ),
    "crazyflie": Program(
        EXAMPLES / "crazyflie/src/app.c", (STUBS / "crazyflie/main.c",), ("gcc", "-std=gnu11"), ("policy.active 1",),
        "policy.active {}",
    ),
}  # fmt: skip
COMMANDS = {"ros2": ("track", "hover"), "px4": ("track", "hover"), "crazyflie": ("1", "2")}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C of both, as the README tells to export it."""
    folder, rng = tmp_path_factory.mktemp("policies"), np.random.default_rng(0)
    track = policy_with(dense(rng, 8, 6), layers.Tanh(), inputs=6, actions=3)
    for name, policy in (("track", track), ("hover", policy_with(gru(rng, 6, 7), inputs=6, actions=3))):
        export(policy, "c", folder / name, name=name, observations=walk(policy, 60))
    return folder


def run(command: Sequence[str | Path], given: str = "") -> str:
    done = subprocess.run([str(word) for word in command], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def objects(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The policies' C, compiled as C."""
    made = [tmp_path_factory.mktemp("objects") / f"{one}.o" for one in ("track", "hover")]
    for path in made:
        run(["gcc", "-std=c99", *STRICT, "-c", policies / path.stem / f"{path.stem}.c", "-o", path])
    return made


def built(name: str, policies: Path, objects: list[Path], folder: Path) -> Path:
    program = PROGRAMS[name]
    include = [f"-I{policies / one}" for one in ("track", "hover")]
    include += [f"-I{STUBS / name}", f"-I{program.source.parent}"]
    command = [*program.compiler, *STRICT, *include, program.source, *program.main, *objects, "-lm"]
    run([*command, "-o", folder / "program"])
    return folder / "program"


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_policies_act_as_their_artifacts_in_one_program(
    name: str, policies: Path, objects: list[Path], tmp_path: Path
) -> None:
    program, (track, hover) = PROGRAMS[name], COMMANDS[name]
    if not shutil.which(program.compiler[0]):
        pytest.skip(f"{program.compiler[0]} is not installed")
    path = built(name, policies, objects, tmp_path)
    x = walk(policy_with(layers.Tanh(), inputs=6, actions=3), 40)
    lines, wanted = list(program.begin), []
    acts = {one: open_artifact(policies / one) for one in ("track", "hover")}
    begun = acts["track"].begin()
    for at, row in enumerate(x):
        if at in (10, 30):  # the memory of the second time is not that of the first
            lines.append(program.change.format(hover))
            begun = acts["hover"].begin()
        if at == 20:
            lines.append(program.change.format(track))
            begun = acts["track"].begin()
        lines.append(program.see + " ".join(f"{value:.9g}" for value in row))
        wanted.append(np.asarray(begun(row)).reshape(-1))
        if at == 15:  # gives no action and leaves the memory as it was
            lines.append(program.see + "nan 0 0 0 0 0")
    found = np.array([line.split() for line in run([path], "\n".join(lines) + "\n").splitlines()], np.float32)
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-6)  # sums of floats in the order of the processor
    assert np.abs(np.diff(found, axis=0)).max() > 0.01


@pytest.mark.embedded
def test_the_crazyflie_s_app_compiles_for_its_processor(policies: Path, tmp_path: Path) -> None:
    if not shutil.which(ARM[0]):
        pytest.skip("no arm-none-eabi-gcc")
    include = [f"-I{policies / one}" for one in ("track", "hover")] + [f"-I{STUBS / 'crazyflie'}"]
    app = PROGRAMS["crazyflie"].source
    run([*ARM, "-std=gnu11", *STRICT, "-Wdouble-promotion", *include, "-c", app, "-o", tmp_path / "app.o"])


def test_the_build_files_name_what_is_there() -> None:
    for folder, file in (("ros2", "CMakeLists.txt"), ("px4", "CMakeLists.txt"), ("crazyflie", "Kbuild")):
        text = (EXAMPLES / folder / file).read_text()
        assert PROGRAMS[folder].source.stem in text
        for one in ("track", "hover"):
            assert f"policies/{one}/{one}." in text
        assert "-ffp-contract=off" in text or "-ffp-contract=off" in (EXAMPLES / folder / "Makefile").read_text()
