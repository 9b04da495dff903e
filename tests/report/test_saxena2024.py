"""The paper's claims on rows whose right answers are known."""

import dataclasses
import html

import numpy as np
from tests.report.rows import measured

from lilliput.record import Cell, Record
from lilliput.report import page, saxena2024, study_tables, summary
from lilliput.report.label import labels
from lilliput.report.remarks import remarks, warnings
from lilliput.task import DRAWN_SCORE, ITEM_SCORE, Task

CLASSIFIER = Task("classification(images='a')", score=ITEM_SCORE)
DETECTOR = Task("detection(images='b', decoder='fastestdet')", score=DRAWN_SCORE)
PRUNED = "prune_weights(sparsity=0.3)"


def record(task, family, recipe, values, n_bytes, *more):
    cell = Cell("chance" if family == "" else f"model of {family}", recipe, task, tuple(range(len(values))),
                floor="chance", format="onnx", wing="models")  # fmt: skip
    found = [measured(task.score, *values), measured("model_bytes", n_bytes), measured("file_bytes", n_bytes), *more]
    return Record(cell, "done", "", tuple(found), (), (("source", f"{family}.onnx"), ("algorithm", family)))


def study():
    rng = np.random.default_rng(0)
    right = (rng.random(300) < 0.9).astype(float)
    draws = 0.4 + np.concatenate([[0.0], rng.normal(0, 0.02, 200)])
    found = [record(CLASSIFIER, "", "", np.full(300, 0.1), 1), record(DETECTOR, "", "", np.zeros(201), 1)]
    slow = (measured("latency_s", 4e-3), measured("baseline_latency_s", 2e-3))
    still = (measured("pruned_still_zero", 0.75), measured("zipped_bytes", 3000))
    flipped = np.where(np.arange(300) == 7, 1 - right, right)
    for task, family, values, changed in (
        (CLASSIFIER, "classification", right, flipped),
        (DETECTOR, "detection", draws, draws),
    ):
        found += [
            record(task, family, "", values, 4000),
            record(task, family, "quantize()", changed, 1000, *slow),
            record(task, family, PRUNED, values, 3000, *still),
            record(task, family, "prune_weights(sparsity=0.9)", values * 0.2, 800),
            record(task, family, f"{PRUNED} | quantize()", values, 700),
        ]
    return summary.rows(found, 0.9)


def test_each_claim_is_answered_with_what_it_rests_on():
    *families, claims = saxena2024.tables(study())
    assert [one.name for one in families] == ["saxena-classification", "saxena-detection"]
    assert [line[1] for line in claims.body] == ["holds"] * 4
    assert "4.0 to 4.0 times at 8 and 16 bits; 2 of 2 kept, 0 lost" in claims.body[0][2]
    assert "30% surely kept, 90% lost" in claims.body[1][2]
    assert "2 of 2 smaller ones are slower, the slowest takes 2.0 times as long" in claims.body[2][2]
    assert "5.7x together, 4.0x alone" in claims.body[3][2]


def test_a_line_says_what_a_candidate_keeps_and_costs():
    lines = {line[1]: line for line in saxena2024.tables(study())[0].body}
    header = saxena2024.tables(study())[0].header
    quantized = dict(zip(header, lines["quantize()"], strict=True))
    assert (quantized["flips"], quantized["speed"], quantized["verdict"]) == ("0.3%", "0.50x", "kept")
    pruned = dict(zip(header, lines[PRUNED], strict=True))
    assert (pruned["still zero"], pruned["zipped"], pruned["bytes"]) == ("75.0%", "3,000", "3,000")
    assert saxena2024.tables([row for row in study() if "detection" not in row.environment]) == []


def test_a_drawn_metric_is_printed_as_that_of_all_items():
    (baseline, *_) = [row for row in study() if row.task == DETECTOR]
    assert baseline.mean_return == 0.4
    assert 0.01 < (baseline.sd_return or 0) < 0.03
    assert baseline.worst_decile is None


def test_the_page_holds_the_papers_tables(tmp_path):
    rows = study()
    tables = study_tables.tables(rows, 0.9, "saxena2024")
    page.write_rows(rows, (), 0.9, tmp_path / "page.html", "four families", tables=tables)
    written = (tmp_path / "page.html").read_text()
    for one in saxena2024.tables(rows):
        assert html.escape(one.caption) in written, one.name


def test_a_warning_names_its_model_and_comes_once():
    lines = warnings(study())
    assert len(lines) == len(set(lines))
    slower = [line for line in lines if "slower than uncompressed" in line]
    assert [line.split(":")[0] for line in slower] == list(labels(study()).values())


def test_what_was_pruned_and_is_zero_no_longer_is_said():
    said = " ".join(warnings(study()))
    assert "25.0% of what was pruned is no longer zero" in said
    assert "slower than uncompressed: an answer takes 2.0x as long" in said


def test_what_is_no_mean_of_items_is_not_said_to_want_more_of_its_draws():
    rng = np.random.default_rng(1)
    draws = 0.4 + np.concatenate([[0.0], rng.normal(0, 0.02, 200)])
    noisy = 0.92 * draws + np.concatenate([[0.0], rng.normal(0, 0.05, 200)])
    found = [record(DETECTOR, "", "", np.zeros(201), 1), record(DETECTOR, "detection", "", draws, 4000)]
    rows = summary.rows([*found, record(DETECTOR, "detection", "quantize()", noisy, 1000)], 0.9)
    assert "quantize(): undecided; more pictures may decide, more draws of these do not" in remarks(rows)


def test_codes_that_a_file_does_not_pack_are_said_to_make_it_no_smaller():
    rng = np.random.default_rng(1)
    right = (rng.random(300) < 0.9).astype(float)
    found = [record(CLASSIFIER, "", "", np.full(300, 0.1), 1), record(CLASSIFIER, "classification", "", right, 4000)]
    packed = record(CLASSIFIER, "classification", "half()", right, 2000)
    codes = record(CLASSIFIER, "classification", "quantize()", right, 1000)
    kept = [one for one in codes.measurements if one.quantity != "file_bytes"]
    whole = dataclasses.replace(codes, measurements=(*kept, measured("file_bytes", 4000)))
    (line,) = [one for one in warnings(summary.rows([*found, packed, whole], 0.9)) if "packs no such codes" in one]
    assert line.endswith(": quantize()")
