"""Files that are whole or not there: held against processes that are killed and disks that are full."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput import files
from lilliput.errors import LilliputError
from lilliput.files import Format, write_whole

RENAMED = Format("thing", 2, {1: lambda data: {"new": data["old"]}})


def test_a_file_has_its_content_and_nothing_stands_beside_it(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "first")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(LilliputError, match=r"a\.txt cannot be written: File too large"):
            write_whole(path, bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_while_it_writes_the_old_file_stands(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom lilliput.files import whole\n"
        "with whole(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_full_disk_is_known_by_its_number_however_deep(tmp_path: Path) -> None:
    deep = LilliputError("it cannot be kept")
    deep.__cause__ = ValueError("why")
    deep.__cause__.__context__ = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert files.is_out_of_space(deep)
    assert not files.is_out_of_space(LilliputError("No space left on device"))
    assert files.has_space(tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_what_is_written_is_read(data: dict[str, object]) -> None:
    kind = Format("thing", 3)
    expected = {name: value for name, value in data.items() if name != kind.key}
    assert kind.current(json.loads(json.dumps(kind.stamped(expected)))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"thing_format": 2, "new":', "is not a thing, or it was cut or damaged"),
        ("", "is not a thing, or it was cut or damaged"),
        ("[" * 100_000, "is not a thing, or it was cut or damaged"),
        ("[1]", "this is no thing: it holds a list"),
        ("{}", "this is no thing: it names no thing_format"),
        ('{"other_format": 1}', "this is no thing: it names no thing_format"),
        ('{"thing_format": "2"}', "this is no thing: it names no thing_format"),
        ('{"thing_format": 3}', "a thing of format 3; this version reads 1 to 2: update lilliput"),
        ('{"thing_format": -1}', "a thing of format -1; this version reads 1 to 2: make it again"),
        ('{"thing_format": 1}', "a thing is malformed: 'old'"),
    ],
)
def test_a_cut_or_foreign_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "thing.json"
    path.write_text(text)
    with pytest.raises(LilliputError, match=message) as caught:
        RENAMED.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_older_file_is_read_by_its_history(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    path.write_text('{"thing_format": 1, "old": 5}')
    assert RENAMED.read(path) == {"new": 5}
    path.write_text("{}")
    assert Format("thing", 1, {0: dict}).read(path) == {}


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    path = RENAMED.write(tmp_path / "thing.json", {"new": [1, "é"]})
    content = path.read_bytes()
    assert RENAMED.read(path) == {"new": [1, "é"]}
    for size in range(len(content) - 2):
        path.write_bytes(content[:size])
        with pytest.raises(LilliputError):
            RENAMED.read(path)
