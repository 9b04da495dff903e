"""Whatever text a checkpoint holds, no file that is written and nothing that is printed takes it for more than text.

The markers are harmless: each would be seen where it took effect.
"""

import csv
import dataclasses
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.report.rows import study

from lilliput.cli import cli
from lilliput.foreign_text import (
    in_c_comment,
    in_latex,
    in_markdown,
    in_markdown_cell,
    in_markdown_code,
    in_spreadsheet,
    printable,
)
from lilliput.policies import file as policy_file
from lilliput.policies import layers, spaces
from lilliput.policies.export import export
from lilliput.policies.policy import Policy, Provenance
from lilliput.report import files, table
from lilliput.report.remarks import remarks

PIECES = (
    "*/ int MARKER_C; /*",
    "*\\\n/ int MARKER_SPLICED; //",
    "??/\n MARKER_TRIGRAPH",
    "*???/\n/ MARKER_TRIGRAPHS",
    "\n#define MARKER_LINE 1\n",
    "\r\x1b[31mMARKER_TERMINAL\x07\u202e",
    "<script>MARKER_HTML</script><img src=x onerror=MARKER_HTML>&lt;",
    '"; MARKER_STRING("',
    "`MARKER_CODE` | MARKER_CELL | [MARKER_LINK](http://127.0.0.1) \\|",
    "\\MARKER_LATEX{} $MARKER_MATH$ %",
    "$(MARKER_MAKE) ${MARKER_SHELL}",
)
EVIL = " ".join(PIECES)
SHEETS = ("=1+MARKER_SHEET", "+MARKER_SHEET", "-MARKER_SHEET", "@MARKER_SHEET", "\t=MARKER_SHEET", " =MARKER_SHEET")


def policy() -> Policy:
    one = np.ones(2)
    space = spaces.Dict(((f"a{EVIL}", spaces.Box((2,), -one, one)), ("b", spaces.Box((1,), -one[:1], one[:1]))))
    said = {"joint_names": EVIL, "observation_names": f"{EVIL},joint_pos", "observation_dims": "2,1"}
    provenance = Provenance(EVIL, EVIL, EVIL, EVIL, EVIL, (EVIL,), (EVIL,), EVIL, contract=tuple(said.items()))
    stack = (layers.Dense(np.full((1, 3), 0.5, np.float32), None), layers.SquashAction())
    return Policy(space, spaces.Box((1,), -one[:1], one[:1]), stack, provenance)


def test_no_text_ends_a_comment_of_c_or_opens_one_or_holds_a_trigraph() -> None:
    for n in range(8):
        for one in itertools.product("*/?", repeat=n):
            assert not re.search(r"\*/|/\*|\?\?", in_c_comment("".join(one))), one


def is_plain(text: str) -> bool:
    return all(one.isprintable() or one == "\n" for one in text)


