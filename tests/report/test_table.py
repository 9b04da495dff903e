import dataclasses
import json

import numpy as np
import pytest

from lilliput.measurement import Absent, Conditions, Measurement
from lilliput.record import RANDOM_POLICY, REFERENCE, Cell, Record
from lilliput.report import summary, table
from lilliput.report.remarks import remarks
from lilliput.report.row import verdict_of
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


def test_what_one_reason_keeps_from_being_measured_is_one_line(records):
    quantities = ("energy_j", "gross_energy_j", "episode_energy_j")
    absent = (*(Absent(name, "no counter") for name in quantities), Absent("file_bytes", "no compiler"))
    rows = summary.rows([dataclasses.replace(one, absent=absent) for one in records], 0.95)
    lines = [line for line in remarks(rows) if line.startswith("not measured")]
    assert lines == [f"not measured: {', '.join(quantities)}: no counter", "not measured: file_bytes: no compiler"]


def test_no_number_is_a_negative_zero(records):
    row = dataclasses.replace(summary.rows(records, 0.95)[0], memory_bytes=-4096.0)
    assert "+0.0 MiB" in table.cost_cells(row)


def test_a_candidate_without_its_baseline_gets_no_retention(records):
    (row,) = summary.rows([r for r in records if r.cell.recipe == "quantize()"], 0.95)
    assert row.retention is None
    assert row.smaller is None


def test_an_interval_without_ends_says_which_is_which(records):
    _, row, *_ = summary.rows(records, 0.95)
    assert row.retention is not None
    unknown = dataclasses.replace(row.retention, low=-np.inf, high=np.inf)
    assert table.retention_text(dataclasses.replace(row, retention=unknown)).endswith("[-inf, inf]")


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
    assert max(map(len, printed.splitlines())) <= 80
    assert "(baseline)" in printed
    assert "n/a" in printed
    kept, costs = (line.split() for line in printed.splitlines() if line.startswith("quantize()"))
    assert kept[1:3] == ["1,000", "4.0x"]
    assert costs[1:] == ["1.00us", "3.70us", "3.94us", "2.0x"]


def test_no_word_of_a_recipe_is_broken_and_no_column_is_lost(records):
    recipe = (
        'prune_units(ratio=0.5, importance="optimal_brain_surgeon") | quantize(scheme="weight_only", weight_bits=4)'
    )
    printed = table.text(summary.rows([*records, record(recipe, np.full(100, 900.0))], 0.95))
    assert " ".join(printed.split()).count(recipe) == 2
    measured = ("p50", "p95", "p99", "faster")
    header = [column for column in (*table.KEPT, *measured) if column not in {"recipe", table.EARLY}]
    assert [column for column in header if column not in printed] == []


def test_columns_that_do_not_fit_beside_the_others_follow_below():
    header = ("recipe", *(f"column number {i}" for i in range(9)))
    printed = table.aligned(header, [("half()", *(str(i) for i in range(9)))])
    assert max(map(len, printed.splitlines())) <= 80
    assert len(printed.split("\n\n")) == 3
    assert all(column in printed for column in header)


def test_an_undecided_verdict_says_what_it_stands_on(records):
    wide = np.random.default_rng(1).normal(955, 90, 100)
    rows = summary.rows([*records, record("half()", wide)], 0.95)
    assert next(row.verdict.status for row in rows if row.recipe == "half()") == "undecided"
    assert any("bracket" in line for line in remarks(rows))
    assert not any("bracket" in line for line in remarks(summary.rows(records, 0.95)))


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


def under(record, **packages):
    """The record, played under these versions."""
    versions = tuple((f"package.{name}", text) for name, text in packages.items())
    return dataclasses.replace(record, cell=dataclasses.replace(record.cell, versions=versions))


def with_ends(record, terminated):
    ends = Measurement("episode_terminated", tuple(map(float, terminated)), "measured: x")
    return dataclasses.replace(record, measurements=(*record.measurements, ends))


def by_reference(returns):
    played = Measurement("episode_return", tuple(map(float, returns)), "measured: x")
    return Record(Cell("p", "", Task("Env-v0"), SEEDS, format=REFERENCE), "done", "", (played,))


def test_falls_stand_beside_the_mean_where_episodes_can_end_early(records):
    assert "early" not in table.text(summary.rows(records, 0.95))
    ended = np.arange(100) < 6
    rows = summary.rows([*records[:2], with_ends(records[2], ended), with_ends(records[3], ended[::-1])], 0.95)
    printed = table.text(rows)
    assert "early" in printed
    assert max(map(len, printed.splitlines())) <= 80
    lines = printed.splitlines()
    # Too many columns for the names: they stand above their numbers.
    assert "6/100" in lines[lines.index("(baseline)") + 1].split()
    found = next(row for row in table.to_json(rows) if row["recipe"] == "quantize()")
    assert (found["n_terminated"], found["baseline_terminated"]) == (6, 6)
    assert not any(line.startswith("early") for line in remarks(rows))


def test_where_every_episode_ends_by_itself_a_line_says_that_this_is_no_fall(records):
    ended = np.ones(100, bool)
    rows = summary.rows([*records[:2], with_ends(records[2], ended), with_ends(records[3], ended)], 0.95)
    (line,) = [line for line in remarks(rows) if line.startswith("early")]
    assert "a landing" in line


