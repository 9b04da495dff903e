"""Which values of a TorchScript program share memory: what is written in place changes every name of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.policies.load.flow import Choices, Flow, Value


@final
class WritesInPlace(LilliputError):
    """What is refused because the program writes in place, or remembers."""


@final
@dataclass(eq=False)
class Places:
    """The memory of a program's values, each of which is one object here, as in torch.

    Attributes:
        place: by a value's id, the number of what it shares memory with.
        held: by that number, the values there that are not spent.
        after: by a value's id, what the same tensor holds since it was written in place.
        spent: ids of values whose memory was written through another one.
        seen: every value that was noted, so that no id is given again.
    """

    place: dict[int, int] = field(default_factory=dict)
    held: dict[int, list[Value]] = field(default_factory=dict)
    after: dict[int, Value] = field(default_factory=dict)
    spent: set[int] = field(default_factory=set)
    seen: list[Value] = field(default_factory=list)

    def now(self, value: Any) -> Any:
        """What a value, or each in a list, holds now.

        Raises:
            WritesInPlace: its memory was written through another value.
        """
        if isinstance(value, tuple | list):
            return type(value)(self.now(one) for one in value)
        if not isinstance(value, Flow | Choices):
            return value
        last = self._last(value)
        if id(last) in self.spent:
            raise WritesInPlace(
                "a value is used again that was overwritten in place, through a view of it or another name"
            )
        return last

    def made(self, name: str, given: list[Any], result: Any) -> Any:
        """What the operator gives, noted as sharing the memory of what it may be a view of."""
        if isinstance(result, tuple | list):
            return type(result)(self.made(name, given, one) for one in result)
        if not isinstance(result, Flow | Choices):
            return result
        sources = list(values(given))
        own = replace(result) if any(one is result for one in sources) else result
        # A view computes nothing: its elements are those of the same link. A copy that torch may make counts as one.
        shared = [] if name == "clone" else [one for one in sources if _same_numbers(one, own)]
        places = sorted({self._place(one) for one in shared})
        for other in places[1:]:
            for one in self.held.pop(other):
                self._note(one, places[0])
        self._note(own, places[0] if places else len(self.seen))
        return own

    def overwrite(self, value: Value, result: Value) -> Value:
        """What the value holds from now on; all others in its memory are spent."""
        own, at = replace(result), self._place(value)
        self.spent.update(id(one) for one in self.held.pop(at) if one is not value)
        self.after[id(value)] = own
        self._note(own, at)
        return own

    def _last(self, value: Value) -> Value:
        last, passed = value, []
        while id(last) in self.after:
            passed.append(last)
            last = self.after[id(last)]
        for one in passed:
            self.after[id(one)] = last
        return last

    def _place(self, value: Value) -> int:
        if id(value) not in self.place:
            self._note(value, len(self.seen))
        return self.place[id(value)]

    def _note(self, value: Value, at: int) -> None:
        self.seen.append(value)
        self.place[id(value)] = at
        self.held.setdefault(at, []).append(value)


def values(given: Any) -> Iterator[Value]:
    """The values that vary, in lists of lists."""
    if isinstance(given, Flow | Choices):
        yield given
    elif isinstance(given, tuple | list):
        for one in given:
            yield from values(one)


def _same_numbers(a: Value, b: Value) -> bool:
    if isinstance(a, Flow) and isinstance(b, Flow):
        return a.link is b.link
    return isinstance(a, Choices) and isinstance(b, Choices)
