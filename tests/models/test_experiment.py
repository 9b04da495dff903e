"""One cell of a study of models: what is measured is the artifact, and draws, items and overlaps are kept apart."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

from tests.models.made import small_folder, text_file

from lilliput.errors import LilliputError
from lilliput.models import experiment
from lilliput.models.compress import Context, compress
from lilliput.models.export import read_artifact
from lilliput.models.load import load_model
from lilliput.models.task import parse_task


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return text_file(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(small_folder(tmp_path_factory.mktemp("model"))))


def test_the_artifact_answers_as_the_compressed_model_and_its_draw_is_part_of_it(model, text, tmp_path):
    recipe = f'quantize(weight_bits=3, method="gptq", group_size=16, source="{text}", samples=6, tokens=32)'
    task = parse_task(f'perplexity(text="{text}", windows=8, tokens=32)')
    every = range(8)
    values = []
    for draw in (0, 1):
        artifact = experiment.build(model, recipe, "transformers", tmp_path / str(draw), draw=draw)
        values.append(experiment.measure(artifact.folder, task, every))
        small = compress(model, recipe, Context(model, draw=draw))
        np.testing.assert_allclose(values[-1], experiment.answer(small, task, every), rtol=1e-5)
        assert artifact.provenance.recipe == small.provenance.recipe
    assert not np.array_equal(values[0], values[1])
    assert np.array_equal(experiment.measure(tmp_path / "0", task, (5, 2)), values[0][[5, 2]])
    chance = experiment.chance(model, task, every)
    assert chance.tolist() == pytest.approx([-np.log(257)] * 8)
    with pytest.raises(LilliputError, match="has 8 items; item 8 was asked for"):
        experiment.measure(tmp_path / "0", task, (8,))


def test_questions_are_answered_by_the_artifact_too(model, tmp_path):
    rows = [{"context": "a b", "choices": [" c", " d"], "answer": n % 2} for n in range(6)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = parse_task(f'choices("{tmp_path / "q.jsonl"}")')
    artifact = experiment.build(model, "", "transformers", tmp_path / "plain", draw=0)
    values = experiment.measure(artifact.folder, task, range(6))
    assert values.tolist() == experiment.answer(model, task, range(6)).tolist()
    assert sorted(values[:2]) == [0, 1]
    assert experiment.chance(model, task, range(6)).tolist() == [0.5] * 6


def test_a_task_that_asks_what_calibrates_is_found_before_anything_is_built(text):
    recipe = f'prune_weights(sparsity=0.5, importance="wanda", source="{text}")'
    experiment.check_sources(recipe, parse_task(f'perplexity(text="{text}")'))
    with pytest.raises(LilliputError, match="judged on what it was calibrated on"):
        experiment.check_sources(recipe, parse_task(f'perplexity(text="{text}", part="whole")'))


def test_what_the_runtime_alone_weighs_is_an_artifact_that_answers(model, tmp_path):
    folder = experiment.identity(model, "transformers", tmp_path / "identity")
    assert experiment.is_sound(folder)
    assert read_artifact(folder).model_bytes < model.model_bytes / 10
    with pytest.raises(LilliputError, match="formats of models"):
        experiment.identity(model, "c", tmp_path / "c")
