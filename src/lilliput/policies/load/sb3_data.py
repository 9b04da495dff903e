"""The `data` entry of a Stable-Baselines3 zip: spaces, classes and arguments, read without unpickling anything.

Each object that JSON does not have stands there twice: as text, and as a pickle. The pickle is read as inert data (see
`inert_pickle`), because it is exact; the text takes its place where the pickle says something unexpected.
"""

import base64
import binascii
import json
import math
import re
from typing import Any, assert_never

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.load.inert_numpy import array_of, dtype_of, is_numpy
from lilliput.policies.load.inert_pickle import (
    DICT,
    ORDERED_DICT,
    Global,
    InertCall,
    is_call,
    read_pickle,
    state_of,
    string_keys,
)

MAX_DATA_BYTES = 64 << 20
MAX_TEXT = 1 << 20
MAX_KEYS = 256

_CLASS = re.compile(r"<class '([\w.]{1,200})'>")
_NUMBER = re.compile(r"[^\s\[\],]+")
_SPACES = "Box, Discrete, MultiDiscrete"
_OBSERVED = f"{_SPACES}, MultiBinary"
_DICT_BOX = re.compile(r"'([^']{1,200})'\s*[,:]\s*Box\(([^()]*)\((\d[\d,\s]*)\),\s*(\w{1,20})\)")


