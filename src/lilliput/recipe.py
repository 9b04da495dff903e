"""The grammar of recipes, which knows no step: calls with literal arguments, joined by `|`, with ranges and choices.

`prune_units(ratio=0.5) | quantize(weight_bits=8)` is two calls. In a study `ratio=0.1..0.5 step 0.1` and `["l1", "l2"]`
are choices and a tuple is a value. Text is parsed, never evaluated.
"""

import ast
import dataclasses
import itertools
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast, final

from lilliput.errors import LilliputError, closest
from lilliput.syntax import parse_expression

MAX_CHARACTERS = 4096
MAX_CALLS = 32
MAX_TEXTS = 10_000

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?<![\w.])({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+step\s+({_NUMBER}))?(?![\w.])")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


@final
@dataclass(frozen=True)
class Call:
    """A name with its arguments: numbers, strings, True, False, None and tuples of them.

    Attributes:
        positional: the values without a name; named: the others, in order.
        bare: whether it is a name alone, without parentheses.
    """

    name: str
    named: tuple[tuple[str, Any], ...] = ()
    positional: tuple[Any, ...] = ()
    bare: bool = False

    def get(self, parameter: str) -> Any:
        """The argument of that name, or None."""
        return dict(self.named).get(parameter)


def parse(text: str) -> tuple[Call, ...]:
    """The calls that the text joins; none for an empty text.

    >>> parse("prune_units(0.5) | half()")[0]
    Call(name='prune_units', named=(), positional=(0.5,), bare=False)

    Raises:
        LilliputError: the text is not a recipe; the error says where.
    """
    if len(text) > MAX_CHARACTERS:
        raise LilliputError(f"recipe: the text has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text.strip():
        return ()
    if "#" in text:
        raise LilliputError("recipe: '#' is not allowed; a recipe has no comments")
    calls = tuple(_call(node) for node in _joined(_tree(" ".join(text.split()))))
    if len(calls) > MAX_CALLS:
        raise LilliputError(f"recipe: {len(calls)} steps; at most {MAX_CALLS} are allowed")
    return calls


def format_calls(calls: Iterable[Call]) -> str:
    """The text that `parse` reads back.

    >>> format_calls((Call("quantize", (("weight_bits", 4), ("scheme", "static"))), Call("half")))
    'quantize(weight_bits=4, scheme="static") | half()'
    """
    return " | ".join(_text(call) for call in calls)


def call_of(name: str, instance: Any) -> Call:
    """The call that makes a dataclass of literal fields: by name, in the order of declaration, defaults left out."""
    given = []
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.default is dataclasses.MISSING or value != field.default or type(value) is not type(field.default):
            given.append((field.name, value))
    return Call(name, tuple(given))


def arguments_of(call: Call, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by parameter, of those that a dataclass has; what is left out is not there.

    Args:
        call: as it was parsed.
        parameters: its dataclass's fields by name.

    Raises:
        LilliputError: more values than parameters, an unknown or repeated one, or one that is missing.
    """
    name = call.name
    if len(call.positional) > len(parameters):
        raise LilliputError(
            f"{name}: {len(call.positional)} values without a name; it has {len(parameters)} parameters"
        )
    arguments: dict[str, Any] = {}
    for parameter, value in [*zip(parameters, call.positional, strict=False), *call.named]:
        if parameter not in parameters:
            known = f"it takes {', '.join(parameters)}" if parameters else "it takes none"
            near = closest(parameter, parameters)
            raise LilliputError(f"{name}: unknown parameter {parameter[:40]!r}; {near}{known}")
        if parameter in arguments:
            raise LilliputError(f"{name}: {parameter} is given twice")
        arguments[parameter] = value
    for parameter, field in parameters.items():
        if parameter not in arguments and field.default is dataclasses.MISSING:
            raise LilliputError(f"{name}: {parameter} is missing; write {name}({parameter}=...)")
    return arguments


def fields_of(kind: type) -> dict[str, Any]:
    """The fields of a dataclass by name: the parameters of its call."""
    return {field.name: field for field in dataclasses.fields(cast(Any, kind))}


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


def _text(call: Call) -> str:
    if call.bare:
        return call.name
    values = [_literal(value) for value in call.positional]
    return f"{call.name}({', '.join([*values, *(f'{name}={_literal(value)}' for name, value in call.named)])})"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            # What Python would only warn of (an odd escape, say) is no literal of a recipe.
            warnings.simplefilter("error")
            return parse_expression(text)
    except SyntaxError as error:
        at = max((error.offset or 1) - 1, 0)
        found = repr(text[at : at + 20]) if text[at:] else "its end"
        raise LilliputError(f"recipe: not understood at {found}; write step(name=value, ...) | step(...)") from None
    except (ValueError, RecursionError, MemoryError):
        raise LilliputError("recipe: nested too deeply, or not text; write step(name=value, ...) | step(...)") from None


def _joined(tree: ast.expr) -> list[ast.expr]:
    found = []
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        found.append(tree.right)
        tree = tree.left
    return [tree, *reversed(found)]


def _call(node: ast.expr) -> Call:
    if isinstance(node, ast.Name):
        return Call(node.id, bare=True)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise LilliputError(f"recipe: {_shown(node)} is no step; write step(name=value, ...) | step(...)")
    name = node.func.id
    if any(isinstance(value, ast.Starred) for value in node.args) or any(word.arg is None for word in node.keywords):
        raise LilliputError(f"{name[:40]}: '*' is not allowed; write name=value")
    positional = tuple(_value(name, "a value", value) for value in node.args)
    named = tuple((str(word.arg), _value(name, str(word.arg), word.value)) for word in node.keywords)
    return Call(name, named, positional)


def _value(call: str, parameter: str, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)) if (
            type(value) is not bool
        ):
            return -value if isinstance(sign, ast.USub) else value
        case ast.Tuple(elts=items):
            return tuple(_value(call, parameter, item) for item in items)
        case ast.Name(id=name) if name.capitalize() in ("True", "False", "None"):
            raise LilliputError(f"{call[:40]}: {parameter[:40]} is {name}; write {name.capitalize()}")
        case ast.Name(id=name):
            raise LilliputError(
                f"{call[:40]}: {parameter[:40]} is {name[:40]} without quotes; write it as text, in quotes: "
                f'"{name[:40]}"'
            )
        case _:
            raise LilliputError(
                f"{call[:40]}: {parameter[:40]} is {_shown(node)}; it must be a plain number, string or tuple"
            )


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return "something nested too deeply"
    return repr(text if len(text) <= 40 else text[:37] + "...")


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


def _numbers(match: re.Match[str]) -> tuple[str, ...]:
    """Every number of a range, both ends included, exactly as decimals."""
    first, last, step = Decimal(match[1]), Decimal(match[2]), match[3]
    if step is None and (first % 1 or last % 1):
        raise LilliputError(f"recipe: the range {match[0]} has no step; write {match[1]}..{match[2]} step 0.1")
    size = Decimal(step) if step is not None else Decimal(1)
    if size <= 0 or last < first:
        raise LilliputError(f"recipe: the range {match[0]} is empty; write low..high step size, with a size above 0")
    n = int((last - first) / size) + 1
    if n > MAX_TEXTS:
        raise LilliputError(f"recipe: the range {match[0]} has {n:,} numbers; at most {MAX_TEXTS:,} are allowed")
    return tuple(str(first + k * size) for k in range(n))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
