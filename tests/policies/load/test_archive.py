"""The zip reader against archives that no framework writes."""

import io
import struct
import zipfile

import pytest

from lilliput.errors import LilliputError
from lilliput.policies.load import archive
from lilliput.policies.load.archive import read_archive


def packed(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        for name, data in entries.items():
            target.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def test_entries_come_back() -> None:
    entries = {"data": b"{}", "folder/policy.pth": bytes(range(256)), "policy_2026-01-01T10:30/data.pkl": b"."}
    read = read_archive(packed({**entries, "folder/": b""}), "x")
    assert read.sizes == {name: len(data) for name, data in entries.items()}
    assert {name: read.read(name) for name in entries} == entries
    assert "data" in read
    assert "other" not in read


@pytest.mark.parametrize(
    "name", ["../up", "a/../../up", "/etc/passwd", "a\\b", "C:/x", "a//b", "./a", "a\nb", "a\x1b[2Jb"]
)
def test_names_that_leave_the_archive_are_refused(name: str) -> None:
    with pytest.raises(LilliputError, match="names must stay inside the archive") as caught:
        read_archive(packed({name: b"1"}), "x")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    data = packed({"policy.pth": bytes(4 << 20)})
    assert len(data) < 10_000
    with pytest.raises(LilliputError, match=r"unpacks \d+ bytes to 4194304; at most 200 times"):
        read_archive(data, "x")


def test_a_size_that_lies_is_found_out() -> None:
    data = bytearray(packed({"data": b"x" * 1000}))
    directory = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 10)
    read = read_archive(bytes(data), "x")
    with pytest.raises(LilliputError, match="entry 'data' is damaged"):
        read.read("data")


def test_limits_on_numbers_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed({str(i): b"12345678" for i in range(20)})
    monkeypatch.setattr(archive, "MAX_ENTRIES", 19)
    with pytest.raises(LilliputError, match="has 20 entries; at most 19"):
        read_archive(data, "x")
    monkeypatch.setattr(archive, "MAX_ENTRIES", 20)
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 159)
    with pytest.raises(LilliputError, match="unpacks to 160 bytes; at most 159"):
        read_archive(data, "x")
    monkeypatch.setattr(archive, "MAX_ENTRY_BYTES", 7)
    with pytest.raises(LilliputError, match="has 8 bytes; at most 7"):
        read_archive(data, "x")


def test_duplicates_encryption_and_other_methods_are_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr("data", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("data", b"2")
    with pytest.raises(LilliputError, match="has the entry 'data' twice"):
        read_archive(stream.getvalue(), "x")
    with pytest.raises(LilliputError, match="packed by method 12; supported: stored, deflate"):
        read_archive(packed({"data": b"1" * 99}, zipfile.ZIP_BZIP2), "x")
    encrypted = bytearray(packed({"data": b"1"}))
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        encrypted[encrypted.index(signature) + offset] |= 1
    with pytest.raises(LilliputError, match="'data' is encrypted"):
        read_archive(bytes(encrypted), "x")


def test_a_flipped_byte_is_found() -> None:
    data = bytearray(packed({"data": b"abcdefgh"}, zipfile.ZIP_STORED))
    data[data.index(b"abcdefgh")] ^= 1
    with pytest.raises(LilliputError, match=r"'data' is damaged .*save or download it again"):
        read_archive(bytes(data), "x").read("data")


def test_what_is_not_there() -> None:
    with pytest.raises(LilliputError, match=r"x has no entry 'policy.pth'"):
        read_archive(packed({"data": b"1"}), "x").read("policy.pth")
