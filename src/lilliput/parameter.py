"""What the literal parameters of a recipe's step or a task may be: each of its declared type, within its bounds."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args, get_origin

from lilliput import recipe
from lilliput.errors import LilliputError, closest

Kind = TypeVar("Kind")


def called(call: recipe.Call, table: Mapping[str, type[Kind]], what: str = "step") -> Kind:
    """What the call makes: one of the table's dataclasses.

    Raises:
        LilliputError: it names none of them, or its arguments do not fit.
    """
    name = call.name
    if name not in table:
        near = closest(name, table)
        raise LilliputError(f"recipe: unknown {what} {name[:40]!r}; {near}{what}s: {', '.join(table)}")
    if call.bare:
        raise LilliputError(f"recipe: {name} is a {what}; write {name}() or {name}(name=value, ...)")
    kind: Any = table[name]
    return kind(**checked_arguments(kind, recipe.arguments_of(call, recipe.fields_of(kind))))


def checked_arguments(kind: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, each of its declared type; an integer given for a real number becomes one.

    Raises:
        LilliputError: one is of another type.
    """
    hints = _hints(kind)
    checked = {}
    for name, value in arguments.items():
        if hints[name] is float and type(value) is int and abs(value) < 1 << 63:
            value = float(value)
        if not _fits(value, hints[name]):
            shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
            raise LilliputError(f"{kind.NAME}: {name} is {shown}; {_allowed(value, hints[name])}")
        checked[name] = value
    return checked


@lru_cache
def _hints(kind: type[Any]) -> Mapping[str, Any]:
    """The declared types: a search makes thousands of steps of one kind."""
    return typing.get_type_hints(kind)


def check_fields(step: Any) -> None:
    """Put the fields of a step under construction in their declared types.

    Raises:
        LilliputError: one is of another type.
    """
    values = {field.name: getattr(step, field.name) for field in fields(step)}
    for name, value in checked_arguments(type(step), values).items():
        object.__setattr__(step, name, value)


def check_ratio(step: Any, name: str, value: float) -> None:
    """Check that the value is in [0, 1).

    Raises:
        LilliputError: it is not.
    """
    if not 0 <= value < 1:
        raise LilliputError(f"{step.NAME}: {name} is {value:g}; it must be in [0, 1)")


def check_integer(step: Any, name: str, value: int, low: int, high: int) -> None:
    """Check that the value is from `low` to `high`.

    Raises:
        LilliputError: it is not.
    """
    if not low <= value <= high:
        raise LilliputError(f"{step.NAME}: {name} is {value}; it must be from {low} to {high}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(type(value) is type(allowed) and value == allowed for allowed in get_args(hint))
    if get_origin(hint) is tuple:
        return type(value) is tuple and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if hint is float:
        return type(value) is float
    return type(value) is hint and (hint is not int or abs(value) < 1 << 63)


def _allowed(value: Any, hint: Any) -> str:
    if get_origin(hint) is Literal:
        allowed = [str(item) for item in get_args(hint)]
        return f"{closest(value, allowed) if isinstance(value, str) else ''}allowed: {', '.join(allowed)}"
    return f"it must be {_describe(hint)}"


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(f'"{item}"' for item in get_args(hint))
    if get_origin(hint) is tuple:
        return "a tuple of " + {int: "integers", float: "numbers", str: "strings"}[get_args(hint)[0]]
    if get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in get_args(hint))
    names = {int: "an integer", float: "a number", bool: "True or False", str: "a string", type(None): "None"}
    return names[hint]
