"""Writes what torch.save writes, without torch: state dicts and pickled modules for quick tests."""

import io
import itertools
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lilliput.policies.load.inert_pickle import Global

_KINDS = {
    "f2": "HalfStorage",
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "i1": "CharStorage",
    "i8": "LongStorage",
    "b1": "BoolStorage",
}


@dataclass
class Pickled:
    """An object of a class by its full name, with its attributes."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)


def module(kind: str, children: Mapping[str, Any] = {}, arrays: Mapping[str, np.ndarray] = {}, **own: Any) -> Pickled:
    """A torch module as torch pickles it."""
    parts = {"training": False, "_parameters": dict(arrays), "_buffers": {}, "_modules": dict(children)}
    return Pickled(kind, {**parts, "_forward_hooks": {}, **own})


def sequential(*modules: Pickled) -> Pickled:
    """A torch Sequential."""
    return module("torch.nn.modules.container.Sequential", {str(number): one for number, one in enumerate(modules)})


def layer(kind: str, **own: Any) -> Pickled:
    """A torch module without parameters: an activation by its name, such as activation.ReLU."""
    return module(f"torch.nn.modules.{kind}", **own)


def linear(inputs: int, outputs: int, seed: int = 0) -> Pickled:
    """A torch Linear."""
    state = mlp("x", [inputs, outputs], seed=seed)
    return module("torch.nn.modules.linear.Linear", arrays={"weight": state["x.0.weight"], "bias": state["x.0.bias"]})


def mlp(prefix: str, sizes: Sequence[int], *, step: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """The state dict of a Sequential with an activation between its Linear layers."""
    rng, state = np.random.default_rng(seed), {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        state |= dense(f"{prefix}.{step * number}", inputs, outputs, rng)
    return state


def named(sizes: Sequence[int], names: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """The state dict of Linear layers with these names."""
    rng, state = np.random.default_rng(seed), {}
    for name, (inputs, outputs) in zip(names, itertools.pairwise(sizes), strict=True):
        state |= dense(name, inputs, outputs, rng)
    return state


def dense(name: str, inputs: int, outputs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The state dict of one Linear layer."""
    weight = rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)
    return {f"{name}.weight": weight.astype("f4"), f"{name}.bias": rng.normal(size=outputs).astype("f4") / 2}


def torch_file(value: Any, replaced: Mapping[bytes, bytes] = {}) -> bytes:
    """The bytes of torch.save(value), of whose pickle some parts are others."""
    storages: list[np.ndarray] = []
    pickled = b"\x80\x02" + _pickled(value, storages) + b"."
    for old, new in replaced.items():
        assert old in pickled
        pickled = pickled.replace(old, new)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for number, array in enumerate(storages):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    return stream.getvalue()


def _pickled(value: Any, storages: list[np.ndarray]) -> bytes:
    match value:
        case np.ndarray():
            return _tensor(value, storages)
        case dict():
            pairs = (_pickled(key, storages) + _pickled(item, storages) for key, item in value.items())
            return b"}(" + b"".join(pairs) + b"u"
        case list():
            return b"](" + b"".join(_pickled(item, storages) for item in value) + b"e"
        case tuple():
            return b"(" + b"".join(_pickled(item, storages) for item in value) + b"t"
        case Pickled():
            where, _, name = value.kind.rpartition(".")
            return f"c{where}\n{name}\n".encode() + b")\x81" + _pickled(value.state, storages) + b"b"
        case Global():
            return f"c{value.module}\n{value.name}\n".encode()
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case _:
            return pickle.dumps(value, 2)[2:-1]


def _tensor(array: np.ndarray, storages: list[np.ndarray]) -> bytes:
    code = array.dtype.str[1:]
    storages.append(np.ascontiguousarray(array))
    key, kind = str(len(storages) - 1), _KINDS[code].encode()
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides) if array.ndim else ()
    storage = b"(" + _pickled("storage", []) + b"ctorch\n" + kind + b"\n" + _pickled(key, [])
    storage += _pickled("cpu", []) + _pickled(array.size, []) + b"tQ"
    tail = _pickled(0, []) + _pickled(tuple(array.shape), []) + _pickled(strides, [])
    # The last two: it needs no gradient, and it has no hooks.
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + tail + b"\x89ccollections\nOrderedDict\n)RtR"
