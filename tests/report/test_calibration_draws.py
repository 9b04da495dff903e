"""What draws of calibration data do, on made-up values whose answers are known."""

import json
import re

import numpy as np
import pytest

from lilliput.measurement import Measurement
from lilliput.record import Cell, Record
from lilliput.report import files, summary, table
from lilliput.report.calibration_draws import (
    Draws,
    draws_of,
    next_table,
    source_table,
    split_table,
    spread_table,
    tables,
    to_json,
)
from lilliput.report.label import label, labels
from lilliput.report.printed_table import PrintedTable
from lilliput.report.remarks import remarks
from lilliput.report.williams2024 import claims, ranges_table
from lilliput.task import ITEM_SCORE, Task

SOURCES = ("c4", "random", "wiki")
CHOICES = Task.of('choices(questions="q")', {"vocabulary": 512}, score=ITEM_SCORE)
PERPLEXITY = Task.of('perplexity(text="t")', {"vocabulary": 512}, score=ITEM_SCORE)


def group(method, *, source, draw, seed=0, shift=0.0, draws=10, items=80):
    rng = np.random.default_rng(seed)
    values = (
        0.7
        + rng.standard_normal((1, 1, items)) * 0.3
        + rng.standard_normal((3, 1, 1)) * source
        + rng.standard_normal((3, draws, 1)) * draw
        + rng.standard_normal((3, draws, items)) * 0.02
    )
    values[1] -= shift
    return Draws("small", method, 32, CHOICES, SOURCES, values, np.full(items, 0.9), np.full(items, 0.5))


def test_a_method_that_depends_more_on_its_data_is_found_to():
    rng = np.random.default_rng(0)
    groups = {
        "SpQR": group("SpQR", source=0.005, draw=0.002, seed=1),
        "GPTQ": group("GPTQ", source=0.03, draw=0.03, seed=2),
        "Wanda": group("Wanda", source=0.5, draw=0.5, seed=3),
    }
    found = claims(groups, rng=rng)
    assert found["the calibration data changes what is left"] == "holds"
    assert found["pruning depends more on it than quantization"] == "holds"
    turned = claims({"GPTQ": groups["Wanda"], "Wanda": groups["SpQR"]}, rng=rng)
    assert turned["pruning depends more on it than quantization"] == "does not hold"
    alike = claims({"GPTQ": groups["GPTQ"], "Wanda": group("Wanda", source=0.03, draw=0.03, seed=5)}, rng=rng)
    assert alike["pruning depends more on it than quantization"] == "undecided"


def test_random_tokens_are_the_worst_source_where_they_are():
    rng = np.random.default_rng(0)
    claim = "random tokens are the worst source"
    assert claims({"GPTQ": group("GPTQ", source=0, draw=0.02, shift=0.4)}, rng=rng)[claim] == "holds"
    assert claims({"GPTQ": group("GPTQ", source=0, draw=0.02, shift=-0.4)}, rng=rng)[claim] == "does not hold"
    assert claims({"GPTQ": group("GPTQ", source=0, draw=0.02)}, rng=rng)[claim] == "undecided"


def test_the_tables_say_what_the_values_are():
    one = group("GPTQ", source=0, draw=0.02, shift=0.4)
    spread = spread_table([one]).body
    assert [line[2] for line in spread] == list(SOURCES)
    assert float(spread[0][5].rstrip("%")) == pytest.approx(100 * one.values[0].mean(), abs=0.06)
    assert "c4 > random" in source_table([one]).body[0][2]
    assert "10 draws show no difference" in source_table([group("GPTQ", source=0, draw=0.05)]).body[0][2]
    assert {line[2]: line[3] for line in next_table([one], 0.9).body}["random"] == "lost"
    assert ranges_table([one]).body[0][3] == "0.2-0.4"
    assert tables([], rng=np.random.default_rng(0), keep=0.9) == []


def test_variance_is_found_where_it_was_put():
    (line,) = split_table([group("Wanda", source=0, draw=0.2)], rng=np.random.default_rng(0)).body
    _, draws, items = (int(share) for share in line[6].split(" / "))
    assert draws > 90 > items
    (numbers,) = to_json([group("Wanda", source=0, draw=0.2)], rng=np.random.default_rng(0))
    assert numbers["sd"]["draws"]["low"] < 0.2 < numbers["sd"]["draws"]["high"]
    json.dumps(numbers, allow_nan=False)


def test_a_perplexity_is_that_of_the_mean_log_likelihood():
    values = np.log(np.array([[[0.5, 0.25]] * 3] * 2))
    one = Draws("small", "GPTQ", 4, PERPLEXITY, ("a", "b"), values, np.log([0.5, 0.5]), np.log([0.1, 0.1]))
    assert one.scores == pytest.approx(np.full((2, 3), 2**1.5))
    assert spread_table([one]).body[0][3:6] == ("perplexity", "2.000", "2.828")


def record(recipe, draw, values, *, subject="model", task=CHOICES):
    cell = Cell(
        subject, recipe, task, tuple(range(len(values))), "chance", "none", compression_seed=draw, wing="models"
    )
    names = (("source", "small"), ("algorithm", "language"))
    found = [Measurement(ITEM_SCORE, values, "measured: by hand")]
    found += (
        [Measurement("model_bytes", (100.0 if recipe else 400.0,), "counted: by hand")] if subject == "model" else []
    )
    return Record(cell, "done", "", tuple(found), names=names)


