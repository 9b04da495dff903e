"""Sums that show neither the batch, the order, the processor nor the version of numpy."""

import ast
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processors import LESSER

from lilliput.policies.compress import cholesky
from lilliput.sums import deviation, exact_products, mean, means, products, total

LILLIPUT = Path(__file__).parent.parent / "src" / "lilliput"
NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40)


@given(NUMBERS, st.randoms(use_true_random=False))
def test_sums_are_those_of_fractions_in_any_order(numbers: list[float], random) -> None:
    exact = sum(map(Fraction, numbers))
    shuffled = random.sample(numbers, len(numbers))
    assert total(numbers) == total(np.array(shuffled)) == float(exact)
    assert mean(shuffled) == mean(numbers)
    assert deviation(shuffled) == deviation(numbers) == pytest.approx(np.std(numbers, ddof=1), rel=1e-9, abs=1e-12)


def test_what_is_not_finite_stays_so() -> None:
    assert total([np.inf, 1.0]) == np.inf
    assert np.isnan(total([np.nan, 1.0]))
    assert total([np.inf, 1e308, 1e308]) == np.inf
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(total([np.inf, -np.inf]))
    with pytest.raises(OverflowError):
        total([1e308, 1e308])


def moved(array: np.ndarray, offset: int) -> np.ndarray:
    """The same numbers so many bytes behind a cache line."""
    room = np.empty(array.nbytes + 64 + offset, np.uint8)
    start = -room.ctypes.data % 64 + offset
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


WIDTHS = (1, 2, 3, 7, 17, 100, 256, 1000, 4097, 9001, 30_000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [1, 2, 17, 64])
def test_a_product_depends_on_its_two_rows_alone(outputs: int, dtype: type) -> None:
    rng = np.random.default_rng(outputs)
    for width in WIDTHS:
        rows = rng.standard_normal((9, width)).astype(dtype)
        weight = rng.standard_normal((outputs, width)).astype(dtype)
        together = products(rows, weight)
        np.testing.assert_allclose(together, rows @ weight.T, rtol=0, atol=4 * np.finfo(dtype).eps * (10 + width))
        order = rng.permutation(9)
        np.testing.assert_array_equal(products(rows[order], weight), together[order])
        np.testing.assert_array_equal(products(weight, np.asfortranarray(rows)).T, together)
        np.testing.assert_array_equal(products(rows, np.repeat(weight, 2, axis=0)[::2]), together)
        for one, offset in enumerate((0, 4, 8, 16, 20, 32, 36, 48, 60)):
            if offset % np.dtype(dtype).itemsize == 0:
                alone = products(moved(rows[one : one + 1], offset), moved(weight, 64 - offset))
                np.testing.assert_array_equal(alone[0], together[one])
                np.testing.assert_array_equal(products(rows[one : one + 1], weight[-1:])[0, 0], together[one, -1])
        assert means(rows[3]) == means(rows)[3] == means(rows.reshape(3, 3, width))[1, 0]


_DIGEST = """
import hashlib
import numpy as np
from lilliput.policies import reference, layers, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy
from lilliput.report.decisions import decide
from lilliput.statistics import confirm, plan_confirmation
from lilliput.sums import deviation, mean, products

rng = np.random.default_rng(0)
told = []
played = [(rng.normal(95, 9, n), rng.normal(100, 9, n), rng.normal(0, 9, n)) for n in (20, 60, 33, 60, 100, 20)]
together = decide(played, 0.9)
for order in (np.arange(6)[::-1], rng.permutation(6)):
    assert decide([played[i] for i in order], 0.9) == [together[i] for i in order]
assert [decide([one], 0.9)[0] for one in played] == together
for candidate, baseline, random in played:
    plan = plan_confirmation(candidate[:20], baseline[:20], random[:20], 0.8, max_episodes=200)
    order = rng.permutation(20)
    some = (side[:20][order] for side in (candidate, baseline, random))
    assert plan == plan_confirmation(*some, 0.8, max_episodes=200)
    found = confirm(candidate, baseline, random, plan)
    order = rng.permutation(len(candidate))
    assert found == confirm(candidate[order], baseline[order], random[order], plan)
    told.append((found.decision, found.n, found.estimate, found.low, found.episodes_needed))
told += [(mean(c), deviation(c)) for c, _, _ in played]
print(hashlib.sha256(repr((together, told)).encode()).hexdigest())

sums = hashlib.sha256()
def weights(*shape):
    return rng.standard_normal(shape).astype(np.float32)
for shape, layer in [
    ((37, 17), layers.Dense(weights(256, 17), weights(256))),
    ((37, 256), layers.Dense(weights(6, 256), None)),
    ((37, 376), layers.Dense(weights(1, 376), None)),
    ((5, 4, 20, 20), layers.Conv2d(weights(8, 4, 5, 5), None, (2, 2), (1, 1))),
    ((37, 64), layers.LayerNorm(weights(64), weights(64), 1e-5)),
    ((37, 3), layers.LayerNorm(weights(3), weights(3), 1e-5)),
]:
    x = weights(*shape)
    y = reference.apply(layer, x)
    assert np.array_equal(y[::-1], reference.apply(layer, x[::-1]))
    assert np.array_equal(y, np.concatenate([reference.apply(layer, row[None]) for row in x]))
    sums.update(y.tobytes())
print(sums.hexdigest())

def dense(outputs, inputs):
    return layers.Dense(weights(outputs, inputs) / np.float32(np.sqrt(inputs)), weights(outputs))
space = lambda n: spaces.Box((n,), np.array(-np.inf), np.array(np.inf))
stack = dense(200, 17), layers.Relu(), dense(200, 200), layers.Relu(), dense(6, 200)
policy = Policy(space(17), space(6), stack)
x = weights(1000, 17)
x[:, 3] = x[:, 2] / np.float32(3) + x[:, 1]
for recipe in (
    'quantize(weight_bits=4, activation_bits=8, method="gptq")',
    'quantize(weight_bits=4, activation_bits=8, scheme="static", method="gptq", calibration="mse")',
    'prune_weights(sparsity=0.5, importance="sparsegpt")',
    'prune_units(ratio=0.5, importance="optimal_brain_surgeon")',
):
    print(recipe, compress(policy, recipe, Context(policy, given=x)).digest)
"""


