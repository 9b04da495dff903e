"""Sums that show neither the batch, the order, the processor nor the version of numpy."""

import ast
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

from lilliput.sums import deviation, mean, means, products, total

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
from lilliput.policies import reference, layers
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
    told.append((found.decision, found.n, found.estimate, found.low, found.episodes_needed, round(found.evidence, 6)))
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
HELD = ("statistics", "report", "policies/reference.py", "policies/play", "shrink", "study", "record.py")
"""Where numbers are reported, decided on or digested."""


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


def test_nothing_that_is_reported_or_decided_on_is_added_by_numpy_or_blas() -> None:
    places = [LILLIPUT / held for held in HELD]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
    assert len(files) > 40
    found = [where for file in files for where in unordered(file)]
    # Integers below 2**53 held in float64: exact in any order.
    assert [where for where in found if "q @ codes" not in where] == []
    assert len(found) == 1