def test_the_floor_of_the_noise_is_a_row_and_no_less_is_called_a_difference(records):
    base = np.array(records[2].values("episode_return"))
    # Half of the episodes end badly where the sums are in another order: other ones each time.
    rng = np.random.default_rng(1)
    noisy = [np.where(rng.random(100) < 0.5, base, 200.0) for _ in range(3)]
    played = [records[0], record("", noisy[0]), by_reference(noisy[1]), record("half()", noisy[2])]
    lost = record("prune_units(ratio=0.9)", np.full(100, 10.0))
    rows = summary.rows([*played, lost], 0.95)
    assert [table.name(row) for row in rows[:2]] == ["(baseline)", "(baseline, by the reference)"]
    assert rows[1].mean_return == noisy[1].mean()
    difference = noisy[0] - noisy[1]
    expected = max(abs(difference.mean()), 2 * difference.std(ddof=1) / 10)
    assert rows[0].noise == rows[2].noise == pytest.approx(expected)
    half, pruned = rows[2], rows[3]
    assert abs(noisy[2].mean() - noisy[0].mean()) <= expected
    assert half.within_noise
    assert (pruned.within_noise, table.verdict_text(pruned)) == (False, "lost")
    (line,) = [line for line in remarks(rows) if "summed in another order" in line]
    assert line.endswith("a difference no larger is none: half()")


def test_a_loss_no_larger_than_the_noise_is_not_called_one(records):
    base = np.array(records[2].values("episode_return"))
    rows = summary.rows([records[0], record("", base), by_reference(base - 200), record("half()", base - 150)], 0.95)
    half = rows[2]
    assert half.verdict.status == "lost"
    assert (half.within_noise, table.verdict_text(half), verdict_of(half)) == (True, "in noise", "in noise")
    alone = summary.rows([records[0], record("", base), record("half()", base - 150)], 0.95)[1]
    assert (alone.noise, table.verdict_text(alone), verdict_of(alone)) == (None, "lost", "lost")
    same = summary.rows([records[0], record("", base), by_reference(base), record("half()", base)], 0.95)
    assert any(line.endswith("the same weights return the same") for line in remarks(same))
    assert not same[2].within_noise


def test_returns_of_two_versions_never_stand_together_without_a_word(records):
    random, _, baseline, quantized, _ = records
    old, new = {"mujoco": "3.3.0", "gymnasium": "1.2.0"}, {"mujoco": "4.0.0", "gymnasium": "1.2.0"}
    rows = summary.rows([under(random, **old), under(baseline, **old), under(quantized, **new)], 0.95)
    assert rows[0].other_versions == ""
    said = "its baseline under mujoco 3.3.0, this under 4.0.0; the random policy under mujoco 3.3.0, this under 4.0.0"
    assert rows[1].other_versions == said
    assert f"quantize(): other versions are another task: {said}" in remarks(rows)
    # What a machine of a cluster really had counts, not what was asked for.
    there = Conditions(packages=(("mujoco", "3.3.0"), ("numpy", "2.0")))
    measured = tuple(dataclasses.replace(m, conditions=there) for m in quantized.measurements)
    elsewhere = dataclasses.replace(under(quantized, **new), measurements=measured)
    rows = summary.rows([under(random, **new), under(baseline, **new), elsewhere], 0.95)
    assert "its baseline under mujoco 4.0.0, this under 3.3.0" in rows[1].other_versions


def test_the_mean_of_counts_is_not_rounded_away():
    line = table.measurement_line(Measurement("episode_terminated", (0.0, 0.0, 1.0), "measured: here"))
    assert "mean 0.333, from 0 to 1" in line


def test_a_floor_that_nobody_measured_is_said(records):
    said = "no floor of noise is known: one arithmetic alone was run"
    assert said in remarks(summary.rows(records, 0.95))
    one = [dataclasses.replace(r, cell=dataclasses.replace(r.cell, items=(0,))) for r in records[:1]]
    one += [record("", [1.0]), by_reference([2.0])]
    found = remarks(summary.rows(one, 0.95))
    assert said not in found
    assert "no floor of noise is known: two arithmetics were run on too few of the same items to tell" in found


def test_columns_of_what_nobody_measured_are_left_out_and_the_baseline_is_the_measure(records):
    def costs(*given):
        return table.text(summary.rows(given, 0.95)).split("\n\n")[-1].splitlines()

    random, _, _, quantized, _ = records
    # In the same turns the baseline is timed twice: here once as twice as fast as itself.
    timed = record("", np.full(100, 9.0), latency=(1e-6,))
    assert costs(random, timed, quantized)[0].split() == ["recipe", "p50", "p95", "p99", "faster"]
    assert [line.split()[-1] for line in costs(random, timed, quantized)[2:]] == ["1.0x", "2.0x"]
    untimed = costs(random, record("", np.full(100, 9.0)))
    assert "p50" not in "".join(untimed)
    assert not any(set(line.split()[1:]) == {"-"} for line in untimed)


def test_a_quantity_of_an_artifact_fits_a_terminal_and_loses_no_word():
    long = "measured: one answer at a time, one thread on one core, 20 rounds of 5, 1 artifacts in turns"
    for one in (Measurement("latency_s", (0.001, 0.002), long), Absent("energy_j", "no counter: " + long)):
        whole, lines = table.measurement_line(one), table.measurement_line(one, 80).splitlines()
        assert "\n" not in whole
        assert len(lines) > 1
        assert max(map(len, lines)) <= 80
        assert " ".join(" ".join(lines).split()) == " ".join(whole.split())
