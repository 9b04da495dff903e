"""What `torch.save` wrote, as arrays, without torch: the zip format since 1.6 and the stream of pickles before it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load.archive import Archive, read_archive
from lilliput.policies.load.inert_numpy import array_of, is_numpy
from lilliput.policies.load.inert_pickle import (
    DICT,
    MAX_PICKLE_BYTES,
    ORDERED_DICT,
    Global,
    InertCall,
    Persistent,
    is_call,
    read_pickle,
    state_of,
)

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
MAX_DIMENSIONS = 8
MAX_REPEATED = 1 << 16
"""Numbers of a tensor that its storage holds less often: a view that repeats them."""
MAX_NODES = 100_000
MAX_DEPTH = 32

BFLOAT16 = "bfloat16"
_STORAGES: dict[str, str] = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "BoolStorage": "?",
}
_TENSOR = Global("torch._utils", "_rebuild_tensor")
_TENSOR_V2 = Global("torch._utils", "_rebuild_tensor_v2")
_TAGGED = Global("torch.jit._pickle", "restore_type_tag")
_PARAMETER = Global("torch._utils", "_rebuild_parameter")
_PARAMETER_WITH_STATE = Global("torch._utils", "_rebuild_parameter_with_state")


@final
@dataclass(frozen=True, eq=False)
class Module:
    """A pickled torch module as data: no class of it was imported.

    Attributes:
        kind: the class by its full name, such as torch.nn.modules.linear.Linear.
        arrays: its own parameters and buffers.
        children: its modules by name, in order; one that is no module stays what it is.
        attributes: what else was set on it, torch's own bookkeeping apart.
    """

    kind: str
    arrays: Mapping[str, np.ndarray]
    children: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


Fetch = Callable[[str, int], tuple[bytes, str]]
"""From a storage's key and its number of bytes to these bytes and their byte order."""


def is_torch_zip(archive: Archive) -> bool:
    """Whether the archive is what `torch.save` writes (rather than another zip file)."""
    return any(entry.endswith("/data.pkl") for entry in archive.sizes)


def read_torch(data: bytes, name: str) -> Any:
    """What was saved: dicts, lists, tuples, plain values, arrays and modules; anything else stays an inert record.

    Raises:
        LilliputError: not such a file, a damaged one, or one with tensors that numpy does not have.
    """
    if data.startswith(ZIP_MAGIC):
        return _read_zip(read_archive(data, name))
    if data.startswith(b"\x80"):
        return _read_legacy(data, name)
    raise LilliputError(f"{name} was not written by torch.save; save the policy's state_dict with it")


def _read_zip(archive: Archive) -> Any:
    roots = [entry.removesuffix("/data.pkl") for entry in archive.sizes if entry.endswith("/data.pkl")]
    if len(roots) != 1:
        raise LilliputError(f"{archive.name} has {len(roots)} entries named data.pkl; torch.save writes one")
    root = roots[0]
    fetch = zip_fetch(archive, root, "data")
    pickled = archive.read(f"{root}/data.pkl", MAX_PICKLE_BYTES)
    return Tree(fetch, archive.name).convert(read_pickle(pickled, archive.name)[0])


def zip_fetch(archive: Archive, root: str, folder: str) -> Fetch:
    """What fetches the storages that lie in a folder of the archive."""
    order = "<"
    if f"{root}/byteorder" in archive:
        written = archive.read(f"{root}/byteorder", 16)
        if written not in (b"little", b"big"):
            raise LilliputError(f"{archive.name} has the byte order {written!r}; it must be little or big")
        order = "<" if written == b"little" else ">"

    def fetch(key: str, nbytes: int) -> tuple[bytes, str]:
        entry = f"{root}/{folder}/{key}"
        if archive.sizes.get(entry) != nbytes:
            raise LilliputError(
                f"{archive.name}: storage {entry[:80]!r} has {archive.sizes.get(entry, 'no')} bytes, {nbytes} "
                "announced; save it again"
            )
        return archive.read(entry), order

    return fetch


