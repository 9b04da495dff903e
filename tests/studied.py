"""A study of one process, as the command runs it: which is where the rows that a test adds are."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from lilliput.cli import cli


def studied(folder: Path, *lines: str, subjects: str = 'policies = ["*.lilliput"]') -> dict[str, str]:
    """The files of the report of a study in one process, which is where the rows that a test adds are."""
    text = "\n".join([subjects, *lines, "cell_timeout = 0"])
    if "recipes" not in text:
        text = 'recipes = ["half()"]\n' + text
    if "episodes" not in text and subjects.startswith("policies"):
        text = "episodes = 2\n" + text
    (folder / "study.toml").write_text(text)
    command = ["study", "run", str(folder / "study.toml"), "-o", str(folder / "out"), "--workers", "1", "--json"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["failed"], found["to_go"]) == (0, 0)
    return {kind: Path(found[kind]).read_text() for kind in ("csv", "html") if kind in found}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "out" / "records").iterdir()]
