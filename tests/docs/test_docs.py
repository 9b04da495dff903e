import importlib.util
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import lilliput
from lilliput.cli import cli
from lilliput.measurement import QUANTITIES
from lilliput.models.compress import parse as parse_of_models
from lilliput.policies.compress import STEPS, parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def generator():
    spec = importlib.util.spec_from_file_location("docs_cli", ROOT / "docs" / "cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```(?:console|sh|bash)?\n(.*?)^```$", page.read_text(), re.S | re.M)


def commands() -> list[tuple[str, str]]:
    """Every `lilliput ...` line of the pages that people copy from, continuation lines joined."""
    found = []
    for page in PAGES:
        if page.name == "cli.md":
            continue
        for block in blocks(page):
            joined = re.sub(r"\\\n\s*", " ", block)
            found += [(page.name, line) for line in joined.splitlines() if line.startswith("lilliput ")]
    return found


def test_the_command_line_page_is_what_help_prints():
    assert (ROOT / "docs" / "cli.md").read_text() == generator().text(), "run: python docs/cli.py > docs/cli.md"


@pytest.mark.parametrize("name", ["results_models", "results_studies"])
def test_what_prints_results_says_what_it_needs(name, tmp_path, monkeypatch, capsys):
    script = str(ROOT / "docs" / f"{name}.py")
    for given in ([], [str(tmp_path)]):
        monkeypatch.setattr("sys.argv", [script, *given])
        with pytest.raises(SystemExit):
            runpy.run_path(script, run_name="__main__")
        said = capsys.readouterr().err
        assert "RESULTS" in said
    assert "holds none of these studies; it is the folder that holds a folder of each" in said


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_in_the_docs_parses(page, line, monkeypatch):
    words = shlex.split(line, comments=True)[1:]
    command, rest = cli, words
    while isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    # Paths need not exist for the line to be well formed.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter, "type", click.Path(path_type=Path))
    context = command.make_context("x", list(rest), **cli.context_settings)
    assert not context.args, f"{context.args} are left over"
    for recipe in re.findall(r"-r (?:'([^']*)'|\"([^\"]*)\")", line):
        (parse_of_models if "--task" in line else parse)("".join(recipe))


def test_there_are_commands_to_check():
    assert len(commands()) >= 6


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_explained(name):
    assert f"`{name}(" in "".join(page.read_text() for page in PAGES if page.name != "cli.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_layer_of_the_house_is_on_the_architecture_page():
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = Path(lilliput.__file__).parent
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    wing = package / "policies"
    rooms = {path.stem for path in wing.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    modules |= {f"policies/{name}" for name in rooms - {"__init__"}}
    missing = [name for name in sorted(modules - {"__init__", "__main__"}) if f"`{name}`" not in page]
    assert missing == []


def test_the_floors_on_the_architecture_page_are_those_that_are_checked():
    page = (ROOT / "docs" / "architecture.md").read_text()
    house = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    (chain,) = re.findall(r"^```\n(__main__ >.*?)^```$", page, re.S | re.M)
    named = [set(re.findall(r"\w+", floor)) for floor in chain.split(">")]
    assert named == [set(re.findall(r"\w+", floor)) for floor in house["layers"]]


def test_every_file_that_the_architecture_page_names_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = Path(lilliput.__file__).parent
    named = set(re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", page))
    assert len(named) > 30
    inside = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    gone = [
        name
        for name in named
        if not (package / name).exists() and not (ROOT / name).exists() and not any(f"/{name}" in one for one in inside)
    ]
    assert gone == []
    rows = re.findall(r"row of `([A-Z]+)` in `([a-z_0-9/]+\.py)`", page)
    assert len(rows) >= 7
    assert [row for row in rows if f"\n{row[0]}" not in (package / row[1]).read_text()] == []


def test_the_quantities_have_units():
    assert {quantity.unit for quantity in QUANTITIES.values()} <= {"s", "J", "byte", "1", "share", "return"}