def _read_legacy(data: bytes, name: str) -> Any:
    magic, position = read_pickle(data, name)
    if magic != LEGACY_MAGIC:
        raise LilliputError(
            f"{name} is a pickle, but not one of torch.save; save the policy's state_dict with torch.save, or (d3rlpy) "
            "agent.save_policy('policy.pt'), or the policy as ONNX"
        )
    version, position = read_pickle(data, name, position)
    system, position = read_pickle(data, name, position)
    if version != LEGACY_VERSION or not is_call(system, DICT):
        raise LilliputError(f"{name} is of a torch format of before 2018; load it with torch and save it again")
    order = "<" if ("little_endian", True) in [(k, v) for k, v in system.items if isinstance(k, str)] else ">"
    value, position = read_pickle(data, name, position)
    keys, position = read_pickle(data, name, position)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise LilliputError(f"{name} has no list of storages; save it again")
    announced = _storages(value, name)
    found: dict[str, bytes] = {}
    for key in keys:
        nbytes = announced.get(key, 0)
        # A storage is its number of elements (8 bytes), then the elements.
        if len(data) - position - 8 < nbytes or key not in announced:
            raise LilliputError(f"{name} is truncated; save or download it again")
        found[key] = data[position + 8 : position + 8 + nbytes]
        position += 8 + nbytes

    def fetch(key: str, nbytes: int) -> tuple[bytes, str]:
        if len(found.get(key, b"")) != nbytes:
            raise LilliputError(f"{name}: storage {key[:80]!r} is missing or of another size; save it again")
        return found[key], order

    return Tree(fetch, name).convert(value)


