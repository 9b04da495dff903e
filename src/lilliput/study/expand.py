"""Recipe text of a study, with ranges and lists, as the recipe texts that it stands for.

`ratio=0.1..0.5 step 0.1` and `["l1", "l2"]` are choices; a tuple is a value. Nothing here knows a step: whatever the
text stands for is parsed afterwards.
"""

import itertools
import math
import re
from decimal import Decimal

from lilliput.errors import LilliputError

MAX_TEXTS = 10_000

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?<![\w.])({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+step\s+({_NUMBER}))?(?![\w.])")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


def expand(text: str) -> tuple[str, ...]:
    """The texts that a text with choices stands for, the last choice changing fastest; itself where it has none.

    >>> expand('prune_units(ratio=0.1..0.3 step 0.1)')
    ('prune_units(ratio=0.1)', 'prune_units(ratio=0.2)', 'prune_units(ratio=0.3)')
    >>> expand('[half(), quantize(weight_bits=[4, 8])]')
    ('half()', 'quantize(weight_bits=4)', 'quantize(weight_bits=8)')

    Raises:
        LilliputError: a range or a list that is not one, or too many texts.
    """
    parts = _parts(text)
    if math.prod(len(part) for part in parts) > MAX_TEXTS:
        raise LilliputError(f"recipe: {_short(text)} stands for more than {MAX_TEXTS:,} recipes; split or shorten it")
    return tuple("".join(chosen) for chosen in itertools.product(*parts))


def _parts(text: str) -> list[tuple[str, ...]]:
    """The text cut where there is a choice: each part with all that may stand there."""
    parts: list[tuple[str, ...]] = []
    plain = 0
    at = 0
    while at < len(text):
        if string := _STRING.match(text, at):
            at = string.end()
            continue
        if found := _RANGE.match(text, at):
            parts += [(text[plain:at],), _numbers(found)]
            plain = at = found.end()
        elif text[at] == "[":
            items, end = _items(text, at)
            parts += [(text[plain:at],), tuple(one for item in items for one in expand(item))]
            plain = at = end
        elif text[at] == "]":
            raise LilliputError(f"recipe: {_short(text)} has a ']' without its '['")
        else:
            at += 1
    return [*parts, (text[plain:],)]


def _items(text: str, start: int) -> tuple[list[str], int]:
    """The items of the list that opens at `start`, and where the text goes on."""
    items, begin, depth, at = [], start + 1, 0, start + 1
    while at < len(text):
        if string := _STRING.match(text, at):
            at = string.end()
            continue
        character = text[at]
        if depth == 0 and character in ",]":
            items.append(text[begin:at].strip())
            begin = at + 1
            if character == "]":
                if items[-1] == "":  # a comma before the end
                    items.pop()
                if not items or "" in items:
                    raise LilliputError(f"recipe: {_short(text)} has a list without choices; write [a, b]")
                return items, at + 1
        depth += (character in "([") - (character in ")]")
        at += 1
    raise LilliputError(f"recipe: {_short(text)} has a '[' without its ']'")


def _numbers(found: re.Match[str]) -> tuple[str, ...]:
    """Every number of a range, both ends included, exactly as decimals."""
    first, last, step = Decimal(found[1]), Decimal(found[2]), found[3]
    if step is None and (first % 1 or last % 1):
        raise LilliputError(f"recipe: the range {found[0]} has no step; write {found[1]}..{found[2]} step 0.1")
    size = Decimal(step) if step is not None else Decimal(1)
    if size <= 0 or last < first:
        raise LilliputError(f"recipe: the range {found[0]} is empty; write low..high step size, with a size above 0")
    n = int((last - first) / size) + 1
    if n > MAX_TEXTS:
        raise LilliputError(f"recipe: the range {found[0]} has {n:,} numbers; at most {MAX_TEXTS:,} are allowed")
    return tuple(str(first + k * size) for k in range(n))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
