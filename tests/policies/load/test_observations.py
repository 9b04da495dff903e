"""Observations from files: the same array whatever the format, or one line that says what is wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.load import observations as log

X = np.random.default_rng(0).normal(size=(5, 3))
BOX = spaces.Box((3,), np.asarray(-np.inf), np.asarray(np.inf))
MATRIX = spaces.Box((2, 2), np.asarray(-1.0), np.asarray(1.0))
IMAGE = spaces.Box((1, 2, 2), np.asarray(0.0), np.asarray(255.0), "uint8")
KEYED = spaces.Dict((("b", spaces.Box((2,), np.asarray(-1.0), np.asarray(1.0))), ("a", BOX)))


def read_observations(path: Path, space: spaces.ObservationSpace) -> np.ndarray:
    """Where nothing has to be said."""
    found, notes = log.read_observations(path, space)
    assert notes == ()
    return found


def csv(path: Path, rows: np.ndarray, header: str = "") -> Path:
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.17g")
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, allow_pickle=False, **arrays)
    return path


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: npy(folder / "log.npy", X),
        lambda folder: npy(folder / "log.npy", np.asfortranarray(X)),
        lambda folder: npy(folder / "log.npy", X.astype(">f8")),
        lambda folder: npz(folder / "log.npz", anything=X),
        lambda folder: npz(folder / "log.npz", time=np.arange(5), observations=X, action=np.zeros((5, 1))),
        lambda folder: csv(folder / "log.csv", X),
        lambda folder: csv(folder / "log.csv", X, "speed,angle,distance"),
        lambda folder: csv(folder / "log.txt", X, "\ufeffspeed,angle,distance"),
    ],
)
def test_the_same_observations_from_every_format(write: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read_observations(write(tmp_path), BOX)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, X.astype(np.float32))


def test_flattened_observations_take_the_shape_of_the_space(tmp_path: Path) -> None:
    counted = np.arange(12).reshape(3, 4)[::-1]
    for space, shape, flat in ((MATRIX, (3, 2, 2), counted / 16), (IMAGE, (3, 1, 2, 2), counted)):
        for path in (
            npy(tmp_path / "a.npy", flat),
            csv(tmp_path / "a.csv", flat),
            npy(tmp_path / "b.npy", flat.reshape(shape)),
        ):
            found = read_observations(path, space)
            assert found.shape == shape
            np.testing.assert_array_equal(found.reshape(3, 4), flat)
    npy(tmp_path / "a.npy", counted)
    assert read_observations(tmp_path / "a.npy", IMAGE).dtype == np.uint8


def test_a_dict_by_its_keys_or_as_one_vector_in_the_order_of_the_space(tmp_path: Path) -> None:
    parts = {"a": X, "b": X[:, :2] / 10, "other": np.zeros(7)}
    expected = np.concatenate([parts["b"], parts["a"]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(read_observations(npz(tmp_path / "k.npz", **parts), KEYED), expected)
    np.testing.assert_array_equal(read_observations(csv(tmp_path / "k.csv", expected), KEYED), expected)


def bad(value: float, row: int = 3) -> np.ndarray:
    changed = X.copy()
    changed[row, 1] = value
    return changed


@pytest.mark.parametrize(
    ("write", "space", "said"),
    [
        (lambda f: f / "none.npy", BOX, "none.npy' cannot be read: No such file"),
        (lambda f: npy(f / "x.npy", X[:, :2]), BOX, r"float64\[5, 2\]; the policy takes numbers of shape \(n, 3\)"),
        (lambda f: npy(f / "x.npy", X[0]), BOX, r"float64\[3\]; the policy takes numbers"),
        (lambda f: npy(f / "x.npy", X[:0]), BOX, "holds no observation"),
        (lambda f: npy(f / "x.npy", bad(np.nan)), BOX, "observation 3 .* is not finite"),
        (lambda f: npy(f / "x.npy", bad(-np.inf, 0)), BOX, "observation 0 .* is not finite"),
        (lambda f: csv(f / "x.csv", bad(1e300)), BOX, "observation 3 .* is not finite in float32"),
        (lambda f: npy(f / "x.npy", X.astype(str)), BOX, "damaged or no plain numbers"),
        (lambda f: npy(f / "x.npy", X + 1j), BOX, "damaged or no plain numbers"),
        (lambda f: npy(f / "x.npy", X[:, :1].repeat(4, 1)), IMAGE, "other than 0, 1, ... 255; the policy takes uint8"),
        (lambda f: npz(f / "x.npz", a=X, b=X), BOX, "holds a, b; it needs one named observations"),
        (lambda f: npz(f / "x.npz", a=X), KEYED, "the policy takes numbers of shape"),
        (lambda f: npz(f / "x.npz", a=X, c=X), KEYED, "needs an array for each of b, a, or one named observations"),
        (lambda f: csv(f / "x.csv", X[:, :2]), BOX, "the policy takes numbers of shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    write: Callable[[Path], Path], space: spaces.ObservationSpace, said: str, tmp_path: Path
) -> None:
    with pytest.raises(LilliputError, match=said) as caught:
        read_observations(write(tmp_path), space)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "holds no observation"),
        (b"t;\n", "holds no observation"),
        (b"0,1,2\na,b,c\n", "row 2: could not convert"),
        (
            b"0,5;1,5;2,5\n0,5;1,5;2,5\n",
            "with a decimal point, and commas, semicolons, tabs or spaces",
        ),
        (b"a,b,c\n1,2,3\n4,x,6\n", "row 3: could not convert string to float: 'x'"),
        (b"1.5,2,3\n4,5\n", "row 2 has 2 columns, the first 3"),
        (b"\xff\xfe\x00", "is no .npy, no .npz and no text; allowed: .npz, .npy, .csv"),
        (b"\x80\x04N.", "is no .npy"),
        (b"\x93NUMPY\x01\x00v\x00{", "damaged or no plain numbers"),
        (b"PK\x03\x04", "is not a readable zip archive"),
        (b'1,"2', "is not readable CSV"),
    ],
)
def test_damaged_files_are_refused_in_one_line(text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text)
    with pytest.raises(LilliputError, match=said) as caught:
        read_observations(path, BOX)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", ", "  "])
@pytest.mark.parametrize("header", ["", "speed angle distance", "0 1 2", "1 2 3"])
def test_every_separator_is_read_and_a_row_that_counts_is_a_header(separator: str, header: str, tmp_path: Path) -> None:
    lines = [separator.join(f"{value:.17g}" for value in row) for row in X]
    lines = [separator.join(header.split())] * bool(header) + lines
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    found, notes = log.read_observations(tmp_path / "log.csv", BOX)
    np.testing.assert_array_equal(found, X.astype(np.float32))
    assert bool(notes) == header[:1].isdecimal()
    assert all("taken as a header" in note for note in notes)


def test_two_whole_numbers_above_whole_numbers_are_an_observation(tmp_path: Path) -> None:
    two = spaces.Box((2,), np.asarray(-np.inf), np.asarray(np.inf))
    (tmp_path / "log.csv").write_text("0,1\n1,0\n")
    assert len(read_observations(tmp_path / "log.csv", two)) == 2
    (tmp_path / "log.csv").write_text("0,1\n1,0.5\n")
    found, notes = log.read_observations(tmp_path / "log.csv", two)
    assert len(found) == len(notes) == 1


def test_observations_outside_of_the_bounds_are_said_and_far_outside_refused(tmp_path: Path) -> None:
    low, high = np.array([-1.0, -np.inf, 0.0]), np.array([1.0, np.inf, 10.0])
    space = spaces.Box((3,), low, high)
    x = np.random.default_rng(0).uniform([-1, -1e6, 0], [1, 1e6, 10], (20, 3))
    assert len(read_observations(npy(tmp_path / "in.npy", x), space)) == 20
    few = x.copy()
    few[4, 2] = 10.5
    _, notes = log.read_observations(npy(tmp_path / "few.npy", few), space)
    assert " ".join(notes) == (
        "1 of 20 observations in 'few.npy' are outside of the policy's bounds (number 2, counted from 0, is 10.5; the "
        "policy takes 0 to 10): are they raw, in its units and order?"
    )
    degrees = x * [180 / np.pi * 3, 1, 1]
    with pytest.raises(LilliputError, match=r"outside of the policy's bounds .*number 0.* in the units and the order"):
        log.read_observations(npy(tmp_path / "degrees.npy", degrees), space)


def test_a_pickle_inside_is_never_loaded(tmp_path: Path) -> None:
    class Marker:
        def __reduce__(self):
            return (Path(tmp_path / "executed").touch, ())

    for path in (tmp_path / "x.npy", tmp_path / "x.npz"):
        array = np.array([Marker()], dtype=object)
        (np.save if path.suffix == ".npy" else np.savez)(path, array, allow_pickle=True)
        with pytest.raises(LilliputError, match="damaged or no plain numbers"):
            read_observations(path, BOX)
    assert not (tmp_path / "executed").exists()
