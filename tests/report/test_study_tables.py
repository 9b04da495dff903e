import dataclasses

import pytest
from tests.report.rows import study

from lilliput.record import REFERENCE
from lilliput.report import figures, summary
from lilliput.report.best_so_far import BestSoFar
from lilliput.report.guidelines import guidelines
from lilliput.report.lu2024 import ALGORITHMS, TASKS
from lilliput.report.method_cost import costs
from lilliput.report.smallest import smallest
from lilliput.report.study_tables import tables

LU = {
    "quantize()": (0.99, 1000),
    'quantize(scheme="static")': (0.9, 1000),
    "finetune(weight_bits=8)": (0.95, 1000),
    "prune_units(ratio=0.1)": (0.95, 3600),
    "prune_units(ratio=0.2)": (0.5, 3200),
    "prune_units(ratio=0.3)": (0.95, 2800),
    'prune_units(ratio=0.1, importance="l2")': (0.97, 3600),
    'prune_units(ratio=0.2, importance="l2")': (0.96, 3200),
    'prune_units(ratio=0.3, importance="l2")': (0.4, 2800),
}


@pytest.fixture(scope="module")
def rows():
    return summary.rows(study(LU, environment="Hopper-v4"), 0.9)


def test_the_papers_tables_have_all_its_cells_and_say_where_there_is_no_policy(rows):
    found = {table.name: table for table in tables(rows, 0.9, "lu2024")}
    table = found["quantization"]
    assert len(table.body) == len(ALGORITHMS) * len(TASKS)
    filled = {line[:2]: line[2:] for line in table.body if line[2] != "no public policy"}
    assert set(filled) == {("SAC", "Hopper-v4"), ("PPO", "Hopper-v4"), ("TD3", "Hopper-v4")}
    assert [cell.split("(")[1] for cell in filled["SAC", "Hopper-v4"][1:]] == ["99%)", "90%)", "95%)"]


def test_a_policy_whose_file_says_more_than_the_algorithm_stands_in_its_cell(rows):
    def renamed(row, algorithm):
        return dataclasses.replace(row, names=tuple({**dict(row.names), "algorithm": algorithm}.items()))

    more = {"SAC": "SAC (spinningup)", "TD3": "TD3 or DDPG"}
    named = [renamed(row, more.get(name := dict(row.names).get("algorithm", ""), name)) for row in rows]
    table = {table.name: table for table in tables(named, 0.9, "lu2024")}["quantization"]
    filled = {line[:2] for line in table.body if line[2] != "no public policy"}
    assert filled == {("SAC (spinningup)", "Hopper-v4"), ("PPO", "Hopper-v4"), ("TD3 or DDPG", "Hopper-v4")}
    assert len(table.body) == len(ALGORITHMS) * len(TASKS)


def test_the_pruning_table_stops_at_the_first_ratio_that_loses(rows):
    found = {table.name: table for table in tables(rows, 0.9, "lu2024")}
    line = next(line for line in found["pruning"].body if line[:2] == ("SAC", "Hopper-v4"))
    assert line[4:6] == ("10%", "20%")
    assert "(96%)" in line[3]


def test_markdown_and_latex_hold_the_same_cells(rows):
    for table in tables(rows, 0.9, "lu2024"):
        lines = table.markdown().splitlines()
        assert {line.replace("\\|", "").count("|") for line in lines[2:]} == {len(table.header) + 1}
        text = table.latex()
        assert text.count(r" \\") == len(table.body) + 1
        assert text.count("{") == text.count("}")


def test_a_study_of_something_else_has_no_such_table():
    rows = summary.rows(study({"half()": (0.99, 2000)}), 0.9)
    assert [table.name for table in tables(rows, 0.9)] == ["methods", "smallest"]


def test_what_recipes_go_along_has_a_table_with_a_column_a_value(rows):
    (table,) = [table for table in tables(rows, 0.9, "lu2024") if table.name == "ratio"]
    assert table.header == ("method", "0.1", "0.2", "0.3")
    assert table.body[0] == ("prune_units l1", "96% (3/3)", "51% (0/3)", "96% (3/3)")


def test_two_steps_and_other_parameters_have_their_curves_too():
    shares = {f"prune_weights(sparsity={s}) | quantize()": (1 - s, 1000) for s in (0.5, 0.9)}
    shares |= {f'quantize(activation_bits={bits}, scheme="static")': (0.9, 1000) for bits in (2, 8)}
    found = {table.name: table for table in tables(summary.rows(study(shares), 0.9), 0.9, "lu2024")}
    assert found["sparsity"].body[0][0] == "prune_weights magnitude | quantize dynamic"
    assert found["activation_bits"].header == ("method", "2", "8")
    assert found["activation_bits"].body[0][0] == "quantize static"
    assert "weight_bits" not in found


def test_figures_are_pdf_and_png_and_the_same_again(rows, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra report")
    written = figures.write(rows, 0.9, tmp_path / "once")
    assert set(written) >= {"frontier.pdf", "frontier.png", "curves.pdf", "profiles.png"}
    assert written["frontier.pdf"].read_bytes().startswith(b"%PDF")
    assert written["curves.png"].read_bytes().startswith(b"\x89PNG")
    with matplotlib.rc_context({"figure.autolayout": True, "figure.constrained_layout.use": True}):  # of a user
        again = figures.write(rows, 0.9, tmp_path / "again")
    assert all(again[name].read_bytes() == path.read_bytes() for name, path in written.items())
    assert figures.write((), 0.9, tmp_path / "none") == {}


def test_a_baseline_that_the_reference_plays_changes_no_table_of_what_was_found(rows):
    """It shows the floor of the noise, and is neither a candidate nor what candidates are held against."""
    records = study(LU, environment="Hopper-v4")
    baselines = [record for record in records if not record.cell.is_floor and not record.cell.recipe]
    played = [
        dataclasses.replace(
            record,
            cell=dataclasses.replace(record.cell, format=REFERENCE, quantities=("episode_return",)),
            measurements=tuple(m for m in record.measurements if m.quantity == "episode_return"),
        )
        for record in baselines
    ]
    both = summary.rows([*played, *records], 0.9)
    assert len(both) == len(rows) + len(baselines)
    assert tables(both, 0.9, "lu2024") == tables(rows, 0.9, "lu2024")
    assert costs(both) == costs(rows)
    quiet = [dataclasses.replace(row, noise=None) for row in both]
    assert guidelines(quiet) == guidelines(rows)
    assert smallest(quiet) == smallest(rows)
    trackers = [BestSoFar(0.9), BestSoFar(0.9)]
    for tracker, seen in zip(trackers, (records, [*played, *records]), strict=True):
        for record in seen:
            tracker.follow(record)
    assert trackers[0].candidate == trackers[1].candidate
