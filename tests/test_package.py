import operator
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import lilliput

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

HEAVY = ("torch", "stable_baselines3", "onnx", "onnxruntime", "gymnasium", "matplotlib", "plotly", "scipy")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_importing_lilliput_loads_no_heavy_package():
    assert run_python(f"import sys, lilliput; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_importing_lilliput_loads_what_is_asked_for():
    """A robot's program that only opens an artifact waits for no loader and no training."""
    asked = "import sys, lilliput; before = 'numpy' in sys.modules; from lilliput import open_artifact"
    assert run_python(f"{asked}; print(before, 'lilliput.policies.load' in sys.modules)") == "False False"
    assert run_python("import lilliput.shrink.request, lilliput; print(callable(lilliput.shrink))") == "True"


def test_every_public_name_is_there_and_listed():
    assert set(lilliput.__all__) <= set(dir(lilliput))
    for name in lilliput.__all__:
        assert getattr(lilliput, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        operator.attrgetter("nothing")(lilliput)


@pytest.mark.parametrize("name", ["lilliput", "lilliput.cli"])
def test_an_import_loads_few_modules(name: str):
    """Time follows modules: some 170 here that are not our own, where onnx would add 158 and gymnasium 131."""
    others = "sum(not name.startswith('lilliput') for name in sys.modules)"
    code = f"import sys, numpy; before = {others}; import {name}; print({others} - before)"
    assert int(run_python(code)) < 250


def test_every_extra_that_an_error_advises_is_there():
    advised = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        advised |= set(re.findall(r"lilliput\[(\w+)\]", text))
        advised |= set(re.findall(r'library\("[\w.]+", "(\w+)"\)', text))
    assert {"language", "generation", "tasks"} <= advised
    assert advised <= set(PROJECT["optional-dependencies"])


def test_every_requirement_is_pinned():
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = {canonical(line.split("==")[0]) for line in constraints.splitlines() if not line.startswith("#")}
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    names = {canonical(re.split(r"[\[<>=; ]", requirement)[0]) for requirement in wanted} - {"lilliput"}
    assert names - pinned == set()
    assert "://" not in constraints
    assert not re.search(r"^\s*-", constraints, re.MULTILINE)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    packaged = set(zipfile.ZipFile(wheel).namelist())
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "lilliput").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and "__pycache__" not in path.parts
    }
    assert "lilliput/py.typed" in source
    assert source - packaged == set()


@pytest.mark.slow
def test_the_source_distribution_holds_what_a_stranger_carries_on_with(tmp_path: Path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("src", "tests", "examples", "docs", "studies", "benchmarks", "findings", ".ci")
    tracked = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True)
    wanted = set(tracked.stdout.split()) or {".ci/run", "studies/bits.toml", "benchmarks/latency.py"}
    assert wanted | {"CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "Makefile", "conftest.py"} <= held


def test_the_classifiers_name_the_pythons_that_are_tested():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    versions = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}
    assert versions == set(jobs["quick"]["strategy"]["matrix"]["python"])


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])


def test_every_finding_can_be_run_and_stands_among_the_pitfalls():
    pitfalls = (ROOT / "docs" / "pitfalls.md").read_text()
    findings = list((ROOT / "findings").glob("*.sh"))
    assert findings
    assert [path.name for path in findings if f"](../findings/{path.name})" not in pitfalls] == []
    assert [path.name for path in findings if not os.access(path, os.X_OK)] == []
    assert [path.name for path in findings if "lilliput" in path.read_text().lower()] == []
