"""A closed zip reader: what an entry claims is checked before a byte of it is unpacked, and nothing is written."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import final

from lilliput.errors import LilliputError

MAX_ENTRIES = 10_000
MAX_ENTRY_BYTES = 512 << 20
MAX_TOTAL_BYTES = 1 << 30
MAX_RATIO = 200
"""Unpacked over packed bytes; weights reach 2, JSON 20, a decompression bomb 1,000."""
RATIO_FREE_BYTES = 1 << 20
"""Entries up to this size may be packed as tightly as they like."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
# What zipfile raises on damaged input; RuntimeError covers encryption, NotImplementedError unknown methods.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
)


@final
@dataclass(frozen=True, eq=False)
class Archive:
    """A checked zip file in memory."""

    name: str
    sizes: dict[str, int]
    _zip: zipfile.ZipFile

    def __contains__(self, entry: str) -> bool:
        """Whether the archive has a file of that name."""
        return entry in self.sizes

    def read(self, entry: str, limit: int = MAX_ENTRY_BYTES) -> bytes:
        """The entry's bytes.

        Raises:
            LilliputError: no such entry, more bytes than `limit`, or a damaged one.
        """
        if entry not in self.sizes:
            raise LilliputError(f"{self.name} has no entry {entry!r}; it may be incomplete, save it again")
        if self.sizes[entry] > limit:
            raise LilliputError(f"{self.name}: entry {entry!r} has {self.sizes[entry]} bytes; at most {limit} are read")
        try:
            data = self._zip.read(entry)
        except _DAMAGE as error:
            raise LilliputError(
                f"{self.name}: entry {entry!r} is damaged ({_one_line(error)}); save or download it again"
            ) from error
        if len(data) != self.sizes[entry]:
            raise LilliputError(
                f"{self.name}: entry {entry!r} has {len(data)} bytes, {self.sizes[entry]} announced; save or download "
                "it again"
            )
        return data


def read_archive(data: bytes, name: str) -> Archive:
    """The zip file in `data`, its directory checked.

    Raises:
        LilliputError: not a zip file, or one that no framework writes: too large, packed too tightly, encrypted, with
            duplicate names or names that leave the archive.
    """
    try:
        opened = zipfile.ZipFile(io.BytesIO(data))
        entries = opened.infolist()
    except _DAMAGE as error:
        raise LilliputError(
            f"{name} is not a readable zip archive ({_one_line(error)}); save or download it again"
        ) from error
    if len(entries) > MAX_ENTRIES:
        raise LilliputError(f"{name} has {len(entries)} entries; at most {MAX_ENTRIES} are read")
    sizes: dict[str, int] = {}
    for entry in entries:
        _check_entry(entry, name)
        if entry.is_dir():
            continue
        if entry.filename in sizes:
            raise LilliputError(
                f"{name} has the entry {entry.filename[:80]!r} twice; it was not written by a training framework"
            )
        sizes[entry.filename] = entry.file_size
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise LilliputError(f"{name} unpacks to {sum(sizes.values())} bytes; at most {MAX_TOTAL_BYTES} are read")
    return Archive(name, sizes, opened)


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    shown = repr(entry.orig_filename[:80])
    parts = entry.orig_filename.removesuffix("/").split("/")
    if (
        "\\" in entry.orig_filename
        or (len(parts[0]) == 2 and parts[0].endswith(":"))  # a drive; else torch.save names the folder after the file
        or any(part in ("", ".", "..") for part in parts)
        or not entry.orig_filename.isprintable()
    ):
        raise LilliputError(f"{name} has an entry named {shown}; names must stay inside the archive")
    if entry.flag_bits & _ENCRYPTED:
        raise LilliputError(f"{name}: entry {shown} is encrypted; save it without a password")
    if entry.compress_type not in _METHODS:
        raise LilliputError(
            f"{name}: entry {shown} is packed by method {entry.compress_type}; supported: stored, deflate"
        )
    if entry.file_size > MAX_ENTRY_BYTES:
        raise LilliputError(f"{name}: entry {shown} has {entry.file_size} bytes; at most {MAX_ENTRY_BYTES} are read")
    if entry.file_size > RATIO_FREE_BYTES and entry.file_size > MAX_RATIO * entry.compress_size:
        raise LilliputError(
            f"{name}: entry {shown} unpacks {entry.compress_size} bytes to {entry.file_size}; at most {MAX_RATIO} "
            "times are read"
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
