"""Beartype's checks of every annotation, each made when it is first needed.

To make one takes a millisecond, and jaxtyping asks for two a function: of all at import, of an inner function whenever
the outer one runs. Most functions are not called in a worker's part of the tests, and an inner function is the same
one every time.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_made: dict[tuple[object, ...], Callable[..., Any]] = {}


def when_called(stub: Callable[..., Any]) -> Callable[..., Any]:
    """What checks a call of the stub, of which only name and annotations matter: jaxtyping writes it for that."""
    key = (stub.__module__, stub.__qualname__, *stub.__annotations__.items())

    def check(*args: Any, **kwargs: Any) -> Any:
        try:
            made = _made.get(key)
        except TypeError:  # an annotation that cannot be hashed
            return beartype(stub)(*args, **kwargs)
        if made is None:
            made = _made[key] = beartype(stub)
        return made(*args, **kwargs)

    return check
