"""HDF5 files as HDF5's library writes them by default: groups, texts beside them and arrays; nothing is executed.

Specification: The HDF Group, HDF5 File Format Specification 3.0: the superblock of version 0, object headers of
version 1, groups by a B-tree of version 1, datasets that stand in one piece.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from lilliput.errors import LilliputError

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
MAX_MESSAGES: Final = 4096
MAX_MEMBERS: Final = 4096
MAX_TEXT: Final = 1 << 20
MAX_NAME: Final = 1 << 10
_FLOATS: Final = {4: ("<f4", (0, 32, 23, 8, 0, 23, 127)), 8: ("<f8", (0, 64, 52, 11, 0, 52, 1023))}
_DATASPACE, _DATATYPE, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _TABLE = 1, 3, 8, 11, 12, 16, 17


@final
@dataclass(frozen=True, eq=False)
class Hdf5:
    """A file: its objects by the address of their headers.

    Attributes:
        data: its bytes; name: what errors call it.
    """

    data: bytes
    name: str

    @property
    def root(self) -> int:
        """The address of the root group.

        Raises:
            LilliputError: a superblock of another version than HDF5's default.
        """
        version, sizes = self._numbers("<B4xBB", 8)[0], self._numbers("<BB", 13)
        if version or sizes != (8, 8) or self._numbers("<Q", 24)[0]:
            raise LilliputError(
                f"{self.name} is an HDF5 file of version {version}; supported: that of the library's default, which "
                "h5repack writes"
            )
        return self._numbers("<Q", 64)[0]

    def members(self, address: int) -> dict[str, int]:
        """The objects in a group, by name; none of a dataset.

        Raises:
            LilliputError: the file is damaged, or a link leads elsewhere.
        """
        table = self._message(address, _TABLE)
        if table is None:
            return {}
        tree, heap = self._numbers("<QQ", table[0])
        names = self._signed(heap, b"HEAP", "<20xQ")[0]
        found: dict[str, int] = {}
        for node in self._leaves(tree):
            for index in range(self._signed(node, b"SNOD", "<xxH")[0]):
                name, header, link = self._numbers("<QQI", node + 8 + 40 * index)
                if link == 2 or len(found) >= MAX_MEMBERS:
                    raise LilliputError(f"{self.name} has links to elsewhere, or more than {MAX_MEMBERS} in a group")
                key = self._text_at(names + name)
                if key in found:
                    raise self._damaged("a group")
                found[key] = header
        return found

    def text(self, address: int, key: str) -> str | None:
        """The text of this name that stands beside an object (its attribute); None where there is none.

        Raises:
            LilliputError: the file is damaged.
        """
        wanted = key.encode() + b"\0"
        for at, size in self._messages(address, _ATTRIBUTE):
            version, _, *sizes = self._numbers("<BBHHH", at)
            start, parts = at + 8 + (version == 3), []
            for length in sizes:
                parts.append(start)
                start += -(-length // 8) * 8 if version == 1 else length
            if version not in (1, 2, 3) or start > at + size:
                raise self._damaged("an attribute")
            if self.data.startswith(wanted, parts[0]):
                return self._text_of(parts[1], start)
        return None

    def array(self, address: int, what: str) -> np.ndarray:
        """The dataset's numbers.

        Raises:
            LilliputError: it is none, or not of float32 or float64 in one piece.
        """
        space, kind, layout = (self._message(address, one) for one in (_DATASPACE, _DATATYPE, _LAYOUT))
        if space is None or kind is None or layout is None:
            raise LilliputError(f"{self.name} has no numbers in {what}; save it again")
        shape = self._shape(space[0])
        code, size = self._numbers("<B3xI", kind[0])
        dtype, form = _FLOATS.get(size, ("", ()))
        plain = code & 15 == 1 and self._numbers("<B", kind[0] + 1)[0] & 1 == 0
        if not plain or not dtype or self._numbers("<HHBBBBI", kind[0] + 8) != form:
            raise LilliputError(f"{self.name}: {what} is not of float32 or float64; save it so")
        version, storage = self._numbers("<BB", layout[0])
        if version not in (3, 4) or storage not in (0, 1) or self._message(address, _FILTERS) is not None:
            raise LilliputError(f"{self.name}: {what} stands in chunks; h5repack -l CONTI writes it in one piece")
        count = math.prod(shape)
        start, there = (
            (layout[0] + 4, self._numbers("<H", layout[0] + 2)[0])
            if storage == 0
            else self._numbers("<QQ", layout[0] + 2)
        )
        if not count or count * size > there or start + count * size > len(self.data):
            raise self._damaged(what)
        return np.frombuffer(self.data, dtype, count, start).reshape(shape)

    def _damaged(self, what: str) -> LilliputError:
        return LilliputError(f"{self.name}: {what} reaches outside of the file or makes no sense; it is damaged")

    def _numbers(self, form: str, at: int) -> tuple[int, ...]:
        if at + struct.calcsize(form) > len(self.data):
            raise self._damaged("a part")
        return struct.unpack_from(form, self.data, at)

    def _signed(self, at: int, signature: bytes, form: str) -> tuple[int, ...]:
        """Numbers behind a structure's signature."""
        if self.data[at : at + 4] != signature:
            raise self._damaged(signature.decode())
        return self._numbers(form, at + 4)

    def _text_at(self, at: int) -> str:
        end = self.data.find(b"\0", at, at + MAX_NAME)
        if end < 0:
            raise self._damaged("a name")
        return self.data[at:end].decode("utf-8", "replace")

    def _leaves(self, tree: int) -> list[int]:
        """The addresses of the tree's leaves, in order."""
        found: list[int] = []
        todo = [tree]
        for _ in range(MAX_MEMBERS):
            if not todo:
                return found
            node = todo.pop()
            kind, level, used = self._signed(node, b"TREE", "<BBH")
            if kind or used > MAX_MEMBERS:
                break
            children = [self._numbers("<Q", node + 32 + 16 * index)[0] for index in range(used)]
            if level:
                todo += children[::-1]
            else:
                found += children
            if len(todo) + len(found) > MAX_MEMBERS:
                break
        raise self._damaged("a group")

    def _messages(self, address: int, wanted: int) -> Iterator[tuple[int, int]]:
        """Where such messages of an object's header stand, and how many bytes they have."""
        version, count, size = self._numbers("<BxHxxxxI", address)
        if version != 1 or count > MAX_MESSAGES:
            raise LilliputError(
                f"{self.name} has object headers of version {version}, or too long ones; supported: those of HDF5's "
                "default, which h5repack writes"
            )
        blocks, left = [(address + 16, size)], count
        while blocks and left > 0:
            at, room = blocks.pop(0)
            end = at + room
            while at + 8 <= end and left > 0:
                kind, length, flags = self._numbers("<HHB", at)
                left -= 1
                if kind == _CONTINUATION:
                    blocks.append(self._numbers("<QQ", at + 8))  # type: ignore[arg-type]
                elif kind == wanted:
                    if flags & 2:
                        raise LilliputError(f"{self.name} shares types between its objects; h5repack writes it without")
                    if at + 8 + length > len(self.data):
                        raise self._damaged("a header")
                    yield at + 8, length
                at += 8 + length

    def _message(self, address: int, wanted: int) -> tuple[int, int] | None:
        return next(self._messages(address, wanted), None)

    def _shape(self, at: int) -> tuple[int, ...]:
        version, rank, _, _ = self._numbers("<BBBB", at)
        if version not in (1, 2) or rank > 8:
            raise self._damaged("a shape")
        return self._numbers(f"<{rank}Q", at + (8 if version == 1 else 4))

    def _text_of(self, kind: int, at: int) -> str | None:
        """The text at a place, by the type that stands elsewhere; None where it is none."""
        code, size = self._numbers("<B3xI", kind)
        if code & 15 == 3 and size <= MAX_TEXT:
            return self.data[at : at + size].split(b"\0")[0].decode("utf-8", "replace")
        if code & 15 != 9 or self._numbers("<B", kind + 1)[0] & 15 != 1:
            return None
        length, collection, wanted = self._numbers("<IQI", at)
        if length > MAX_TEXT:
            return None
        end = collection + self._signed(collection, b"GCOL", "<4xQ")[0]
        place = collection + 16
        for _ in range(MAX_MESSAGES):
            if place + 16 > min(end, len(self.data)):
                break
            index, room = self._numbers("<HxxxxxxQ", place)
            if index == wanted and length <= room:
                return self.data[place + 16 : place + 16 + length].split(b"\0")[0].decode("utf-8", "replace")
            place += 16 + -(-room // 8) * 8
        raise self._damaged("a text")
