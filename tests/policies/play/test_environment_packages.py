"""Whose versions an environment's returns depend on, held against packages that are made up and upgraded here."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lilliput.policies.play import make_environment
from lilliput.policies.play.environment_packages import installed, packages

CODE = (
    "import sys; from lilliput.policies.play import make_environment as make;"
    "from lilliput.policies.play.environment_packages import packages;"
    "print(*(' '.join(pair) for pair in packages(make(sys.argv[1])) if 'gymnasium' not in pair[0]), sep='; ')"
)

ENVIRONMENT = """
import gymnasium
import numpy as np
from made_up_worlds.engine import step

class World(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

gymnasium.register("World-v0", entry_point=World)
"""


def distribution(folder: Path, name: str, version: str, modules: dict[str, str], *requires: str) -> None:
    for path, text in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    needed = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in modules))


def found(folder: Path, environment: str) -> str:
    command = [sys.executable, "-c", CODE, environment]
    path = ":".join([str(folder), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    return done.stdout.strip()


def test_the_packages_of_an_environment_and_its_physics_are_named(tmp_path: Path) -> None:
    modules = {
        "made_up_worlds/__init__.py": ENVIRONMENT,
        "made_up_worlds/engine.py": "from made_up_physics import step\n",
    }
    worlds = {**modules, "made_up_worlds/other.py": "import made_up_other\n"}
    distribution(tmp_path, "made-up-worlds", "1.0", worlds, "made-up.physics>=1", "made-up-other", "numpy")
    distribution(tmp_path, "made-up_physics", "3.1", {"made_up_physics.py": "def step(): ...\n"})
    distribution(tmp_path, "made-up-other", "7", {"made_up_other.py": ""})
    assert found(tmp_path, "made_up_worlds:World-v0") == "package.made-up-physics 3.1; package.made-up-worlds 1.0"
    (tmp_path / "made_up_physics-3.1.dist-info").rename(tmp_path / "made_up_physics-3.2.dist-info")
    about = tmp_path / "made_up_physics-3.2.dist-info" / "METADATA"
    about.write_text(about.read_text().replace("3.1", "3.2"))
    assert found(tmp_path, "made_up_worlds:World-v0") == "package.made-up-physics 3.2; package.made-up-worlds 1.0"


def test_an_environment_of_ones_own_is_named_by_its_files_and_all_that_they_import(tmp_path: Path) -> None:
    distribution(tmp_path, "made-up_physics", "3.1", {"made_up_physics.py": "def step(): ...\n"})
    own = tmp_path / "mine.py"
    own.write_text(ENVIRONMENT.replace("made_up_worlds.engine", "made_up_physics"))
    first = found(tmp_path, "mine:World-v0")
    assert first.startswith("module.mine ")
    assert first.endswith("; package.made-up-physics 3.1")
    own.write_text(own.read_text().replace("Discrete(2)", "Discrete(3)"))
    assert found(tmp_path, "mine:World-v0") != first


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ("CartPole-v1", {"gymnasium"}),
        ("Hopper-v5", {"gymnasium", "mujoco"}),
        ("LunarLander-v3", {"gymnasium", "box2d"}),
        ("ALE/Pong-v5", {"gymnasium", "ale-py"}),
    ],
)
def test_the_physics_of_known_environments_is_theirs_alone(environment: str, wanted: set[str]) -> None:
    """In one process: what another environment has imported before does not count."""
    pytest.importorskip(
        {"Hopper-v5": "mujoco", "LunarLander-v3": "Box2D", "ALE/Pong-v5": "ale_py"}.get(environment, "sys")
    )
    made = make_environment(environment)
    assert {name.removeprefix("package.") for name, _ in packages(made)} == wanted
    made.close()


def test_who_installs_a_module_is_what_python_itself_finds() -> None:
    theirs = {top: sorted(set(names)) for top, names in metadata.packages_distributions().items() if top.isidentifier()}
    assert len(theirs) > 20
    ours = {top: sorted({one.metadata["Name"] for one in installed()[top]}) for top in theirs}
    assert ours == theirs


def test_a_disturbed_environment_has_the_physics_of_the_one_that_it_disturbs() -> None:
    pytest.importorskip("mujoco")
    made = make_environment("lilliput.study.perturbed:Perturbed-v0", environment_kwargs={"of": "Hopper-v5"})
    assert "package.mujoco" in dict(packages(made))
    made.close()