def parse_data(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object.

    Raises:
        LilliputError: it is none.
    """
    if len(data) > MAX_DATA_BYTES:
        raise LilliputError(f"{name} has {len(data)} bytes; at most {MAX_DATA_BYTES} are read")
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LilliputError(f"{name} is not JSON; save or download it again") from error
    if not isinstance(parsed, dict):
        raise LilliputError(f"{name} is JSON, but no object; save it with Stable-Baselines3")
    return parsed


def class_of(text: Any) -> str:
    """The full name in "<class 'package.Name'>"; empty where the text says something else."""
    match = _CLASS.fullmatch(text) if isinstance(text, str) else None
    return match.group(1) if match else ""


def policy_class(data: dict[str, Any]) -> tuple[str, str]:
    """Module and name of the policy's class; empty where the file does not say."""
    entry = data.get("policy_class")
    if not isinstance(entry, dict):
        return "", ""
    pickled = _pickled(entry)
    module = entry.get("__module__")
    if isinstance(pickled, Global) and (pickled.module == module or not isinstance(module, str)):
        return pickled.module, pickled.name
    return module if isinstance(module, str) else "", _pickled_name(pickled)


def _pickled_name(value: Any) -> str:
    """The name of a class that cloudpickle stored whole, as it does with those of `__main__`; empty where unknown."""
    for _ in range(4):
        match value:
            case InertCall(args=(InertCall() as inner, *_)):
                value = inner
            case InertCall(args=(Global(), str(name), *_)):
                return name if name.isidentifier() else ""
            case _:
                return ""
    return ""


_HARMLESS_METHODS = {
    "__init__", "_build_mlp_extractor", "_get_constructor_parameters", "predict_values", "evaluate_actions",
    "reset_noise", "set_training_mode", "save", "load",
}  # fmt: skip
"""What a policy class may define of its own without deciding otherwise, the documented custom network among it."""


def own_methods(data: dict[str, Any]) -> list[str]:
    """The functions of the policy's class that may decide otherwise than the framework's."""
    entry = data.get("policy_class")
    if not isinstance(entry, dict):
        return []
    functions = [
        key
        for key, text in entry.items()
        if isinstance(text, str) and re.match(r"<(?:function|property|staticmethod|classmethod)", text)
    ]
    return sorted(set(functions) - _HARMLESS_METHODS)


def policy_doc(data: dict[str, Any]) -> str:
    """The docstring of the policy's class."""
    entry = data.get("policy_class")
    doc = entry.get("__doc__") if isinstance(entry, dict) else None
    return doc if isinstance(doc, str) else ""


def policy_kwargs(data: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the user gave to the policy; classes as text."""
    entry = data.get("policy_kwargs")
    if not isinstance(entry, dict):
        return {}
    found = {key: value for key, value in entry.items() if not key.startswith(":")}
    exact = string_keys(_pickled(entry)) or {}
    # The framework goes by the pickle; JSON has classes and numpy's numbers as texts.
    return {key: _exact(exact.get(key), value) for key, value in found.items()}


def _exact(pickled: Any, value: Any) -> Any:
    """What a pickle says of an argument, classes as text; the value that JSON has where it says nothing of the kind."""
    match pickled:
        case bool() | int() | float():
            return pickled
        case Global(module=module, name=name) if class_of(value):
            return f"<class '{module}.{name}'>"
        case _:
            return _number_in(pickled, value)


def flag(value: Any, what: str, name: str) -> bool:
    """Whether something is on, as Python takes it: 1 and numpy's true are, 0 and None are not.

    Raises:
        LilliputError: it is no number and no truth value.
    """
    if isinstance(value, dict):
        value = _number_in(_pickled(value), value)
    if value is None or isinstance(value, bool | int | float):
        return bool(value)
    raise LilliputError(f"{name}: {what} is {value!r:.60}; it must be true or false")


def _number_in(pickled: Any, value: Any) -> Any:
    """The number that numpy's record of one describes; else the value."""
    if not is_numpy(pickled):
        return value
    try:
        found = array_of(pickled, "number")
    except LilliputError:
        return value
    return found.item() if found.size == 1 else value


_Saved = spaces.ActionSpace | dict[str, spaces.ActionSpace]
"""A space as the file has it: one, or one a key."""


def action_space_of(data: dict[str, Any], name: str) -> spaces.ActionSpace:
    """The action space.

    Raises:
        LilliputError: it is missing, malformed, or of a kind that Lilliput does not have.
    """
    saved = _space_of(data, "action_space", name)
    if isinstance(saved, dict):
        raise _unsupported("Dict", "action_space", name)
    return saved


def observation_space_of(data: dict[str, Any], name: str) -> tuple[spaces.ObservationSpace, bool]:
    """The observation space as the networks see it, and whether the framework makes choices in it one-hot for them.

    Raises:
        LilliputError: as `action_space_of`.
    """
    saved = _space_of(data, "observation_space", name)
    every = saved if isinstance(saved, dict) else {"": saved}
    boxes = {key: _seen(space) for key, space in every.items()}
    one_hot = any(not isinstance(space, spaces.Box) for space in every.values())
    return spaces.Dict(tuple(boxes.items())) if isinstance(saved, dict) else boxes[""], one_hot


def _seen(space: spaces.ActionSpace) -> spaces.Box:
    """What the networks see of it: of each choice a number for every possibility, 1 for the one that it is."""
    match space:
        case spaces.Box():
            return space
        case spaces.Discrete(n=n):
            size = n
        case spaces.MultiDiscrete(sizes=sizes):
            size = sum(sizes)
        case _:
            assert_never(space)
    return spaces.Box((size,), np.array(0.0), np.array(1.0))


def _space_of(data: dict[str, Any], what: str, name: str) -> _Saved:
    entry = data.get(what)
    if not isinstance(entry, dict):
        raise LilliputError(f"{name} has no {what}; save it with Stable-Baselines3 1.0 or newer")
    pickled = _pickled(entry)
    if isinstance(pickled, InertCall) and isinstance(pickled.maker, Global) and _is_space(pickled.maker):
        return _from_pickle(pickled, what, name)
    return _from_text(entry, what, name)


def _pickled(entry: dict[str, Any]) -> Any:
    """What the entry's pickle says, None where there is none or it cannot be read."""
    text = entry.get(":serialized:")
    if not isinstance(text, str):
        return None
    try:
        return read_pickle(base64.b64decode(text, validate=True), "space")[0]
    except (binascii.Error, ValueError, LilliputError):
        return None


def _is_space(maker: Global) -> bool:
    return maker.module.split(".")[:2] in (["gym", "spaces"], ["gymnasium", "spaces"])


def _from_pickle(record: InertCall, what: str, name: str) -> _Saved:
    state = state_of(record) or {}
    where = f"{name}: {what}"
    kind = record.maker.name if isinstance(record.maker, Global) else ""
    match kind:
        case "Box":
            shape = state.get("_shape", state.get("shape"))
            dtype = dtype_of(state.get("dtype"), where)
            low, high = (array_of(state.get(bound), f"{where}, {bound}") for bound in ("low", "high"))
            return spaces.Box(_shape(shape, where), low, high, dtype.newbyteorder("=").name)
        case "Discrete":
            return spaces.Discrete(_count(array_of(state.get("n"), where), where))
        case "MultiDiscrete":
            sizes = array_of(state.get("nvec"), where)
            if sizes.ndim != 1:
                raise LilliputError(f"{where} is a MultiDiscrete of shape {list(sizes.shape)}; supported: one axis")
            return spaces.MultiDiscrete(tuple(_count(size, where) for size in sizes))
        case "MultiBinary" if what.startswith("observation"):
            return _bits(_shape(state.get("_shape", state.get("shape")), where))
        case "Dict":
            inner = state.get("spaces")
            if not is_call(inner, DICT, ORDERED_DICT):
                raise LilliputError(f"{where} is a Dict without spaces; it is damaged")
            found = string_keys(inner) or {}
            every: dict[str, spaces.ActionSpace] = {}
            for key, value in found.items():
                flat = isinstance(value, InertCall) and isinstance(value.maker, Global) and value.maker.name != "Dict"
                part = _from_pickle(value, f"{what}[{key[:40]!r}]", name) if flat and len(found) <= MAX_KEYS else {}
                if isinstance(part, dict):
                    raise LilliputError(f"{where} has a key {key[:40]!r} of another kind; supported: {_OBSERVED}")
                every[key] = part
            return every
        case _:
            raise _unsupported(kind, what, name)


def _bits(shape: tuple[int, ...]) -> spaces.Box:
    """A MultiBinary, which is numbers already."""
    return spaces.Box(shape, np.array(0.0), np.array(1.0), "int8")


def _from_text(entry: dict[str, Any], what: str, name: str) -> _Saved:
    where = f"{name}: {what}"
    kind = class_of(entry.get(":type:")).rpartition(".")[2]
    match kind:
        case "Box":
            shape = _shape(entry.get("_shape", entry.get("shape")), where)
            low, high = (_bound(entry, bound, shape, where) for bound in ("low", "high"))
            dtype = str(entry.get("dtype"))
            return spaces.Box(shape, _as_stored(low, dtype), _as_stored(high, dtype), dtype)
        case "Discrete":
            return spaces.Discrete(_count(_numbers(str(entry.get("n")), where), where))
        case "MultiDiscrete":
            sizes = entry.get("nvec")
            return spaces.MultiDiscrete(tuple(_count(size, where) for size in _numbers(str(sizes), where)))
        case "MultiBinary" if what.startswith("observation"):
            return _bits(_shape(entry.get("_shape", entry.get("shape")), where))
        case "Dict":
            text = entry.get("spaces")
            if (
                not isinstance(text, str)
                or len(text) > MAX_TEXT
                or text.count("Box(") != len(_DICT_BOX.findall(text))
                or "Discrete(" in text
                or "MultiBinary(" in text
            ):
                raise LilliputError(
                    f"{where} cannot be read from its text; save it again with this version of Stable-Baselines3"
                )
            return dict(_dict_box(match, where) for match in _DICT_BOX.finditer(text))
        case _:
            raise _unsupported(kind, what, name)


def _unsupported(kind: str, what: str, name: str) -> LilliputError:
    allowed = f"{_OBSERVED} or a Dict of them" if what.startswith("observation") else _SPACES
    return LilliputError(f"{name}: {what} is {kind[:40] or 'of no known kind'}; supported: {allowed}")


def _dict_box(match: re.Match[str], where: str) -> tuple[str, spaces.Box]:
    key, bounds, size, dtype = match.groups()
    shape = _shape([int(n) for n in size.replace(" ", "").split(",") if n], where)
    # Each bound is a number, or brackets with all of them; numbers in brackets have no commas between.
    low, high, *rest = (_numbers(part, where) for part in [*bounds.split(","), "", ""])
    if any(part.size for part in rest) or not {low.size, high.size} <= {1, math.prod(shape)}:
        raise LilliputError(
            f"{where}: the bounds of {key[:40]!r} are not all in the text; "
            "save it again with this version of Stable-Baselines3"
        )
    low, high = (bound.reshape(shape if bound.size > 1 else ()) for bound in (low, high))
    return key, spaces.Box(shape, _as_stored(low, dtype), _as_stored(high, dtype), dtype)


def _as_stored(bound: np.ndarray, dtype: str) -> np.ndarray:
    """The bound rounded to the space's own type, in which its text was the shortest."""
    return bound.astype(dtype).astype(np.float64) if dtype in ("float16", "float32") else bound


def _bound(entry: dict[str, Any], bound: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A Box's bound from numpy's text of it, which leaves out the middle ("...") of more than 1,000 numbers."""
    text = entry.get(bound)
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise LilliputError(f"{where} has no text for {bound}; it is damaged")
    numbers = _numbers(text.replace("...", " "), where)
    if "..." in text:
        short = entry.get(f"{bound}_repr")
        if isinstance(short, str) and (one := _numbers(short.replace("...", " "), where)).size == 1:
            return one.reshape(())
        if numbers.size and (numbers == numbers[0]).all():
            return numbers[0].reshape(())
        raise LilliputError(
            f"{where}: {bound} is {text[:20]!r}..., not all of its numbers are in the file; save it again with this "
            "version of Stable-Baselines3"
        )
    if numbers.size != math.prod(shape):
        raise LilliputError(f"{where}: {bound} has {numbers.size} numbers for the shape {list(shape)}; it is damaged")
    return numbers.reshape(shape)


def _numbers(text: str, where: str) -> np.ndarray:
    try:
        return np.array([float(token) for token in _NUMBER.findall(text[:MAX_TEXT])])
    except ValueError as error:
        raise LilliputError(f"{where}: {text[:40]!r} is not a list of numbers; it is damaged") from error


def _shape(value: Any, where: str) -> tuple[int, ...]:
    if (
        not isinstance(value, list | tuple)
        or len(value) > 8
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    ):
        raise LilliputError(f"{where} has no shape of whole numbers; it is damaged")
    return tuple(value)


def _count(value: np.ndarray | np.number, where: str) -> int:
    if value.size != 1 or not float(value.reshape(-1)[0]).is_integer():
        raise LilliputError(f"{where} has a number of choices that is no whole number; it is damaged")
    return int(value.reshape(-1)[0])