@pytest.mark.parametrize("name", [None, "pilot"])
def test_no_text_of_a_checkpoint_reaches_a_compiler_or_builder(name: str | None, tmp_path: Path) -> None:
    # The folder's name is foreign text too.
    folder = export(policy(), "c", tmp_path / "$(MARKER_MAKE) *& x", name=name).folder
    stem = name or "MARKER_MAKE_x"
    for path in folder.iterdir():
        if path.suffix == ".npz":
            continue
        text = path.read_text(encoding="utf-8")
        assert is_plain(text.replace("\n\t", "\n")), path.name
        match path.suffix:
            case ".c" | ".h":
                assert text.isascii()
                code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
                assert "MARKER" not in code.replace(stem, "").replace(stem.upper(), ""), path.name
            case ".properties":
                keys = [line.split("=", 1)[0] for line in text.splitlines()]
                assert keys == [
                    "name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url",
                    "architectures", "includes",
                ]  # fmt: skip
            case ".json":
                json.loads(text)
            case ".md":
                assert "<script" not in text
                assert "<img" not in text
                assert "](http" not in text.replace("]&#40;http", "")
                assert len(re.findall(r"(?<!`)`(?!`)", text)) % 2 == 0
            case _:
                assert path.name == "Makefile"
                assert "MARKER" not in text.replace(stem, "").replace(stem.upper(), "")
    done = subprocess.run(
        ["make", "test", "CFLAGS=-std=c99 -Wall -Wextra -Werror -pedantic"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:2000]
    # With trigraphs, as -std=c99 reads them, and spliced lines, what is left of comments is the same.
    left = subprocess.run(
        ["gcc", "-std=c99", "-E", "-P", f"{stem}.c"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "MARKER" not in left.stdout.replace(stem, "")


def test_what_is_printed_holds_no_control_characters(tmp_path: Path) -> None:
    policy_file.write(policy(), tmp_path / "p.lilliput")
    for arguments in (
        ["show", str(tmp_path / "p.lilliput")],
        ["export", str(tmp_path / "p.lilliput"), "-o", str(tmp_path / "out")],
        ["check", str(tmp_path / "out")],
        ["measure", str(tmp_path / "out")],
    ):
        run = CliRunner().invoke(cli, arguments)
        assert run.exit_code == 0, run.output
        assert is_plain(run.output), arguments[0]


def test_reports_take_names_and_reasons_for_text(tmp_path: Path) -> None:
    records: list[Any] = []
    for number, one in enumerate(study({"half()": (0.99, 2000), "quantize()": (0.9, 1000)})):
        foreign = EVIL if number % 2 else SHEETS[number % len(SHEETS)]
        names = tuple((key, foreign) for key, _ in one.names)
        task = dataclasses.replace(one.cell.task, id=foreign) if number > 5 else one.cell.task
        cell = dataclasses.replace(one.cell, task=task)
        records.append(dataclasses.replace(one, names=names, cell=cell, said=(foreign, EVIL)))
    records.append(dataclasses.replace(records[1], status="failed", reason=EVIL, measurements=()))
    written = files.write_all(records, 0.9, tmp_path, EVIL, study=EVIL, notes=(EVIL,))
    assert {"csv", "html", "guidelines", "tables.md", "tables.tex"} <= set(written.files)
    for path in (path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".md", ".tex", ".html")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            assert "<script>MARKER" not in text
            assert "<img src=x" not in text
            continue
        assert is_plain(text), path.name
        if path.suffix == ".md":
            assert "<script" not in text
            assert "<img" not in text
        if path.suffix == ".tex":
            assert "\\MARKER" not in text
            assert not re.search(r"(?<!\\)\$(?!\\pm\$)MARKER", text)
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as lines:
        for line in csv.reader(lines):
            for cell in line:
                assert not cell.lstrip().startswith(("=", "+", "@"))
                assert not cell.startswith("-") or re.fullmatch(r"-[\d.e+-]+", cell)
    rows = files.summary.rows(records, 0.9)
    assert is_plain(table.markdown(rows))
    assert is_plain(table.text(rows))
    assert all(is_plain(line) for line in remarks(rows))


def test_each_kind_of_text_is_harmless_in_its_place() -> None:
    for piece in (*PIECES, EVIL, *SHEETS):
        comment = in_c_comment(piece)
        assert "*/" not in comment
        assert "/*" not in comment
        assert "??" not in comment
        assert comment.isascii()
        assert "<" not in in_markdown(piece)
        assert "](" not in in_markdown(piece)
        assert "`" not in in_markdown_code(piece)[1:-1]
        assert not re.search(r"(?<!\\)\|", in_markdown(piece) + in_markdown_cell(piece))
        assert not in_spreadsheet(piece).lstrip().startswith(("=", "+", "-", "@"))
        assert "\\MARKER" not in in_latex(piece)
        for made in (comment, in_markdown(piece), in_markdown_code(piece), in_spreadsheet(piece), printable(piece)):
            assert made.isprintable()
