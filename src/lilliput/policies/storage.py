"""Layers as JSON data and arrays, and back: what files hold and digests are taken of."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer


def encode_layers(stack: tuple[Layer, ...], prefix: str, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """JSON data of the layers; their arrays are put into `arrays`."""

    def encode(value: Any, path: str) -> Any:
        match value:
            case np.ndarray():
                arrays[path] = value
                return {"array": path}
            case (
                QuantizedTensor() | layers.StaticRange() | layers.DynamicRange() | layers.Dense()
                | layers.QuantizedDense()
            ):  # fmt: skip
                fields = {f.name: encode(getattr(value, f.name), f"{path}.{f.name}") for f in dataclasses.fields(value)}
                return {"kind": type(value).__name__, **fields}
            case tuple():
                return list(value)
            case _:
                return value

    encoded = []
    for index, layer in enumerate(stack):
        names = [f.name for f in dataclasses.fields(layer)]
        fields = {name: encode(getattr(layer, name), f"{prefix}{index}.{name}") for name in names}
        encoded.append({"kind": type(layer).__name__, **fields})
    return encoded


def sha256(structure: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Over the canonical text of JSON data and, name by name, the arrays' types, shapes and bytes."""
    sha = hashlib.sha256(json.dumps(structure, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name}{array.dtype.str}{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _fits(value: Any, hint: Any) -> bool:
    """Whether a decoded value is what the field of a layer holds."""
    if isinstance(hint, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        kinds = kinds[:1] * len(value) if isinstance(value, tuple) and kinds[-1] is Ellipsis else kinds
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    return type(value) is hint


_PARTS = {kind.__name__: kind for kind in (QuantizedTensor, layers.StaticRange, layers.DynamicRange)}


def decode(data: Any, arrays: dict[str, np.ndarray], others: Mapping[str, type] = MappingProxyType({})) -> Any:
    """The layers, or parts of them, or one of `others`, that JSON data describes.

    Raises:
        LilliputError: an unknown kind, or one of other fields than its own.
        KeyError, TypeError: the data are none that `encode_layers` gave.
    """
    match data:
        case {"array": str(path)}:
            return arrays[path]
        case {"kind": str(kind), **fields}:
            known = {**layers.KINDS, **_PARTS, **others}
            if kind not in known:
                raise LilliputError(f"a layer is {kind[:40]!r}; supported: {', '.join(layers.KINDS)}")
            decoded = {name: decode(value, arrays, others) for name, value in fields.items()}
            hints = get_type_hints(known[kind])
            for name, value in decoded.items():
                if name not in hints or not _fits(value, hints[name]):
                    raise LilliputError(
                        f"the file holds {kind} with {name[:40]!r} of {type(value).__name__}; it is damaged"
                    )
            return known[kind](**decoded)
        case list():
            return tuple(decode(value, arrays, others) for value in data)
        case _:
            return data
