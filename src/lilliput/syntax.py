"""Python's grammar, read by one thread at a time."""

import ast
import threading

_ONE_AT_A_TIME = threading.RLock()


def parse(source: str | bytes) -> ast.Module:
    """The syntax tree of a module's text; nothing of it is executed.

    Python 3.11 counts how deep a tree is for all threads together: of two that parse at once one may end in
    "SystemError: AST constructor recursion depth mismatch".

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: of `ast.parse`.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source)


def parse_expression(source: str) -> ast.expr:
    """The syntax tree of an expression's text; see `parse`."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode="eval").body
