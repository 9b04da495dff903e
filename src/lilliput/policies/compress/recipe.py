"""Recipes as text: `prune_units(ratio=0.5) | quantize(weight_bits=8)`, the one identity of an experiment.

The text is parsed, never evaluated: calls of known steps with literal arguments, joined by `|`.
"""

import ast
import dataclasses
import json
import warnings
from typing import Any, cast

from lilliput.errors import LilliputError
from lilliput.policies.compress.step import Step, checked_arguments, closest
from lilliput.policies.compress.table import STEPS

Recipe = tuple[Step, ...]

MAX_CHARACTERS = 4096
MAX_STEPS = 32


def parse(text: str) -> Recipe:
    """The steps that the text names; none for an empty text.

    >>> format_recipe(parse("prune_units( 0.5 )|half( )"))
    'prune_units(ratio=0.5) | half()'

    Raises:
        LilliputError: the text is not a recipe; the error says where.
    """
    if len(text) > MAX_CHARACTERS:
        raise LilliputError(f"recipe: the text has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text.strip():
        return ()
    if "#" in text:
        raise LilliputError("recipe: '#' is not allowed; a recipe has no comments")
    steps = tuple(_step(node) for node in _calls(_tree(" ".join(text.split()))))
    if len(steps) > MAX_STEPS:
        raise LilliputError(f"recipe: {len(steps)} steps; at most {MAX_STEPS} are allowed")
    return steps


def format_recipe(recipe: Recipe) -> str:
    """The canonical text: parameters by name, in the order of their declaration, defaults left out."""
    return " | ".join(_format_step(step) for step in recipe)


def _format_step(step: Step) -> str:
    given = []
    for field in dataclasses.fields(cast(Any, step)):
        value = getattr(step, field.name)
        if field.default is dataclasses.MISSING or value != field.default or type(value) is not type(field.default):
            given.append(f"{field.name}={_literal(value)}")
    return f"{step.NAME}({', '.join(given)})"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error"
            )  # what Python would only warn of (an odd escape, say) is no literal of a recipe
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        at = max((error.offset or 1) - 1, 0)
        found = repr(text[at : at + 20]) if text[at:] else "its end"
        raise LilliputError(f"recipe: not understood at {found}; write step(name=value, ...) | step(...)") from None
    except (ValueError, RecursionError, MemoryError):
        raise LilliputError("recipe: nested too deeply, or not text; write step(name=value, ...) | step(...)") from None


def _calls(tree: ast.expr) -> list[ast.expr]:
    found = []
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        found.append(tree.right)
        tree = tree.left
    return [tree, *reversed(found)]


def _step(node: ast.expr) -> Step:
    if isinstance(node, ast.Name) and node.id in STEPS:
        raise LilliputError(f"recipe: {node.id} is a step; write {node.id}() or {node.id}(name=value, ...)")
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise LilliputError(f"recipe: {_shown(node)} is no step; write step(name=value, ...) | step(...)")
    name = node.func.id
    if name not in STEPS:
        raise LilliputError(f"recipe: unknown step {name[:40]!r}; {closest(name, STEPS)}steps: {', '.join(STEPS)}")
    kind = STEPS[name]
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    if len(node.args) > len(fields):
        raise LilliputError(f"{name}: {len(node.args)} values without a name; it has {len(fields)} parameters")
    arguments: dict[str, Any] = {}
    named = [(keyword.arg, keyword.value) for keyword in node.keywords]
    for parameter, value in [*zip(fields, node.args, strict=False), *named]:
        if parameter is None or isinstance(value, ast.Starred):
            raise LilliputError(f"{name}: '*' is not allowed; write name=value")
        if parameter not in fields:
            known = f"it takes {', '.join(fields)}" if fields else "it takes none"
            raise LilliputError(f"{name}: unknown parameter {parameter[:40]!r}; {closest(parameter, fields)}{known}")
        if parameter in arguments:
            raise LilliputError(f"{name}: {parameter} is given twice")
        arguments[parameter] = _value(name, parameter, value)
    for parameter, field in fields.items():
        if parameter not in arguments and field.default is dataclasses.MISSING:
            raise LilliputError(f"{name}: {parameter} is missing; write {name}({parameter}=...)")
    return kind(**checked_arguments(kind, arguments))


def _value(step: str, parameter: str, node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)) if (
            type(value) is not bool
        ):
            return -value if isinstance(sign, ast.USub) else value
        case ast.Tuple(elts=items):
            return tuple(_value(step, parameter, item) for item in items)
        case _:
            raise LilliputError(f"{step}: {parameter} is {_shown(node)}; it must be a plain number, string or tuple")


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return "something nested too deeply"
    return repr(text if len(text) <= 40 else text[:37] + "...")
