import hashlib
import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput import record
from lilliput.errors import LilliputError
from lilliput.measurement import Absent, Conditions, Measurement
from lilliput.record import Cell, Record
from lilliput.task import Task

CELL = Cell(
    subject="d" * 64,
    recipe="quantize(weight_bits=4)",
    task=Task("HalfCheetah-v4", wrappers=("time_feature(max_steps=1000)",)),
    items=(3, 1),
    quantities=("episode_return",),
    settings=(("n", "2"),),
    versions=(("step.quantize", "1"),),
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1), st.text(), st.floats(0, 1e6))
def test_a_record_survives_its_file_to_the_last_bit(values, reason, elapsed):
    conditions = Conditions("cpu", "avx", 2, "Linux", "3.11", (("numpy", "2.4"),), 1, "2026-01-01")
    written = Record(
        CELL, "done", reason, (Measurement("episode_return", tuple(values), "measured: x", conditions),),
        (Absent("energy_j", "no counter"),), (("source", "a.zip"),), "artifacts/x", elapsed,
    )  # fmt: skip
    read = record.from_json(json.loads(json.dumps(record.to_json(written))))
    assert read == written
    assert read.values("episode_return") == tuple(values)
    assert read.values("latency_s") == ()


def test_records_that_are_read_together_share_what_is_equal_and_say_what_each_says_alone(tmp_path):
    conditions = Conditions("cpu", packages=(("numpy", "2.4"),), started="2026-01-01")
    for seed in (0, 1):
        taken = Measurement("episode_return", (1.0, float(seed)), "measured: x", replace(conditions, started=f"{seed}"))
        cell = replace(CELL, compression_seed=seed)
        record.write(Record(cell, "done", measurements=(taken,), names=(("source", "a.zip"),)), tmp_path)
    paths = sorted(tmp_path.iterdir())
    first, second = record.read_each(paths)
    assert [first, second] == [record.read(path) for path in paths]
    assert first.cell != second.cell
    assert first.measurements != second.measurements
    (one,), (other,) = first.measurements, second.measurements
    for ours, theirs in (
        (first.cell.items, second.cell.items),
        (first.cell.versions, second.cell.versions),
        (first.cell.task, second.cell.task),
        (first.names, second.names),
        (one.method, other.method),
        (one.conditions.packages, other.conditions.packages),
    ):
        assert ours is theirs


def test_the_digest_changes_with_everything_that_is_asked():
    changed: dict[str, Any] = {
        "subject": "e" * 64,
        "recipe": "half()",
        "items": (1, 3),
        "floor": "chance",
        "format": "onnx",
        "target": "cortex-m4",
        "compression_seed": 1,
        "quantities": ("latency_s",),
        "settings": (),
        "versions": (("step.quantize", "2"),),
        "wing": "models",
    }
    other: dict[str, Any] = {"id": "Hopper-v4", "arguments": '{"a": 1}', "wrappers": (), "score": "accuracy"}
    cells = [replace(CELL, **{name: value}) for name, value in changed.items()]
    cells += [replace(CELL, task=replace(CELL.task, **{name: value})) for name, value in other.items()]
    assert len({cell.digest for cell in (CELL, *cells)}) == len(changed) + len(other) + 1
    assert {*changed, "task"} == {one.name for one in fields(CELL)}
    assert set(other) == set(vars(CELL.task))


def test_a_field_at_its_default_is_not_in_the_digest():
    """So that the next field does not restart every study: the text is written down here."""
    asked = {"subject": "p", "recipe": "half()", "task": {"id": "Hopper-v4"}, "items": [3], "format": "onnx"}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    cell = Cell("p", "half()", Task("Hopper-v4"), (3,), format="onnx")
    assert cell.digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_floor_is_known_by_its_name():
    assert not CELL.is_floor
    assert replace(CELL, subject="uniform-random").is_floor
    assert Cell("chance", "", Task("questions"), floor="chance").is_floor
    assert not Cell("uniform-random", "", Task("questions"), floor="chance").is_floor


def test_a_file_is_whole_or_not_there(tmp_path):
    path = record.write(Record(CELL, "failed", "why"), tmp_path / "records")
    assert path.name == f"{CELL.digest}.json"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert json.loads(path.read_text())["recipe"] == CELL.recipe
    assert list(record.read_all(path.parent)) == [Record(CELL, "failed", "why")]
    path.write_text(path.read_text()[:100])
    with pytest.raises(LilliputError, match="is not a record, or it was cut or damaged"):
        record.read(path)


def test_a_newer_record_is_refused():
    data = record.to_json(Record(CELL, "done"))
    with pytest.raises(LilliputError, match="of format 3; this version reads 1 to 2: update lilliput"):
        record.from_json({**data, "record_format": 3})


@pytest.mark.parametrize("values", [(), (math.nan,), (math.inf,)])
def test_what_was_not_measured_is_never_a_measurement(values):
    with pytest.raises(LilliputError, match="what was not measured is Absent"):
        Measurement("latency_s", values, "measured: x")


def test_a_method_says_how():
    with pytest.raises(LilliputError, match="must begin with measured, counted, emulated or modelled"):
        Measurement("latency_s", (1.0,), "estimated")
