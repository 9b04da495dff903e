"""A pickle read as data: names, arguments and values, never a call, an import or an attribute.

The standard unpickler runs whatever a file names. This one is a stack machine of its own: where a pickle says "call f
with these arguments", it notes a `InertCall` that says so. What a record means is decided by whoever reads it
(`inert_numpy`, `torch_file`, `vecnormalize`, `sb3_data`).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

from lilliput.errors import LilliputError

MAX_PICKLE_BYTES = 64 << 20
MAX_BITS = 256
"""Of an integer: states of generators of random numbers take 128."""
MAX_OPERATIONS = 200_000
"""Each makes at most a few hundred bytes; a policy's pickles take some thousands."""


@final
@dataclass(frozen=True)
class Global:
    """A name that the pickle mentions; nothing was imported."""

    module: str
    name: str


@final
@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something kept outside of the pickle."""

    key: Any


@final
@dataclass(eq=False)
class InertCall:
    """A call that was not made: what would have been called, with what, and what would have been put into it."""

    maker: Any
    args: Any
    state: Any = None
    items: list[tuple[Any, Any]] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)


DICT = Global("builtins", "dict")
SET = Global("builtins", "set")
ORDERED_DICT = Global("collections", "OrderedDict")
STOP = ord(".")


def is_call(value: Any, *makers: Global) -> bool:
    """Whether the value is a record of a call of one of these names."""
    return isinstance(value, InertCall) and isinstance(value.maker, Global) and value.maker in makers


def string_keys(value: Any) -> dict[str, Any] | None:
    """A pickled dict or OrderedDict as a dict of its text keys; None where the value is something else."""
    if not is_call(value, DICT, ORDERED_DICT):
        return None
    return {key: item for key, item in value.items if isinstance(key, str)}


def state_of(value: Any) -> dict[str, Any] | None:
    """The attributes that a pickled object would have had; None where the value is no object or has none."""
    return string_keys(value.state) if isinstance(value, InertCall) else None


def read_pickle(data: bytes, name: str, start: int = 0) -> tuple[Any, int]:
    """The value pickled at `start`, and the offset behind it.

    Raises:
        LilliputError: not a pickle, a damaged one, or one of a size that no policy needs.
    """
    machine = _Machine(data, start)
    try:
        return machine.run(), machine.position
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise LilliputError(
            f"{name} is not a readable pickle (byte {machine.position}); save or download it again"
        ) from error
    except _TooLarge as error:
        raise LilliputError(f"{name} is a pickle with more than {error}; no policy needs that") from error


class _TooLarge(Exception):
    pass


@final
class _Machine:
    """The pickle stack machine; see CPython's pickletools for the meaning of each operation."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        # Behind a pickle there may be storages (torch's old format): only the pickle itself is bounded.
        limit = self.position + MAX_PICKLE_BYTES
        for _ in range(MAX_OPERATIONS):
            operation = self.data[self.position]
            self.position += 1
            if self.position > limit:
                raise _TooLarge(f"{MAX_PICKLE_BYTES} bytes")
            if operation == STOP:
                return self.stack.pop()
            _OPERATIONS[operation](self)
        raise _TooLarge(f"{MAX_OPERATIONS} operations")

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.position:
            raise ValueError("the pickle is truncated")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line_bytes(self) -> bytes:
        end = self.data.index(b"\n", self.position)
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    def line(self) -> str:
        return self.line_bytes().decode("utf-8")

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.members if isinstance(target, InertCall) else _checked_list(target)).extend(values)

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, InertCall) or len(flat) % 2:
            raise ValueError("items for something that takes none")
        target.items.extend(zip(flat[::2], flat[1::2], strict=True))

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], InertCall):
            self.stack[-1].state = state

    def call(self, maker: Any, args: Any) -> None:
        self.push(InertCall(maker, args))

    def reduce(self) -> None:
        args = self.stack.pop()
        self.call(self.stack.pop(), args)

    def new_object_with_keywords(self) -> None:
        keywords, args = self.stack.pop(), self.stack.pop()
        self.call(self.stack.pop(), args)
        self.stack[-1].state = keywords

    def pop(self) -> None:
        # POP right behind a MARK removes the mark.
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise ValueError("the stack is too short")
        self.stack[-count:] = [items]

    def object_of_mark(self) -> None:
        maker, *args = self.since_mark()
        self.call(maker, tuple(args))

    def instance(self) -> None:
        maker = Global(self.line(), self.line())
        self.call(maker, tuple(self.since_mark()))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global's name is not text")
        self.push(_global(module, name))

    def dict_of_mark(self) -> None:
        flat = self.since_mark()
        self.call(DICT, ())
        self.set_items(flat)

    def appended(self) -> None:
        self.append([self.stack.pop()])

    def appended_all(self) -> None:
        self.append(self.since_mark())

    def item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def frozen_set(self) -> None:
        record = InertCall(SET, ())
        record.members.extend(self.since_mark())
        self.push(record)

    def whole(self, number: int) -> None:
        # Larger ones are neither printed nor made floats by Python without an error.
        if number.bit_length() > MAX_BITS:
            raise _TooLarge(f"{MAX_BITS} bits in an integer")
        self.push(number)

    def integer(self) -> None:
        text = self.line()
        self.push(text == "01") if text in ("00", "01") else self.whole(int(text))

    def long(self, count: int) -> None:
        self.whole(int.from_bytes(self.take(count), "little", signed=True))

    def quoted(self) -> None:
        text = self.line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'" or "\\" in text:
            raise ValueError("a string is not quoted")
        self.push(text[1:-1])


