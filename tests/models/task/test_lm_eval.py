"""What lm-eval asks of rows by its own definitions, as it was stored; and lm-eval itself, where it is installed: the
same questions have the same likelihoods and answers, one by one.
"""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.made import small_folder

from lilliput.models.load import load_model
from lilliput.models.session import open_session
from lilliput.models.task import parse_task
from lilliput.models.task.choices import _cut
from lilliput.models.task.likelihood import sums_behind
from lilliput.models.task.question import read_questions

pytestmark = pytest.mark.frameworks

STORED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "lm_eval.json").read_text())
"""By the name of a task: its definition's files, rows, and what lm-eval asks of each (`fixtures/write_lm_eval.py`)."""
ROWS: dict[str, list[Any]] = {name: one["rows"] for name, one in STORED.items()}


@pytest.mark.parametrize("name", STORED)
def test_what_is_asked_of_a_row_is_what_lm_eval_asks(name, tmp_path):
    pytest.importorskip("jinja2")
    first = ""
    for file, text in STORED[name]["files"].items():
        first = first or Path(file).name
        (tmp_path / Path(file).name).write_text(text)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
    asked = read_questions(str(tmp_path / "rows.jsonl"), str(tmp_path / first), 0)
    pairs = [[[one.context, choice] for choice in one.choices] for one in asked]
    assert pairs == [one["pairs"] for one in STORED[name]["asked"]]
    assert [one.answer for one in asked] == [one["answer"] for one in STORED[name]["asked"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("torch", reason="needs the extra language")
    pytest.importorskip("transformers", reason="needs the extra language")
    return small_folder(tmp_path_factory.mktemp("small") / "model", seed=3)


@pytest.mark.parametrize("name", ROWS)
def test_choices_are_those_of_lm_eval_one_by_one(folder, name, tmp_path):
    pytest.importorskip("lm_eval", reason="needs the extra tasks")
    from lm_eval.api.instance import Instance  # type: ignore[import]
    from lm_eval.models.huggingface import HFLM  # type: ignore[import]
    from tokenizers.processors import TemplateProcessing

    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS[name]))
    model = load_model(str(folder))
    assert model.tokenizer is not None
    module: Any = model.network.module  # type: ignore[union-attr]
    for tensor in module.parameters():
        tensor.mul_(4)  # random weights as they are made hardly tell one text from another
    task: Any = parse_task(f"choices({str(path)!r}, definition={name!r})")
    values = task.ask(model, open_session(model)).values
    asked = task._asked()
    texts, starts = _cut(model.tokenizer, asked, 256)
    ours = sums_behind(open_session(model), texts, starts, model.tokenizer.n_tokens)
    # lm-eval leaves the token that begins a text to the tokenizer.
    reader = copy.deepcopy(model.tokenizer.library)
    begin = (reader.bos_token, reader.bos_token_id)
    reader.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    theirs = HFLM(pretrained=module, tokenizer=reader, batch_size=1, device="cpu", add_bos_token=True)
    pairs = [(one.context, choice) for one in asked for choice in one.choices]
    requests = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]
    found = [likelihood for likelihood, _ in theirs.loglikelihood(requests, disable_tqdm=True)]
    np.testing.assert_allclose(ours, found, atol=1e-4)
    at = 0
    for question, value in zip(asked, values, strict=True):
        best = int(np.argmax(found[at : at + len(question.choices)]))
        assert value == float(best == question.answer)
        at += len(question.choices)


def test_rows_that_lm_eval_makes_by_code_are_made_alike(tmp_path):
    datasets = pytest.importorskip("datasets")
    utils = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    rows = ROWS["hellaswag"]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    task: Any = parse_task(f"choices({str(path)!r}, definition='hellaswag')")
    made = utils.process_docs(datasets.Dataset.from_list(rows))
    for ours, theirs in zip(task._asked(), made, strict=True):
        assert ours.context == theirs["query"]
        assert [choice.removeprefix(" ") for choice in ours.choices] == theirs["choices"]
        assert ours.answer == theirs["gold"]
