"""The inert pickle machine against the standard pickler, and against pickles made to do harm."""

import collections
import os
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.policies.load import inert_pickle
from lilliput.policies.load.inert_numpy import array_of
from lilliput.policies.load.inert_pickle import (
    DICT,
    ORDERED_DICT,
    SET,
    Global,
    InertCall,
    is_call,
    read_pickle,
    state_of,
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.just(bytearray(b"x")),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner), st.tuples(inner, inner, inner, inner)
    ),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """The value that the records stand for."""
    match value:
        case InertCall() if is_call(value, DICT, ORDERED_DICT):
            return {plain(key): plain(item) for key, item in value.items}
        case InertCall(args=(str(text), "latin1")) if is_call(value, Global("_codecs", "encode")):
            return text.encode("latin-1")
        case InertCall() if is_call(value, Global("builtins", "bytes"), Global("builtins", "bytearray")):
            return plain(value.args[0]) if value.args else b""
        case list() | tuple():
            return type(value)(plain(item) for item in value)
        case _:
            return value


@given(tree=TREES, protocol=st.integers(0, 5))
def test_values_come_back_as_from_the_standard_unpickler(tree: Any, protocol: int) -> None:
    data = pickle.dumps(tree, protocol=protocol)
    value, end = read_pickle(data + b"more", "x")
    assert end == len(data)
    assert plain(value) == pickle.loads(data)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.array([1, 2, 3], ">i4"),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.float64(2.5),
        np.int64(-7),
        np.array(3, np.uint8),
    ],
    ids=repr,
)
def test_arrays_come_back(array: Any, protocol: int) -> None:
    value, _ = read_pickle(pickle.dumps(array, protocol=protocol), "x")
    read = array_of(value, "x")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert not read.flags.writeable


def test_an_object_is_only_described() -> None:
    counter = collections.OrderedDict(a=1)
    value, _ = read_pickle(pickle.dumps({"c": counter, "s": {3}}), "x")
    parts = dict(value.items)
    assert is_call(parts["c"], ORDERED_DICT)
    assert parts["c"].items == [("a", 1)]
    assert is_call(parts["s"], SET)
    assert parts["s"].members == [3]


class Hostile:
    def __reduce__(self) -> Any:
        return (os.system, ("touch /tmp/lilliput-was-here; exit 3",))


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(protocol: int) -> None:
    value, _ = read_pickle(pickle.dumps(Hostile(), protocol=protocol), "x")
    assert isinstance(value, InertCall)
    assert value.maker == Global("posix", "system") or value.maker.name == "system"
    assert not os.path.exists("/tmp/lilliput-was-here")  # noqa: PTH110


def test_build_changes_no_attribute_of_ours() -> None:
    # A state with the names of Record's own fields, and one for a class.
    state = b"}(X\x05\x00\x00\x00itemsK\x01X\x09\x00\x00\x00__class__K\x02u"
    data = b"\x80\x02clilliput.load.inert_pickle\nMAX_OPERATIONS\n)R" + state + b"b."
    value, _ = read_pickle(data, "x")
    assert value.items == []
    assert state_of(value) == {"items": 1, "__class__": 2}
    assert inert_pickle.MAX_OPERATIONS > 2


BOMBS = {
    "bytes of 2**60": b"\x8e" + struct.pack("<Q", 1 << 60) + b".",
    "bytearray of 2**60": b"\x96" + struct.pack("<Q", 1 << 60) + b".",
    "text of 2**31": b"X" + struct.pack("<I", 1 << 31) + b".",
    "long of 2**31 - 1": b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b".",
    "long of a negative size": b"\x8b" + struct.pack("<i", -5) + b".",
    "decimal of 100,000 digits": b"L" + b"9" * 100_000 + b"L\n.",
    "get of what was never put": b"h\x05.",
    "more items than the stack has": b"\x87.",
    "no end": b"N",
    "pop of nothing": b"0.",
    "items into a tuple": b")(K\x01K\x02u.",
    "append to a number": b"K\x01K\x02a.",
    "unknown operation": b"\xff.",
    "extension": b"\x82\x01.",
    "out of band": b"\x97.",
    "global of numbers": b"K\x01K\x02\x93.",
    "bad text": b"X\x02\x00\x00\x00\xff\xfe.",
    "bad float": b"Fabc\n.",
    "empty": b"",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_damaged_and_hostile_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(LilliputError, match="x is not a readable pickle"):
        read_pickle(data, "x")


def test_a_large_memo_index_costs_nothing() -> None:
    value, _ = read_pickle(b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.", "x")
    assert value == 7


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(LilliputError, match="a pickle with more than 200000 operations"):
        read_pickle(b"N0" * 150_000 + b"N.", "x")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_integers_that_python_neither_prints_nor_makes_floats_are_refused(protocol: int) -> None:
    assert read_pickle(pickle.dumps(2**255, protocol), "x")[0] == 2**255
    with pytest.raises(LilliputError, match=r"more than 256 bits in an integer|not a readable pickle"):
        read_pickle(pickle.dumps(10**400, protocol), "x")


def test_a_billion_laughs_stay_small() -> None:
    # Each level holds the one below twice; a key of such a tuple would take forever to hash.
    laugh = b"K\x01" + b"2\x86" * 200
    value, _ = read_pickle(b"}" + laugh + b"K\x02s.", "x")
    assert is_call(value, DICT)


def shaped(shape: tuple[Any, ...], raw: bytes, code: str = "f8") -> InertCall:
    dtype = InertCall(Global("numpy", "dtype"), (code, False, True), (3, "<", None, None, None, -1, -1, 0))
    record = InertCall(Global("numpy.core.multiarray", "_reconstruct"), (Global("numpy", "ndarray"), (0,), b"b"))
    record.state = (1, shape, dtype, False, raw)
    return record


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (shaped((1 << 60,), b"12345678"), "8 bytes for 1152921504606846976 numbers"),
        (shaped((-1,), b""), "impossible shape"),
        (shaped((True,), b"12345678"), "impossible shape"),
        (shaped((1,) * 40, b"12345678"), "impossible shape"),
        (shaped((1,), b"12345678", "O8"), "not a plain number"),
        (shaped((1,), b"12345678", "V8"), "not a plain number"),
        (InertCall(Global("os", "system"), ("ls",)), "not an array of numbers"),
        (1 << 70, "not an array of numbers"),
        ("text", "not an array of numbers"),
    ],
)
def test_arrays_that_cannot_be(record: Any, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        array_of(record, "x")
