"""Calls checked against their annotations, at the price of a look at the kinds of what goes in and comes out.

Where no annotation is of an array beartype looks at a call, which takes it a microsecond. Of arrays an annotation
tells apart dtype and shape, and names sizes that have to agree: a function whose call was found right is not asked
again about the same kinds. Of a million calls that play episodes a few hundred differ, and to bind names to shapes anew
in each took nine tenths of the time of many a test. Even to look at kinds took half of what a test took that calls a
function a hundred thousand times: of a test's calls the first dozens are looked at, and then each thirty-second.
Jaxtyping's and beartype's checks of a function, which take a millisecond to make, are made when it is first called:
most are not, in a worker's part of the tests.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Hashable, Iterable
from types import FunctionType
from typing import Any, final, get_type_hints

import jaxtyping
import numpy as np
from beartype import BeartypeConf, beartype

_jaxtyped: Any = jaxtyping.jaxtyped
_NOT_SIMPLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_conf = BeartypeConf(violation_type=jaxtyping.TypeCheckError)
_ARRAY = np.ndarray
_MOST_ITEMS = 64
_MOST_ANSWERS = 64
_MOST_KINDS = 4096
_FIRST_OF_A_TEST = 64
_THEN_EACH = 32
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
        n_calls: in this test.
    """

    def __init__(self, annotations: dict[str, Any]) -> None:
        said = repr(annotations)[1:-1]
        quoted = any(isinstance(one, str) for one in annotations.values()) or "ForwardRef" in said
        self.by_value = quoted or "Literal" in said
        self.answers: dict[Hashable, set[Hashable]] = {}
        self.n_asked_again = 0
        self.n_calls = 0
        self.is_of_no_use = "{" in said or "Annotated" in said


_seen: dict[tuple[object, ...], _Seen] = {}
_called_often: list[_Seen] = []


def another_test() -> None:
    """Look at the first calls again of what the test before called often."""
    for seen in _called_often:
        seen.n_calls = 0
    _called_often.clear()


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
        parts: Any = (part and jaxtyped(part, typechecker=typechecker) for part in (fn.fget, fn.fset, fn.fdel))
        return property(*parts)
    if not isinstance(fn, FunctionType) or typechecker is None:
        return _jaxtyped(fn, typechecker=typechecker)
    seen = _seen_of(fn)
    # What beartype makes of a function is of no use for the same inner function of another call.
    is_inner = "<locals>" in fn.__qualname__
    if is_inner or fn.__code__.co_flags & _NOT_SIMPLE or _has_arrays(fn.__annotations__):
        return _now_and_then(fn, seen, _checked_once(fn, seen, typechecker))
    return _now_and_then(fn, seen, _checked_always(fn, seen, typechecker))


def _now_and_then(fn: FunctionType, seen: _Seen, check: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called through what checks it the first times in a test and then now and then."""

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        seen.n_calls += 1
        if seen.n_calls > _FIRST_OF_A_TEST:
            if seen.n_calls == _FIRST_OF_A_TEST + 1:
                _called_often.append(seen)
            if seen.n_calls % _THEN_EACH:
                return fn(*args, **kwargs)
        return check(*args, **kwargs)

    return checked


def _has_arrays(annotations: dict[str, Any]) -> bool:
    return "jaxtyping" in repr(annotations)


def _checked_always(fn: FunctionType, seen: _Seen, typechecker: Any) -> Callable[..., Any]:
    """The function checked whenever it is asked, unless arrays stand between quotes: what checks it is made then."""
    made: Callable[..., Any] | None = None

    def checked(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal made
        if made is None:
            annotations = {name: _read(one, fn) for name, one in fn.__annotations__.items()}
            made = _checked_once(fn, seen, typechecker) if _has_arrays(annotations) else _by_beartype(fn, annotations)
        return made(*args, **kwargs)

    return checked


def _by_beartype(fn: FunctionType, annotations: dict[str, Any]) -> Callable[..., Any]:
    """The function with these annotations, checked by beartype alone."""
    same = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    same.__kwdefaults__, same.__annotations__ = fn.__kwdefaults__, annotations
    same.__qualname__, same.__module__ = fn.__qualname__, fn.__module__
    return beartype(conf=_conf)(same)


def _read(annotation: Any, fn: FunctionType) -> Any:
    """An annotation without quotes; anything where a name in it is not known when the tests run."""

    def stub() -> None: ...

    stub.__annotations__ = {"_": annotation}
    try:
        return get_type_hints(stub, fn.__globals__, include_extras=True)["_"]
    except (NameError, AttributeError, TypeError, ValueError, SyntaxError):
        return Any


def _checked_once(fn: FunctionType, seen: _Seen, typechecker: Any) -> Callable[..., Any]:
    """The function checked where kinds are new."""
    whole = functools.cache(lambda: _jaxtyped(fn, typechecker=typechecker))

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
        try:
            answer = whole()(*args, **kwargs) if answers is None else fn(*args, **kwargs)
        except (jaxtyping.TypeCheckError, jaxtyping.AnnotationError):
            raise
        except Exception:  # what was asked was right, and refused
            if len(seen.answers) < _MOST_KINDS:
                seen.answers.setdefault(asked, set())
            raise
        try:
            is_array = type(answer) is _ARRAY
            answered = (answer.dtype, answer.shape) if is_array else kinds(seen.by_value, (answer,))
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
        if type_ is _ARRAY:
            found.append((value.dtype, value.shape))
        elif type_ in _told_by_type:
            found.append(type_)
        else:
            found.append(_kind(by_value, value, depth))
    return tuple(found)


def _kind(by_value: bool, value: Any, depth: int) -> Hashable:
    type_ = type(value)
    look = _looks.get(type_) or _look(type_)
    if look == "array":
        return type_, value.dtype, value.shape
    if look == "type" or (look == "literal" and not by_value):
        return type_
    if look == "literal":
        return type_, _short(value)
    if look == "class":
        return value
    if look == "items" and depth and len(value) <= _MOST_ITEMS:
        return type_, kinds(by_value, value, depth - 1)
    if look == "mapping" and depth and len(value) <= _MOST_ITEMS:
        return type_, kinds(by_value, (*value, *value.values()), depth - 1)
    raise _NotTold


def _short(value: Any) -> Hashable:
    """The value, where a literal may name it; what is as long as a file's content, or a seed, is one of many."""
    if isinstance(value, int):
        return value if -_MOST_ANSWERS <= value <= _MOST_ANSWERS else ...
    return value if value is None or len(value) <= _MOST_ITEMS else ...


_looks: dict[type, str] = {}
_told_by_type: set[type] = set()


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
    if found == "type":
        _told_by_type.add(type_)
    _looks[type_] = found
    return found


# By this name jaxtyping's import hook decorates functions and classes.
jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]