def _drop(_: Any) -> None:
    """Take the place of a value that has no meaning here."""


def _checked_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("members for something that takes none")
    return value


def _global(module: str, name: str) -> Global:
    # Python 2 names, as protocols 0 to 2 write them.
    return Global({"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module), name)


_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord("0"): _Machine.pop,
    ord("1"): lambda m: _drop(m.since_mark()),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("I"): _Machine.integer,
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("L"): lambda m: m.whole(int(m.line().removesuffix("L"))),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("N"): lambda m: m.push(None),
    ord("P"): lambda m: m.push(Persistent(m.line())),
    ord("Q"): lambda m: m.push(Persistent(m.stack.pop())),
    ord("R"): _Machine.reduce,
    ord("S"): _Machine.quoted,
    ord("T"): lambda m: m.push(m.take(m.number("<i")).decode("latin-1")),
    ord("U"): lambda m: m.push(m.take(m.number("<B")).decode("latin-1")),
    ord("V"): lambda m: m.push(m.line_bytes().decode("raw-unicode-escape")),
    ord("X"): lambda m: m.push(m.take(m.number("<I")).decode("utf-8", "surrogatepass")),
    ord("a"): _Machine.appended,
    ord("b"): _Machine.build,
    ord("c"): lambda m: m.push(_global(m.line(), m.line())),
    ord("d"): _Machine.dict_of_mark,
    ord("e"): _Machine.appended_all,
    ord("g"): lambda m: m.push(m.memo[int(m.line())]),
    ord("h"): lambda m: m.push(m.memo[m.number("<B")]),
    ord("i"): _Machine.instance,
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("o"): _Machine.object_of_mark,
    ord("p"): lambda m: m.remember(int(m.line())),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("s"): _Machine.item,
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    ord("u"): lambda m: m.set_items(m.since_mark()),
    ord("}"): lambda m: m.call(DICT, ()),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("B"): lambda m: m.push(m.take(m.number("<I"))),
    ord("C"): lambda m: m.push(m.take(m.number("<B"))),
    0x80: lambda m: _drop(m.number("<B")),  # PROTO
    0x81: _Machine.reduce,  # NEWOBJ
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x8A: lambda m: m.long(m.number("<B")),
    0x8B: lambda m: m.long(m.number("<i")),
    0x8C: lambda m: m.push(m.take(m.number("<B")).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.push(m.take(m.number("<Q")).decode("utf-8", "surrogatepass")),
    0x8E: lambda m: m.push(m.take(m.number("<Q"))),
    0x8F: lambda m: m.call(SET, ()),
    0x90: _Machine.appended_all,  # ADDITEMS
    0x91: _Machine.frozen_set,
    0x92: _Machine.new_object_with_keywords,
    0x93: _Machine.stack_global,
    0x94: lambda m: m.remember(len(m.memo)),
    0x95: lambda m: _drop(m.number("<Q")),  # FRAME
    0x96: lambda m: m.push(m.take(m.number("<Q"))),  # BYTEARRAY8
}
