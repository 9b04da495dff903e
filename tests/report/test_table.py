import json

import numpy as np
import pytest

from lilliput.measurement import Absent, Measurement
from lilliput.record import RANDOM_POLICY, Cell, Record
from lilliput.report import summary, table
from lilliput.task import Task

SEEDS = tuple(range(100))


def record(recipe, returns, *, policy="p", model_bytes: int | None = 1000, latency=None):
    measured = [Measurement("episode_return", tuple(map(float, returns)), "measured: x")]
    if model_bytes:
        measured.append(Measurement("model_bytes", (float(model_bytes),), "counted: x"))
    if latency:
        measured += [
            Measurement("latency_s", latency, "measured: x"),
            Measurement("baseline_latency_s", (2e-6,), "measured: x"),
        ]
    cell = Cell(policy, recipe, Task("Env-v0"), format="none" if policy == RANDOM_POLICY else "c", items=SEEDS)
    return Record(cell, "done", "", tuple(measured), (Absent("energy_j", "no counter"),))


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    base = rng.normal(1000, 10, 100)
    return [
        record("", np.full(100, 10.0), policy=RANDOM_POLICY, model_bytes=None),
        record("prune_units(ratio=0.9)", base * 0.2),
        record("", base, model_bytes=4000, latency=(2e-6,)),
        record("quantize()", base - 1, latency=(1e-6, 1e-6, 4e-6)),
        Record(Cell("p", "remove_dead_inputs()", Task("Env-v0"), items=SEEDS), "not_applicable", "no input is dead"),
    ]


def test_rows_against_hand_computed_numbers(records):
    baseline, pruned, quantized, dead = summary.rows(records, 0.95)
    assert (baseline.recipe, baseline.smaller, baseline.retention, baseline.verdict) == ("", 1.0, None, None)
    mean = baseline.mean_return
    assert quantized.retention.estimate == pytest.approx((mean - 1 - 10) / (mean - 10))
    assert (quantized.verdict.status, pruned.verdict.status) == ("kept", "lost")
    assert quantized.smaller == 4.0
    assert quantized.latency.p50 == 1e-6
    assert quantized.latency.ratio == 2.0
    assert quantized.random_mean == 10.0
    assert quantized.notes == ("energy_j: no counter",)
    assert (dead.status, dead.reason) == ("not_applicable", "no input is dead")


def test_a_candidate_without_its_baseline_gets_no_retention(records):
    (row,) = summary.rows([r for r in records if r.cell.recipe == "quantize()"], 0.95)
    assert row.retention is None
    assert row.smaller is None


def test_returns_on_other_seeds_are_never_paired(records):
    elsewhere = Record(
        Cell("p", "half()", Task("Env-v0"), items=tuple(range(50, 150))), "done", "", records[2].measurements
    )
    row = next(row for row in summary.rows([*records, elsewhere], 0.95) if row.recipe == "half()")
    assert row.retention is None
    assert table.verdict_text(row) == "-"


def test_the_table_fits_and_says_what_it_must(records):
    long = record(
        'prune_units(ratio=0.5, importance="activation") | quantize(scheme="weight_only", weight_bits=4)',
        np.full(100, 900.0),
    )
    rows = summary.rows([*records, long], 0.95)
    printed = table.text(rows)
    assert max(map(len, printed.splitlines())) <= 100
    assert "(baseline)" in printed
    assert "n/a" in printed
    kept, costs = (line.split() for line in printed.splitlines() if line.startswith("quantize()"))
    assert kept[1:3] == ["1,000", "4.0x"]
    assert costs[5:9] == ["1.00us", "3.70us", "3.94us", "2.0x"]


def test_markdown_escapes_the_bar_of_a_recipe(records):
    piped = record("half() | half()", np.full(100, 1.0))
    line = next(line for line in table.markdown(summary.rows([*records, piped], 0.95)).splitlines() if "half" in line)
    assert line.startswith("| half() \\| half() |")
    assert line.replace("\\|", "").count("|") == len(table.KEPT) + len(table.COSTS)


def test_json_holds_no_number_that_json_lacks(records):
    same = [
        record("", np.full(100, 10.0), policy=RANDOM_POLICY),
        record("", np.full(100, 10.0)),
        record("half()", np.full(100, 10.0)),
    ]
    for rows in (summary.rows(records, 0.95), summary.rows(same, 0.95)):
        assert json.loads(json.dumps(table.to_json(rows), allow_nan=False))


def test_a_measurement_in_a_line():
    line = table.measurement_line(Measurement("latency_s", (1e-6, 2e-6, 3e-6), "measured: here"))
    assert line == "latency_s                p50 2.00us, p95 2.90us, p99 2.98us  (3 values; measured: here)"
    assert table.measurement_line(Absent("energy_j", "no counter")).endswith("not measured: no counter")
