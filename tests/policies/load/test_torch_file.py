"""The torch reader: files bent by hand, and torch's own loader as the oracle where torch is installed."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies.load.torch_file import read_torch


def pickled_tensor(
    size: Any,
    stride: Any,
    offset: Any = 0,
    count: Any = 4,
    kind: str = "FloatStorage",
    key: str = "0",
    metadata: bytes = b"",
) -> bytes:
    """A pickle of {"w": tensor}, written by hand so that any number can be put into it."""

    def number(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = (
        b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(count) + b"tQ"
    )
    call = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + number(size)
        + number(stride)
        + b"\x89N"
        + metadata
        + b"tq\x63R"
    )
    return b"\x80\x02}" + text("w") + call + b"s."


def zipped(data_pkl: bytes, storages: dict[str, bytes] | None = None, **extra: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for key, raw in (storages if storages is not None else {"0": np.arange(4, dtype="<f4").tobytes()}).items():
            archive.writestr(f"archive/data/{key}", raw)
        for key, raw in extra.items():
            archive.writestr(f"archive/{key}", raw)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((4,), (1,), 0, [0, 1, 2, 3]),
        ((2, 2), (1, 2), 0, [[0, 2], [1, 3]]),
        ((2,), (2,), 1, [1, 3]),
        ((), (), 2, 2),
        ((0, 3), (3, 1), 4, np.zeros((0, 3))),
        ((1, 4), (99, 1), 0, [[0, 1, 2, 3]]),
        ((3, 2), (0, 1), 0, [[0, 1]] * 3),
    ],
)
def test_strides_and_offsets(size: Any, stride: Any, offset: int, expected: Any) -> None:
    array = read_torch(zipped(pickled_tensor(size, stride, offset)), "x")["w"]
    np.testing.assert_array_equal(array, np.array(expected, np.float32))
    assert array.shape == size
    assert not array.flags.writeable


def test_big_endian_and_bfloat16() -> None:
    data = zipped(pickled_tensor((4,), (1,)), {"0": np.arange(4, dtype=">f4").tobytes()}, byteorder=b"big")
    np.testing.assert_array_equal(read_torch(data, "x")["w"], np.arange(4))
    halves = (np.arange(4, dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    data = zipped(pickled_tensor((4,), (1,), kind="BFloat16Storage"), {"0": halves})
    np.testing.assert_array_equal(read_torch(data, "x")["w"], np.arange(4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(pickled_tensor((5,), (1,))), "reaches outside its storage of 4"),
        (zipped(pickled_tensor((4,), (1,), 1)), "reaches outside its storage"),
        (zipped(pickled_tensor((2,), (4,))), "reaches outside its storage"),
        (zipped(pickled_tensor((1 << 40, 1 << 40), (0, 0))), "repeats the 4 numbers of its storage .*contiguous"),
        (zipped(pickled_tensor((257, 256), (0, 0))), "repeats the 4 numbers of its storage"),
        (zipped(pickled_tensor((4,), (1,), metadata=b"}X\x03\x00\x00\x00neg\x88s")), "to be negated or conjugated"),
        (zipped(pickled_tensor((-1,), (1,))), "not a whole number from 0"),
        (zipped(pickled_tensor((2,), (-1,), 1)), "not a whole number from 0"),
        (zipped(pickled_tensor((2,), (1,), -1)), "not a whole number from 0"),
        (zipped(pickled_tensor((1 << 62,), (1,))), "not a whole number from 0"),
        (zipped(pickled_tensor((1.5,), (1,))), "not a whole number from 0"),
        (zipped(pickled_tensor((True,), (1,))), "not a whole number from 0"),
        (zipped(pickled_tensor((1,) * 9, (1,) * 9)), "it is damaged"),
        (zipped(pickled_tensor((4,), (1, 1))), "it is damaged"),
        (zipped(pickled_tensor((4,), (1,), count=1 << 60)), "has 16 bytes, 4611686018427387904 announced"),
        (zipped(pickled_tensor((4,), (1,), count=-4)), "of -4 elements"),
        (
            zipped(pickled_tensor((4,), (1,), kind="ComplexFloatStorage")),
            "ComplexFloatStorage .* supported: FloatStorage",
        ),
        (zipped(pickled_tensor((4,), (1,), key="../../etc/passwd")), "has no bytes, 16 announced"),
        (zipped(pickled_tensor((4,), (1,)), byteorder=b"middle"), "the byte order b'middle'"),
        (zipped(b"N"), "not a readable pickle"),
        (zipped(b"\x80\x02" + b"]q\x00h\x00a."), None),
        (zipped(b"\x80\x02" + b"]" * 50 + b"a" * 49 + b"."), "nested deeper"),
        (b"\x80\x02N.", "not one of torch.save"),
        (b"hello", "was not written by torch.save"),
        (b"\x1f\x8b", "was not written by torch.save"),
    ],
)
def test_files_that_are_bent(data: bytes, message: str | None) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        read_torch(data, "x")
    assert "\n" not in str(caught.value)


def test_a_tensor_that_torch_negates_when_it_reads_it_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    lazy = torch.complex(torch.zeros(2), torch.ones(2)).conj().imag
    torch.save({"w": lazy}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt")["w"].tolist() == [-1, -1]
    with pytest.raises(LilliputError, match="to be negated or conjugated"):
        read_torch((tmp_path / "x.pt").read_bytes(), "x")


def test_shared_lists_are_converted_once() -> None:
    # Each level holds the one below twice: 2**25 visits if it were walked as a tree.
    data = zipped(b"\x80\x02" + b"K\x01\x85" + b"2\x86" * 25 + b".")
    assert isinstance(read_torch(data, "x"), tuple)


def test_torch_s_own_loader_says_the_same() -> None:
    torch = pytest.importorskip("torch")
    tree = {
        "transposed": torch.randn(3, 4).t(),
        "nested": [torch.arange(5), (torch.randn(2).half(), torch.randn(3).bfloat16())],
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "slice": torch.randn(10)[3:7:2],
        "bools": torch.tensor([True, False]),
        "double": torch.randn(4).double(),
        "layer": torch.nn.Linear(3, 2).state_dict(),
        "text": "x",
    }
    for new_format in (True, False):
        stream = io.BytesIO()
        torch.save(tree, stream, _use_new_zipfile_serialization=new_format)
        assert_equal(read_torch(stream.getvalue(), "x"), tree)


def assert_equal(actual: Any, expected: Any) -> None:
    match expected:
        case dict():
            assert list(actual) == list(expected)
            for key, value in expected.items():
                assert_equal(actual[key], value)
        case list() | tuple():
            assert type(actual) is type(expected)
            for one, other in zip(actual, expected, strict=True):
                assert_equal(one, other)
        case str():
            assert actual == expected
        case _:
            plain = expected.detach().float() if str(expected.dtype) == "torch.bfloat16" else expected.detach()
            np.testing.assert_array_equal(actual, plain.numpy())
            assert actual.dtype == plain.numpy().dtype
