"""The front of made-up studies whose order is known."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.report.rows import SEEDS, record, study

from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.report import figures, front
from lilliput.report.summary import rows
from lilliput.task import Task

SMALL, LARGE = "distill(hidden=(4,), weight_bits=6)", "distill(hidden=(32,), weight_bits=6)"


def test_of_all_teachers_the_best_for_its_bytes_leads() -> None:
    found = rows(study({SMALL: (0.5, 300), LARGE: (0.9, 900)}, environment="HalfCheetah-v4", level=10_000.0), 0.9)
    (points,) = front.fronts(found).values()
    assert [point.bytes for point in points] == sorted(point.bytes for point in points)
    leading = [(point.bytes, dict(point.row.names)["algorithm"]) for point in points if point.leads]
    # Each teacher's students keep 0.01 more than those of the one before it; of the baselines the first may be any.
    assert leading[:2] == [(300, "TD3"), (900, "TD3")]
    small, large = (next(p for p in points if p.leads and p.bytes == size) for size in (300, 900))
    assert (small.published, large.published) == (5512, 6750)
    returns = found_returns(small)
    interval = stats.t.interval(0.95, len(returns) - 1, returns.mean(), stats.sem(returns))
    assert math.isclose(small.low, interval[0], rel_tol=1e-6)
    assert math.isclose(small.high, interval[1], rel_tol=1e-6)


def found_returns(point: front.FrontPoint) -> np.ndarray:
    rng = np.random.default_rng(0)
    bases = [10_000.0 + rng.normal(0, 5, len(SEEDS)) for _ in range(3)]
    return bases[2] * 0.52


def test_the_published_bytes_hold_the_normalizer() -> None:
    """As the paper's own numbers give them: weights, biases, and eight bytes an input."""
    for name, inputs, outputs, width, bits, published in (
        ("Hopper-v4", 11, 3, 8, (8, 8, 8), 340),
        ("HalfCheetah-v4", 17, 6, 128, (8, 8, 8), 20_512),
        ("Ant-v4", 27, 8, 32, (8, 8, 8), 2648),
        ("Humanoid-v4", 376, 17, 8, (3, 3, 3), 4343),
    ):
        sizes = ((inputs, width), (width, width), (width, outputs))
        weights = sum(-(-a * b * n // 8) for (a, b), n in zip(sizes, bits, strict=True))
        assert weights + 4 * (2 * width + outputs) + 8 * inputs == published, name
        assert published in dict(front.PUBLISHED[name])


def test_without_students_or_a_second_teacher_there_is_no_front() -> None:
    assert front.fronts(rows(study({"quantize()": (0.9, 900)}, environment="HalfCheetah-v4"), 0.9)) == {}
    zero = Record(Cell(RANDOM_POLICY, "", Task("Own-v0"), SEEDS, format="none"), "done", "", ())
    alone = [zero, record("a" * 64, "PPO", "", np.ones(80)), record("a" * 64, "PPO", SMALL, np.ones(80))]
    assert front.fronts(rows(alone, 0.9)) == {}


def test_the_tables_and_the_figure_say_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = rows(study({SMALL: (0.5, 300), LARGE: (0.9, 900)}, environment="Hopper-v4"), 0.9)
    (table,) = front.tables(found)
    leading = [point for points in front.fronts(found).values() for point in points if point.leads]
    assert [line[2:4] for line in table.body] == [(f"{p.bytes:,}", f"{p.value:,.0f}") for p in leading]
    assert all(len(line) == len(table.header) for line in table.body)
    assert (tmp_path / "front.png") == figures.write(found, 0.9, tmp_path)["front.png"]