def _storages(value: Any, name: str) -> dict[str, int]:
    """Bytes of every storage that the pickled value refers to."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    todo = [value]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case Persistent():
                key, code, count = _storage_key(node, name)
                found[key] = count * _itemsize(code)
            case InertCall():
                todo += [node.args, node.state, *(part for pair in node.items for part in pair), *node.members]
            case list() | tuple():
                todo += node
    return found


def _storage_key(value: Any, name: str) -> tuple[str, str, int]:
    """Key, element type and number of elements of a storage."""
    match value:
        case Persistent(key=("storage", Global(module="torch", name=kind), str(key), str(), int(count), *view)) if all(
            v is None for v in view
        ):
            if kind not in _STORAGES or count < 0:
                raise LilliputError(
                    f"{name} holds a {kind[:40]} of {count} elements; supported: {', '.join(_STORAGES)}"
                )
            return key, _STORAGES[kind], count
        case _:
            raise LilliputError(
                f"{name} holds a tensor whose storage this reader does not know; save the state_dict in float32 again"
            )


def _itemsize(code: str) -> int:
    return 2 if code == BFLOAT16 else np.dtype(code).itemsize


class Tree:
    """Turns inert records into arrays and containers, each once however often it is referred to."""

    def __init__(self, fetch: Fetch, name: str) -> None:
        self.fetch = fetch
        self.name = name
        self.done: dict[int, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.nodes = 0

    def convert(self, value: Any, depth: int = 0) -> Any:
        if not isinstance(value, InertCall | list | tuple):
            return value
        if id(value) in self.done:
            return self.done[id(value)]
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise LilliputError(f"{self.name} is nested deeper or wider than any state_dict; save the state_dict alone")
        result = self._convert(value, depth + 1)
        self.done[id(value)] = result
        return result

    def _convert(self, value: Any, depth: int) -> Any:
        match value:
            case list() | tuple():
                items = [self.convert(item, depth) for item in value]
                return items if isinstance(value, list) else tuple(items)
            case InertCall(args=args) if is_call(value, ORDERED_DICT, DICT) and args in ((), None):
                return {key: self.convert(item, depth) for key, item in value.items if isinstance(key, str | int)}
            case InertCall(args=(data, *_)) if is_call(value, _PARAMETER, _PARAMETER_WITH_STATE):
                return self.convert(data, depth)
            case InertCall(args=(storage, offset, size, stride, *rest)) if is_call(value, _TENSOR, _TENSOR_V2):
                # requires_grad, hooks, and what the numbers in the storage are not yet: negated or conjugated.
                if any(_items(one.args[0] if is_call(one, _TAGGED) and one.args else one) for one in rest[2:]):
                    raise LilliputError(
                        f"{self.name} holds a tensor that is still to be negated or conjugated (a lazy view); save it "
                        "after .resolve_neg()"
                    )
                return self._tensor(storage, offset, size, stride)
            case InertCall() if is_numpy(value):
                found = array_of(value, self.name)
                return found if found.ndim else found.item()
            case InertCall(state=state) if state is not None and (module := self._module(value, depth)) is not None:
                return module
            case _:
                return value

    def _module(self, value: InertCall, depth: int) -> Module | None:
        """The module that a record describes; None where it describes something else."""
        state = state_of(value)
        if state is None or not {"_parameters", "_buffers", "_modules"} <= state.keys():
            return None
        match value.maker:
            case Global(module=module, name=name) | Persistent(key=("module", Global(module=module, name=name), *_)):
                kind = f"{module}.{name}"
            case _:
                return None
        parts = [self.convert(state[key], depth) for key in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(part, dict) for part in parts):
            return None
        arrays = {str(key): array for part in parts[:2] for key, array in part.items() if array is not None}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            return None
        hooks = [key for key in ("_forward_hooks", "_forward_pre_hooks") if _items(state.get(key))]
        if hooks:
            raise LilliputError(
                f"{self.name}: the module {kind[:60]} has {hooks[0]}, code of its own that runs with it; take "
                "them off, or export the policy with torch.onnx.export and give the ONNX file"
            )
        # What else was set on a module may hold anything, itself too: numbers are read, the rest stays inert.
        own = {
            key: self.convert(item, depth) if not isinstance(item, InertCall) or _is_array(item) else item
            for key, item in state.items()
            if not _is_bookkeeping(key)
        }
        return Module(kind, arrays, {str(key): child for key, child in parts[2].items()}, own)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
        flat = self._storage(storage)
        sizes, strides = _natural(size, self.name), _natural(stride, self.name)
        start = _natural((offset,), self.name)[0]
        if len(sizes) != len(strides) or len(sizes) > MAX_DIMENSIONS:
            raise LilliputError(
                f"{self.name}: a tensor has the size {str(sizes)[:80]} and the stride {str(strides)[:80]}; it is "
                "damaged"
            )
        count = math.prod(sizes)
        last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) if count else start
        if last > flat.size - (count > 0):
            raise LilliputError(
                f"{self.name}: a tensor of size {str(sizes)[:80]} reaches outside its storage of {flat.size}; it is "
                "damaged"
            )
        if count > max(flat.size, MAX_REPEATED):
            raise LilliputError(
                f"{self.name}: a tensor of size {str(sizes)[:80]} repeats the {flat.size} numbers of its storage (an "
                "expanded view); save it after .contiguous()"
            )
        steps = [step * flat.itemsize if n > 1 else flat.itemsize for n, step in zip(sizes, strides, strict=True)]
        return np.lib.stride_tricks.as_strided(flat[start:], sizes, steps, writeable=False)

    def _storage(self, storage: Any) -> np.ndarray:
        key, code, count = _storage_key(storage, self.name)
        cached = self.arrays.get(f"{code} {count} {key}")
        if cached is not None:
            return cached
        data, order = self.fetch(key, count * _itemsize(code))
        if code == BFLOAT16:
            # The upper half of a float32.
            flat = (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
        elif code == "?":
            flat = np.frombuffer(data, np.uint8) != 0
        else:
            flat = np.frombuffer(data, order + code)
        self.arrays[f"{code} {count} {key}"] = flat
        return flat


def _items(value: Any) -> bool:
    """Whether it is a dict that holds something, or no dict."""
    return bool(value.items) if isinstance(value, InertCall) else bool(value)


def _is_array(value: InertCall) -> bool:
    return is_numpy(value) or is_call(value, _TENSOR, _TENSOR_V2, _PARAMETER, _PARAMETER_WITH_STATE)


def _is_bookkeeping(key: str) -> bool:
    """Whether torch itself set that attribute on every module."""
    return key in ("_parameters", "_buffers", "_modules", "training", "_backend") or key.endswith(
        ("_hooks", "_hooks_with_kwargs", "_hooks_always_called", "_buffers_set", "_compiled_call_impl")
    )


def _natural(values: Any, name: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**48 for v in values
    ):
        raise LilliputError(f"{name}: a tensor's size, stride or offset is not a whole number from 0; it is damaged")
    return tuple(values)
