"""What annotations say is held in the first dozens of calls of a test, and in each thirty-second after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float32, TypeCheckError
from tests.checked import another_test, jaxtyped

from lilliput.policies import affine

checked = jaxtyped(typechecker=beartype)


def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


@checked
def product(
    a: Float32[np.ndarray, "n k"], b: Float32[np.ndarray, "k m"], wrong: Any = None
) -> Float32[np.ndarray, "n m"]:
    return zeros(1, 1) if wrong == "shape" else (a @ b).astype(wrong or np.float32)


def test_a_call_like_one_that_was_right_is_right_and_any_other_is_looked_at() -> None:
    for _ in range(3):
        assert product(zeros(2, 3), zeros(3, 4)).shape == (2, 4)
        assert product(b=zeros(3, 4), a=zeros(2, 3)).shape == (2, 4)
        with pytest.raises(TypeCheckError):
            product(zeros(2, 3), zeros(2, 3))
        with pytest.raises(TypeCheckError):
            product(a=zeros(3, 4), b=zeros(2, 3))
        with pytest.raises(TypeCheckError):
            product(zeros(2, 3), zeros(3, 4, dtype=np.float64))
        with pytest.raises(TypeCheckError):
            product([[1.0]], zeros(1, 4))


@pytest.mark.parametrize("wrong", [zeros(9), zeros(2, dtype=np.float64), None])
def test_another_answer_to_the_same_is_looked_at(wrong: Any) -> None:
    calls = []

    @checked
    def answers(a: Float32[np.ndarray, " n"], how: list[Any]) -> Float32[np.ndarray, " n"]:
        calls.append(how)
        return how[0]()

    for _ in range(3):
        assert answers(zeros(2), [lambda: zeros(2)]).shape == (2,)
        with pytest.raises(TypeCheckError):
            answers(zeros(2), [lambda: wrong])
    assert len(calls) == 6, "each call runs once"


@checked
def doubled(n: int) -> int:
    return 2 * n


def of_arrays(wrong: Any = None) -> None:
    product(zeros(2, 3), zeros(3, 4), wrong)


def of_no_array(wrong: Any = None) -> None:
    doubled("1" if wrong else 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [of_arrays, of_no_array])
def test_of_many_calls_in_one_test_each_thirty_second_is_looked_at_and_the_first_of_the_next(call: Any) -> None:
    for _ in range(500):
        call()
    found = []
    for _ in range(64):
        try:
            call(wrong=np.float64)
        except TypeCheckError:
            found.append(True)
    assert len(found) == 2
    another_test()
    for _ in range(64):
        with pytest.raises(TypeCheckError):
            call(wrong=np.float64)


def test_literals_are_told_apart() -> None:
    @checked
    def named(which: Literal["a", "b"], n: int = 0) -> Literal[1, 2]:
        return 1 if n == 0 else n  # type: ignore[return-value]

    for _ in range(2):
        assert named("a") == 1
        assert named("b", 2) == 2
        with pytest.raises(TypeCheckError):
            named("c")  # type: ignore[arg-type]
        with pytest.raises(TypeCheckError):
            named("a", 3)


def test_items_are_told_apart() -> None:
    @checked
    def joined(words: Sequence[str], sizes: dict[str, int]) -> tuple[str, ...]:
        return tuple(words)

    for _ in range(2):
        assert joined(["a"], {"a": 1}) == ("a",)
        for words, sizes in ((["a"], {"a": "b"}), ([1], {}), ((1,), {"a": 1}), (["a"], {2: 1})):
            with pytest.raises(TypeCheckError):
                joined(words, sizes)
        many = ["a"] * 1000
        assert len(joined(many, {})) == 1000
        with pytest.raises(TypeCheckError):
            joined([1] * 1000, {})


def test_what_holds_itself_many_times_takes_no_time() -> None:
    @checked
    def held(bomb: list[Any]) -> int:
        return len(bomb)

    bomb: list[Any] = []
    for _ in range(40):
        bomb = [bomb, bomb]
    bomb.append(bomb)
    assert [held(bomb) for _ in range(3)] == [3, 3, 3]


def test_fields_methods_and_inner_functions_are_looked_at() -> None:
    @checked
    @dataclass(frozen=True)
    class Pair:
        left: Float32[np.ndarray, " n"]
        right: Float32[np.ndarray, " n"]

        @property
        @checked
        def size(self) -> int:
            return self.left.size if self.left.size < 3 else "many"  # type: ignore[return-value]

        @classmethod
        @checked
        def of(cls, one: Float32[np.ndarray, " n"]) -> "Pair":
            return cls(one, one)

    def outer(value: Any) -> Any:
        @checked
        def inner(one: int) -> str:
            return str(one)

        return inner(value)

    for _ in range(3):
        assert Pair(zeros(2), zeros(2)).size == 2
        assert Pair.of(zeros(1)).size == 1
        assert outer(3) == "3"
        with pytest.raises(TypeCheckError):
            Pair(zeros(2), zeros(3))
        with pytest.raises(TypeCheckError):
            assert Pair.of(zeros(3)).size
        with pytest.raises(TypeCheckError):
            Pair.of(zeros(1, 1))
        with pytest.raises(TypeCheckError):
            outer("3")


def test_lilliput_itself_is_checked() -> None:
    for _ in range(2):
        assert affine.packed_nbytes(4, 4) == 2
        with pytest.raises(TypeCheckError):
            affine.packed_nbytes("4", 4)  # type: ignore[arg-type]
