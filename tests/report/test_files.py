"""The files of a report are there whole or not at all, wherever their writing ends."""

import resource
import shutil
import sys

import pytest
from tests.report.rows import study

from lilliput.errors import LilliputError
from lilliput.report import summary
from lilliput.report.files import write_all, write_table

RECORDS = study({f"quantize(weight_bits={bits})": (1 - 2.0**-bits, 125 * bits) for bits in (2, 4, 6, 8)})


def report(folder):
    write_all(RECORDS, 0.9, folder, "study")


def comparison(folder):
    write_table(summary.rows(RECORDS, 0.9), ["a remark"], folder)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ended(write, folder, n_bytes):
    """What the error names where the system lets no file have more bytes: it writes so many of them first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        with pytest.raises(LilliputError, match="cannot be written") as caught:
            write(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return next(name for name in str(caught.value).split("/") if " cannot be written" in name).split()[0]


@pytest.mark.parametrize("write", [report, comparison])
def test_a_file_whose_writing_ends_is_not_there_or_as_it_was(write, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs the extra report")
    pytest.importorskip("pyarrow", reason="needs the extra report")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)  # its page is larger than all else, and so written last
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "old")
    plain = {len(content) for name, content in whole.items() if "/" not in name}
    lost = set()
    for size in sorted({*plain, max(map(len, whole.values()))}):
        folder = tmp_path / f"{size}"
        folder.mkdir()
        lost.add(ended(write, folder, size - 1))
        assert all(whole[name] == content for name, content in contents(folder).items())
    assert len(lost) > 1
    name = "report.csv" if write is report else "table.json"
    assert name in lost
    (tmp_path / "old" / name).write_text("those before")
    assert ended(write, tmp_path / "old", len(whole[name]) - 1) == name
    assert contents(tmp_path / "old") == {**whole, name: b"those before"}
