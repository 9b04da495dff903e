"""Rounding and pruning of one weight, against brute force and what each is when a part of it is switched off."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.models.compress.arithmetic.columns import factor
from lilliput.models.compress.arithmetic.grid import Grid
from lilliput.models.compress.arithmetic.pruning import follows, magnitude, sparsegpt, wanda
from lilliput.models.compress.arithmetic.rounding import gptq, nearest
from lilliput.models.compress.arithmetic.spqr import spqr
from lilliput.models.storage import stored_bytes


def weight_and_hessian(rows=24, columns=64, seed=0, n=400):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((columns, columns)) * np.exp(rng.standard_normal(columns))
    x = (rng.standard_normal((n, columns)) @ mixing).astype(np.float32)
    return rng.standard_normal((rows, columns)).astype(np.float32), x.T @ x / n


def error(new, weight, hessian):
    missing = (new - weight).astype(np.float64)
    return float(np.sum(missing @ hessian.astype(np.float64) * missing))


def test_the_factor_is_that_of_the_inverse():
    _, hessian = weight_and_hessian()
    upper = factor(hessian, 0.01).astype(np.float64)
    damped = hessian + 0.01 * np.diag(hessian).mean() * np.eye(64)
    assert np.array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(upper.T @ upper @ damped, np.eye(64), atol=2e-3)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group_size", [0, 16, 24])
@pytest.mark.parametrize("act_order", [True, False])
def test_gptq_with_an_identity_for_a_hessian_is_nearest(symmetric, group_size, act_order):
    weight, _ = weight_and_hessian()
    identity = np.eye(64, dtype=np.float32)
    one = gptq(weight, identity, 4, group_size, symmetric=symmetric, act_order=act_order)
    other = nearest(weight, 4, group_size, symmetric=symmetric)
    assert np.array_equal(one.codes, other.codes)
    assert np.array_equal(one.dense, other.dense)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_gptq_breaks_less_than_nearest(bits):
    weight, hessian = weight_and_hessian()
    rounded = error(nearest(weight, bits, 16, symmetric=True).dense, weight, hessian)
    assert error(gptq(weight, hessian, bits, 16, symmetric=True).dense, weight, hessian) < rounded
    assert error(gptq(weight, hessian, bits, 16, symmetric=True, act_order=True).dense, weight, hessian) < rounded


def test_gptq_is_the_paper_s_on_two_by_six_weights_column_by_column():
    """The published recursion itself: the inverse Hessian, with each finished column eliminated from it."""
    weight, hessian = weight_and_hessian(rows=2, columns=6, n=50)
    grid = Grid(3, symmetric=True)
    scale, zero = grid.fit(weight)
    damped = hessian.astype(np.float64) + 0.01 * np.diag(hessian).mean() * np.eye(6)
    left, inverse = weight.astype(np.float64), np.linalg.inv(damped)
    for column in range(6):
        value = grid.codes(left[:, column].astype(np.float32), scale, zero) * scale
        wrong = left[:, column] - value
        left -= np.outer(wrong / inverse[column, column], inverse[column])
        left[:, column] = value
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    np.testing.assert_allclose(gptq(weight, hessian, 3, 0, symmetric=True).dense, left, atol=1e-5)


def test_no_codes_of_two_by_six_weights_are_better_than_a_full_search_finds_and_gptq_is_near():
    weight, hessian = weight_and_hessian(rows=2, columns=6, n=50, seed=3)
    found = gptq(weight, hessian, 2, 0, symmetric=True)
    best = 0.0
    for row in range(2):
        every = np.array(list(itertools.product(range(-2, 2), repeat=6)), np.float32) * np.asarray(found.scale)[row, 0]
        missing = every - weight[row]
        best += float(np.min(np.sum(missing @ hessian * missing, axis=1)))
    rounded = error(nearest(weight, 2, 0, symmetric=True).dense, weight, hessian)
    assert best <= error(found.dense, weight, hessian) * (1 + 1e-5)
    assert error(found.dense, weight, hessian) <= rounded


def test_spqr_without_outliers_and_with_real_statistics_is_gptq():
    weight, hessian = weight_and_hessian()
    one = spqr(weight, hessian, 3, 16, outliers=0.0, statistics_bits=None, damping=0.01)
    other = gptq(weight, hessian, 3, 16, symmetric=False)
    assert np.array_equal(one.dense, other.dense)
    assert one.outliers is None


@pytest.mark.parametrize("seed", range(3))
def test_spqr_keeps_about_the_share_that_is_asked_for_and_breaks_less_for_it(seed):
    weight, hessian = weight_and_hessian(rows=96, columns=128, seed=seed, n=2000)
    weight.flat[np.random.default_rng(seed).choice(weight.size, 40, replace=False)] *= 8
    found = spqr(weight, hessian, 3, 16, outliers=0.01)
    without = spqr(weight, hessian, 3, 16, outliers=0.0)
    assert found.outliers is not None
    share = len(found.outliers.values) / weight.size
    assert 0.004 < share < 0.02
    assert error(found.dense, weight, hessian) < error(without.dense, weight, hessian)
    row = np.repeat(np.arange(96), np.diff(found.outliers.starts))
    assert np.array_equal(found.dense[row, found.outliers.columns], found.outliers.values.astype(np.float32))


def test_sparsegpt_removes_the_least_harmful_of_two_by_six_weights_as_elimination_does():
    """The published recursion: the pattern is chosen four columns at a time, pruned weights are eliminated in order."""
    weight, hessian = weight_and_hessian(rows=2, columns=6, n=50)
    upper = factor(hessian, 0.01).astype(np.float64)
    left = weight.astype(np.float64)
    for start, size in ((0, 4), (4, 2)):
        harm = np.square(left[:, start : start + size] / np.diag(upper)[start : start + size])
        gone = np.zeros((2, size), bool)
        if size == 4:
            np.put_along_axis(gone, np.argsort(harm, axis=1)[:, :2], True, axis=1)
        for column in range(start, start + size):
            lost = np.where(gone[:, column - start], left[:, column], 0)
            left[:, column:] -= np.outer(lost / upper[column, column], upper[column, column:])
            left[gone[:, column - start], column] = 0
    np.testing.assert_allclose(sparsegpt(weight, hessian, 0.5, (2, 4)), left, atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_every_way_of_pruning_leaves_exactly_the_share(sparsity):
    weight, hessian = weight_and_hessian(rows=24, columns=200, n=1000)
    assert np.count_nonzero(~magnitude(weight, sparsity)) == math.floor(sparsity * weight.size)
    assert (~wanda(weight, hessian, sparsity)).sum(axis=1).tolist() == [math.floor(sparsity * 200)] * 24
    assert np.count_nonzero(sparsegpt(weight, hessian, sparsity) == 0) == math.floor(sparsity * weight.size + 1e-9)


def test_wanda_for_equal_inputs_is_magnitude_of_each_row():
    weight, _ = weight_and_hessian()
    kept = wanda(weight, np.eye(64, dtype=np.float32) * 4, 0.5)
    assert all(np.abs(row[~k]).max() <= np.abs(row[k]).min() for row, k in zip(weight, kept, strict=True))


def test_sparsegpt_breaks_less_than_wanda_and_wanda_less_than_magnitude():
    weight, hessian = weight_and_hessian(seed=1)
    third = error(sparsegpt(weight, hessian, 0.5), weight, hessian)
    second = error(weight * wanda(weight, hessian, 0.5), weight, hessian)
    assert third < second < error(weight * magnitude(weight, 0.5), weight, hessian)


def test_a_pattern_holds_in_every_group_and_survives_rounding():
    weight, hessian = weight_and_hessian()
    for pruned in (
        weight * magnitude(weight, 0.5, (2, 4)),
        weight * wanda(weight, hessian, 0.5, (2, 4)),
        sparsegpt(weight, hessian, 0.5, (2, 4)),
    ):
        kept = pruned != 0
        assert follows(kept, (2, 4)) == 1
        for rounded in (
            nearest(pruned, 4, 16, symmetric=False, kept=kept),
            gptq(pruned, hessian, 4, 16, symmetric=False, kept=kept),
            gptq(pruned, hessian, 4, 16, symmetric=True, act_order=True, kept=kept),
            spqr(pruned, hessian, 3, 16, outliers=0.01, kept=kept),
        ):
            assert not rounded.dense[~kept].any()
            assert follows(rounded.dense != 0, (2, 4)) == 1
    loose = gptq(sparsegpt(weight, hessian, 0.5, (2, 4)), hessian, 4, 16, symmetric=False)
    assert follows(loose.dense != 0, (2, 4)) < 1  # what happens where the pruned are not kept


def test_bytes_are_those_of_the_packed_arrays():
    weight, hessian = weight_and_hessian(rows=24, columns=64)
    found = nearest(weight, 4, 16, symmetric=True)
    assert stored_bytes(found.dense, found) == 24 * 64 // 2 + 24 * 4 * 2  # codes, float16 scales
    found = nearest(weight, 3, 16, symmetric=False)
    assert stored_bytes(found.dense, found) == 24 * 64 * 3 // 8 + 24 * 4 * 2 + 24 * 4 * 3 // 8
    kept = magnitude(weight, 0.75)
    found = nearest(weight, 4, 0, symmetric=True, kept=kept)
    n_kept = np.count_nonzero(found.dense)
    assert stored_bytes(found.dense, found) == 24 * 64 // 8 + math.ceil(n_kept / 2) + 24 * 2
    found = spqr(weight, hessian, 3, 16, outliers=0.05)
    assert found.outliers is not None
    n = len(found.outliers.values)
    second = 2 * (math.ceil(24 * 4 * 3 / 8) + 2 * 2 * (2 * 4))
    assert stored_bytes(found.dense, found) == 24 * 64 * 3 // 8 + second + 25 * 4 + n * 2 + n * 2
    assert stored_bytes(weight * kept, None) == 24 * 64 // 8 + np.count_nonzero(kept) * 4
    assert stored_bytes(weight, None) == weight.nbytes


def test_what_cannot_be_calibrated_on_is_refused():
    weight, hessian = weight_and_hessian()
    with pytest.raises(LilliputError, match="nothing but zeros"):
        gptq(weight, np.zeros_like(hessian), 4, 0, symmetric=True)
    with pytest.raises(LilliputError, match="not finite"):
        sparsegpt(weight, hessian * np.inf, 0.5)
    lonely = np.zeros_like(hessian)
    lonely[3, 3] = 1.0
    assert np.isfinite(gptq(weight, lonely, 4, 0, symmetric=True).dense).all()


def llm_compressor():
    """What llm-compressor 0.14.0.1 made of one weight; `fixtures/write_llmcompressor.py` writes it."""
    with np.load(Path(__file__).parent.parent / "fixtures" / "llmcompressor.npz") as data:
        return {name: data[name] for name in data.files}


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group_size", [0, 16])
def test_gptq_gives_the_weights_of_llm_compressor(bits, group_size):
    theirs = llm_compressor()
    weight, hessian = theirs["weight"], theirs["hessian"]
    ours = gptq(weight, hessian, bits, group_size, symmetric=True, act_order=bool(group_size)).dense
    wanted = theirs[f"gptq.{bits}.{group_size}"]
    assert error(ours, weight, hessian) == pytest.approx(error(wanted, weight, hessian), rel=0.01)
    assert np.mean(np.isclose(ours, wanted, atol=1e-4)) > 0.99


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_wanda_prunes_what_llm_compressor_prunes(pattern):
    theirs = llm_compressor()
    kept = wanda(theirs["weight"], theirs["hessian"], 0.5, pattern)
    assert np.array_equal(kept, theirs["wanda.2" if pattern else "wanda.0"] != 0)


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_sparsegpt_gives_the_weights_of_llm_compressor(pattern):
    theirs = llm_compressor()
    ours = sparsegpt(theirs["weight"], theirs["hessian"], 0.5, pattern)
    wanted = theirs["sparsegpt.2" if pattern else "sparsegpt.0"]
    if pattern is None:
        # Theirs prunes one weight more than half: "at most the threshold" takes the threshold itself along.
        assert np.count_nonzero((ours != 0) != (wanted != 0)) == 1
        return
    np.testing.assert_allclose(ours, wanted, atol=1e-3)