def recipe(source, samples=8):
    return f'quantize(weight_bits=3, method="gptq", source="{source}", samples={samples})'


def some(task=CHOICES, low=0.0, high=1.0):
    rng = np.random.default_rng(0)
    found = [
        record("", 0, (high,) * 20, task=task),
        record("", 0, ((low + high) / 2,) * 20, subject="chance", task=task),
    ]
    for source in ("c4", "wiki"):
        for draw in (0, 1, 2):
            values = tuple(np.where(rng.random(20) < 0.8, high, low).tolist())
            found.append(record(recipe(source), draw, values, task=task))
    return found


def test_records_are_grouped_by_what_differs_in_nothing_but_the_source():
    (found,) = draws_of([*some(), record(recipe("c4", 16), 0, (1.0,) * 20)])
    assert (found.model, found.method, found.sources) == ("small", "GPTQ, samples=8", ("c4", "wiki"))
    assert found.values.shape == (2, 3, 20)
    assert found.baseline.tolist() == [1.0] * 20
    assert found.floor.tolist() == [0.5] * 20


def test_methods_of_one_name_are_told_apart():
    more = [record(recipe(source, 16), draw, (1.0,) * 20) for source in ("c4", "wiki") for draw in (0, 1, 2)]
    assert {one.method for one in draws_of([*some(), *more])} == {"GPTQ, samples=8", "GPTQ, samples=16"}
    assert {one.method for one in draws_of(some())} == {"GPTQ"}


@pytest.mark.parametrize(("task", "name"), [(CHOICES, "accuracy"), (PERPLEXITY, "perplexity")])
def words_in(written, rows):
    """Whatever of a report people read, by file."""
    texts = {path.name: path.read_text() for path in written.files.values() if path.suffix in (".csv", ".md", ".json")}
    texts["text"] = table.text(rows) + "\n".join(remarks(rows))
    texts["json"] = json.dumps(table.to_json(rows))
    if "html" in written.files:
        _, body = written.files["html"].read_text().split("<body>")
        texts["page"] = re.sub(r'(id|value|for|href|onsubmit)="[^"]*"', "", body.split("<script")[0])
    return texts


@pytest.mark.parametrize(("task", "name"), [(CHOICES, "accuracy"), (PERPLEXITY, "perplexity")])
def test_a_model_is_never_said_to_earn_a_return_in_episodes(task, name, tmp_path):
    records = some(task) if task is CHOICES else some(task, low=-6.0, high=-2.0)
    # One that keeps all, as candidates of the tables of disturbances do.
    records += [record("half()", 0, records[0].scores, task=task)]
    rows = summary.rows(records, 0.9)
    texts = words_in(files.write_all(records, 0.9, tmp_path, "study"), rows)
    for kind, text in texts.items():
        for word in ("return", "episode", "policy", "policies", "environment", "vocabulary", "dynamic", "arxiv"):
            assert word not in text.lower(), (kind, word)
    assert name in texts["text"]
    (line,) = [row for row in table.to_json(rows) if not row["recipe"]]
    assert (line["score_name"], line["n_items"]) == (name, 20)
    assert line["score"] == pytest.approx(1.0 if task is CHOICES else np.exp(2.0))


def test_claims_of_a_paper_stand_on_the_page_of_the_study_that_reproduces_it(tmp_path):
    private = files.write_all(some(), 0.9, tmp_path, "mine").tables
    assert [one.name for one in private][:4] == [
        "draws-sources", "draws-next", "draws-split", "draws-spread",
    ]  # fmt: skip
    assert "williams-claims" not in [one.name for one in private]
    assert "arXiv" not in (tmp_path / "tables.md").read_text() + (tmp_path / "guidelines.md").read_text()
    found = files.write_all(some(), 0.9, tmp_path, "theirs", reproduces="williams2024").tables
    assert found[0].name == "williams-claims"


def test_a_table_of_text_fits_into_a_terminal():
    wide = PrintedTable("t", "A caption " * 20, ("who", "what", "n"), (("a name " * 9, "a word " * 20, "1,234"),), 2)
    lines = wide.text(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.split().count("word") for line in lines) == 20


def test_a_model_is_called_by_its_name_and_by_all_that_is_asked_only_where_that_tells_tasks_apart():
    def row(task):
        made = Task.of(task, {"vocabulary": 512}, score=ITEM_SCORE)
        measured = (Measurement(ITEM_SCORE, (-1.0, -2.0), "measured: x"),)
        cell = Cell("d" * 64, "", made, (0, 1), format="transformers", floor="chance", wing="models")
        return Record(cell, "done", "", measured, (), (("source", "/home/me/small"), ("algorithm", "language")))

    (one,), two = (
        summary.rows([row("perplexity('wiki')")], 0.9),
        summary.rows([row("perplexity('wiki')"), row("choices('q')")], 0.9),
    )
    assert label(one) == "small perplexity wiki"
    assert list(labels(two).values()) == ["small perplexity wiki", "small choices q"]
    both = summary.rows([row(f'perplexity(text="wiki", windows={n})') for n in (8, 9)], 0.9)
    assert list(labels(both).values()) == [f'small perplexity(text="wiki", windows={n})' for n in (8, 9)]
