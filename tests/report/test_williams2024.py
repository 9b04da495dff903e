"""The questions of arXiv 2311.09755 on made-up values whose answers are known."""

import numpy as np
import pytest

from lilliput.record import Cell, Record
from lilliput.report.williams2024 import Draws, claims, draw_table, draws_of, source_table, spread_table, tables
from lilliput.task import Task

SOURCES = ("c4", "random", "wiki")


def group(method, *, source, draw, seed=0, perplexity=False, shift=0.0, draws=10, items=80):
    rng = np.random.default_rng(seed)
    values = (
        0.7
        + rng.standard_normal((1, 1, items)) * 0.3
        + rng.standard_normal((3, 1, 1)) * source
        + rng.standard_normal((3, draws, 1)) * draw
        + rng.standard_normal((3, draws, items)) * 0.02
    )
    values[1] -= shift
    return Draws(method, "t", perplexity, SOURCES, values, np.full(items, 0.9), np.full(items, 0.5))


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
    assert [line[1] for line in spread] == list(SOURCES)
    assert float(spread[0][4]) == pytest.approx(100 * one.values[0].mean(), abs=0.06)
    assert "c4 > random" in source_table([one]).body[0][2]
    assert "10 draws show no difference" in source_table([group("GPTQ", source=0, draw=0.05)]).body[0][2]
    drawn = draw_table([one], 0.9).body[0]
    assert "random: lost" in drawn[2]
    assert drawn[4] == "0.2-0.4"
    assert tables([one], rng=np.random.default_rng(0))[0].name == "williams-claims"
    assert tables([], rng=np.random.default_rng(0)) == []


def test_a_perplexity_is_that_of_the_mean_log_likelihood():
    values = np.log(np.array([[[0.5, 0.25]] * 3] * 2))
    one = Draws("GPTQ", "perplexity", True, ("a", "b"), values, np.log([0.5, 0.5]), np.log([0.1, 0.1]))
    assert one.scores == pytest.approx(np.full((2, 3), 2**1.5))


def test_records_are_grouped_by_what_differs_in_nothing_but_the_source():
    task = Task.of("choices", {"questions": "q"}, score="episode_return")

    def record(recipe, draw, values, subject="model"):
        from lilliput.measurement import Measurement

        cell = Cell(subject, recipe, task, tuple(range(len(values))), compression_seed=draw)
        return Record(cell, "done", "", (Measurement("episode_return", values, "measured: by hand"),))

    def recipe(source, bits=4):
        return f'quantize(weight_bits={bits}, method="gptq", source="{source}")'

    records = [record("", 0, (1.0, 1.0)), record("", 0, (0.5, 0.5), subject=Cell("x", "", task).floor)]
    records += [record(recipe(source), draw, (float(draw), 0.0)) for source in ("c4", "wiki") for draw in (0, 1, 2)]
    records += [record(recipe("c4", 3), 0, (1.0, 0.0))]
    (found,) = draws_of(records)
    assert (found.method, found.sources, found.values.shape) == ("GPTQ", ("c4", "wiki"), (2, 3, 2))
    assert found.values[1, 2].tolist() == [2.0, 0.0]
    assert found.baseline.tolist() == [1.0, 1.0]
    assert found.floor.tolist() == [0.5, 0.5]
