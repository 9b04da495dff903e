"""Every call checked against its annotations, at the price of a look at the kinds of what goes in and comes out.

An annotation tells apart types, and of an array its dtype and shape. A function whose call was found right is not
asked again about the same kinds: of a million calls that play episodes a few hundred differ, and to bind names to
shapes anew in each took nine tenths of the time of many a test. Jaxtyping's and beartype's checks of a function, which
take a millisecond to make, are made when it is first called: most are not, in a worker's part of the tests.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Hashable, Iterable
from types import FunctionType
from typing import Any, final

import jaxtyping
import numpy as np
from beartype import beartype

_jaxtyped: Any = jaxtyping.jaxtyped
_MOST_ITEMS = 64
_MOST_ANSWERS = 64
_MOST_KINDS = 4096
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


@final
class _NotTold(Exception):
    """A look does not tell what kind a value is."""


@final
class _Seen:
    """What a function was found right about: the kinds of its arguments, and of what it answered to these.

    Attributes:
        by_value: whether a literal among the annotations tells values apart.
        answers: by the kinds of the arguments, those of the answers.
        is_of_no_use: where annotations name values, or the kinds are never the same.
    """

    def __init__(self, annotations: dict[str, Any]) -> None:
        said = repr(annotations)[1:-1]
        quoted = any(isinstance(one, str) for one in annotations.values()) or "ForwardRef" in said
        self.by_value = quoted or "Literal" in said
        self.answers: dict[Hashable, set[Hashable]] = {}
        self.n_asked_again = 0
        self.is_of_no_use = "{" in said or "Annotated" in said


_seen: dict[tuple[object, ...], _Seen] = {}


def _seen_of(fn: FunctionType) -> _Seen:
    """An inner function is another one whenever the outer one runs, and has the same annotations."""
    key = (fn.__code__, *fn.__annotations__.items())
    try:
        seen = _seen.get(key)
    except TypeError:  # an annotation that cannot be hashed
        return _Seen(fn.__annotations__)
    if seen is None:
        seen = _seen[key] = _Seen(fn.__annotations__)
    return seen


def jaxtyped(fn: Any = None, *, typechecker: Any = None) -> Any:
    """As jaxtyping's own, which is asked about what has not been seen."""
    if fn is None:
        return functools.partial(jaxtyped, typechecker=typechecker)
    if isinstance(fn, type):
        if dataclasses.is_dataclass(fn) and "__init__" in vars(fn):
            fn.__init__ = jaxtyped(fn.__init__, typechecker=typechecker)
        return fn
    if isinstance(fn, classmethod | staticmethod):
        return type(fn)(jaxtyped(fn.__func__, typechecker=typechecker))
    if isinstance(fn, property):
        get, set_, delete = (part and jaxtyped(part, typechecker=typechecker) for part in (fn.fget, fn.fset, fn.fdel))
        return property(get, set_, delete)
    if not isinstance(fn, FunctionType) or typechecker is None:
        return _jaxtyped(fn, typechecker=typechecker)
    seen = _seen_of(fn)
    whole = functools.cache(lambda: _jaxtyped(fn, typechecker=typechecker))

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if seen.is_of_no_use:
            return whole()(*args, **kwargs)
        try:
            asked = kinds(seen.by_value, args)
            if kwargs:
                asked = (asked, kinds(seen.by_value, kwargs.values()), *kwargs)
            answers = seen.answers.get(asked)
        except (_NotTold, TypeError):
            return whole()(*args, **kwargs)
        answer = whole()(*args, **kwargs) if answers is None else fn(*args, **kwargs)
        try:
            answered = kinds(seen.by_value, (answer,))
            if answers is None and len(seen.answers) < _MOST_KINDS:
                seen.answers[asked] = {answered}
            is_seen = answers is None or answered in answers
        except (_NotTold, TypeError):
            answered, is_seen = None, False
        if answers is not None and not is_seen:
            _jaxtyped(functools.wraps(fn)(lambda *_, **__: answer), typechecker=typechecker)(*args, **kwargs)
            seen.n_asked_again += 1
            if answered is not None:
                answers.add(answered)
        seen.is_of_no_use = answered is None or seen.n_asked_again > _MOST_ANSWERS
        return answer

    return checked


def kinds(by_value: bool, values: Iterable[Any], depth: int = 2) -> tuple[Hashable, ...]:
    """All that annotations can see of values; of the values that literals can name, the values where asked.

    Raises:
        _NotTold: one would have to look at many items, or far inside, or does not know where they are.
    """
    found: list[Hashable] = []
    for value in values:
        type_ = type(value)
        look = _looks.get(type_) or _look(type_)
        if look == "array":
            found += (type_, value.dtype, value.shape)
        elif look == "type" or (look == "literal" and not by_value):
            found.append(type_)
        elif look == "literal":
            found += (type_, _short(value))
        elif look == "class":
            found.append(value)
        elif look == "items" and depth and len(value) <= _MOST_ITEMS:
            found += (type_, kinds(by_value, value, depth - 1))
        elif look == "mapping" and depth and len(value) <= _MOST_ITEMS:
            found += (type_, kinds(by_value, (*value, *value.values()), depth - 1))
        else:
            raise _NotTold
    return tuple(found)


def _short(value: Any) -> Hashable:
    """The value, where a literal may name it; what is as long as a file's content, or a seed, is one of many."""
    if isinstance(value, int):
        return value if -_MOST_ANSWERS <= value <= _MOST_ANSWERS else ...
    return value if value is None or len(value) <= _MOST_ITEMS else ...


_looks: dict[type, str] = {}


def _look(type_: type) -> str:
    """How values of a type are looked at."""
    if issubclass(type_, type):
        found = "class"
    elif issubclass(type_, np.ndarray | np.generic) or (
        type_.__module__.startswith("torch") and hasattr(type_, "dtype")
    ):
        found = "array"
    elif issubclass(type_, str | bytes | int) or type_ is type(None):
        found = "literal"
    elif type_ in (tuple, list):
        found = "items"
    elif type_ is dict:
        found = "mapping"
    else:
        found = "containers" if issubclass(type_, Collection) else "type"
    _looks[type_] = found
    return found


# By this name jaxtyping's import hook decorates functions and classes.
jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]