@pytest.mark.slow
def test_decisions_and_sums_are_the_same_on_lesser_processors(tmp_path: Path) -> None:
    script = tmp_path / "digest.py"
    script.write_text(_DIGEST)
    told = {
        name: subprocess.run([sys.executable, str(script)], env=os.environ | env, capture_output=True, text=True)
        for name, env in {"this one": {}, **LESSER}.items()
    }
    assert {name: one.stderr[-500:] for name, one in told.items() if one.returncode} == {}
    assert len({one.stdout for one in told.values()}) == 1, {name: one.stdout for name, one in told.items()}


ADDS = {"dot", "vdot", "vecdot", "inner", "matmul", "tensordot", "einsum", "average", "mean", "nanmean", "std", "var"}
ADDS |= {"sum", "nansum", "cov", "corrcoef", "norm"}
HELD = (
    "statistics",
    "report",
    "policies/reference.py",
    "policies/linear.py",
    "policies/play",
    "shrink",
    "study",
    "record.py",
)
"""Where numbers are reported, decided on or digested."""


REFITS = (
    "brain_surgeon", "chain", "cholesky", "fold_inputs", "gptq", "prune_units", "prune_weights", "quantize",
    "regression", "remove_dead_inputs",
)  # fmt: skip
"""Steps whose arithmetic ends in weights."""


def unordered(path: Path) -> list[str]:
    """Where a file adds by numpy or BLAS."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.BinOp(op=ast.MatMult()):
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
            case ast.Call(func=ast.Attribute(attr=name)) if name in ADDS:
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_nothing_that_a_digest_depends_on_is_solved_by_lapack_or_added_by_blas() -> None:
    """Refitted weights differ in their last digits otherwise, and with them the digests of policies."""
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for name in REFITS
        for path in [LILLIPUT / "policies" / "compress" / f"{name}.py"]
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("np.linalg", "np.dot")))
    ]
    assert [one for one in found if "LinAlgError" not in one] == []


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 4), (7, 5000, 2), (4, 0, 3)])
def test_exact_products_are_the_sums_in_any_order(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    k, n, m = shape
    left = rng.normal(size=(k, n)) * 10.0 ** rng.integers(-12, 12, (k, 1))
    right = rng.normal(size=(m, n)) * 10.0 ** rng.integers(-12, 12, (m, 1))
    exact = np.array([[math.fsum(a * b) for b in right] for a in left]).reshape(k, m)
    sizes = np.abs(left).sum(axis=1)[:, None] * np.abs(right).max(axis=1, initial=0)
    assert (np.abs(exact_products(left, right) - exact) <= 1e-15 * sizes).all()
    order = rng.permutation(n)
    if n <= 4096:
        assert np.array_equal(exact_products(left[:, order], right[:, order]), exact_products(left, right))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_systems_are_solved_as_lapack_does(n: int) -> None:
    rng = np.random.default_rng(0)
    half, right = rng.normal(size=(n, 2 * n)), rng.normal(size=(n, 3))
    matrix = half @ half.T
    lower = cholesky.factor(matrix)
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cholesky.solve(matrix, right), np.linalg.solve(matrix, right), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(cholesky.inverse(matrix), np.linalg.inv(matrix), rtol=1e-8, atol=1e-10)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        cholesky.factor(-matrix)


def test_nothing_that_is_reported_or_decided_on_is_added_by_numpy_or_blas() -> None:
    places = [LILLIPUT / held for held in HELD]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
    assert len(files) > 40
    # What a twin adds it has to add as Gymnasium does, to the last bit: tests/policies/play hold it to that.
    found = [where for file in files if file.parent.name != "twin" for where in unordered(file)]
    # Integers below 2**53, here held in float64: exact in any order.
    known = ("q @ codes", "lanes.lengths[going].sum()")
    assert [where for where in found if not any(one in where for one in known)] == []
    assert len(found) == len(known)
