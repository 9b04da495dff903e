"""Perplexity and multiple choice: against the transformers library's own loss, by hand, and what is refused."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.models.made import small_folder, text_file  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.models.load import load_model  # noqa: E402
from lilliput.models.session import open_session  # noqa: E402
from lilliput.models.task import format_task, parse_task  # noqa: E402
from lilliput.models.task.likelihood import sums_behind  # noqa: E402
from lilliput.models.text import overlap, read_text, windows_of  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(small_folder(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return text_file(tmp_path_factory.mktemp("text") / "text.txt")


def test_the_values_are_the_library_s_own_losses(model, text):
    task = parse_task(f'perplexity(text="{text}", windows=6, tokens=48)')
    answers = task.ask(model, open_session(model))
    every = windows_of(model.tokenizer, str(text), "held_out", 48, bos=True)
    picked = torch.from_numpy(every[np.linspace(0, len(every) - 1, 6).astype(int)])
    losses = [model.network.module(input_ids=one[None], labels=one[None]).loss.item() for one in picked]
    np.testing.assert_allclose(answers.values, -np.array(losses), rtol=1e-5)
    assert task.score(answers.values) == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert task.score(task.floor(257).values) == pytest.approx(257)


def test_texts_of_all_lengths_are_judged_as_each_is_alone(model):
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 257, n) for n in (3, 40, 17, 2, 40, 9)]
    starts = [1, 30, 5, 1, 1, 8]
    session = open_session(model)
    alone = [sums_behind(session, [one], [start], 257)[0] for one, start in zip(texts, starts, strict=True)]
    np.testing.assert_allclose(sums_behind(session, texts, starts, 257), alone, rtol=1e-5)
    logits = torch.from_numpy(session.answer({"input_ids": texts[1][None]})["logits"][0]).double().log_softmax(-1)
    by_hand = sum(logits[at - 1, texts[1][at]].item() for at in range(30, 40))
    assert alone[1] == pytest.approx(by_hand, rel=1e-5)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_most_likely_continuation_is_the_answer_and_a_tie_is_its_share(model, tmp_path):
    rows: list[dict[str, Any]] = [
        {"context": "one two", "choices": [" three", " four", " five"], "answer": 1},
        {"context": "", "choices": ["same", "same"], "answer": 0},
        {"sentence_good": "She sees herself.", "sentence_bad": "She sees themselves."},
    ]
    task = parse_task(f'choices("{write(tmp_path / "q.jsonl", rows)}")')
    session = open_session(model)
    answers = task.ask(model, session)
    encode, bos = model.tokenizer.encode, [model.tokenizer.bos]
    sums = []
    for choice in rows[0]["choices"]:
        whole = np.concatenate([bos, encode("one two" + choice)])
        sums.append(sums_behind(session, [whole], [8], 257)[0])
    assert answers.values.tolist()[:2] == [float(np.argmax(sums) == 1), 0.5]
    assert answers.items == ("q:1", "q:2", "q:3")
    assert task.floor().values.tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 2])


def test_as_many_questions_of_each_file_are_asked(model, tmp_path):
    for name, n in (("a", 2), ("b", 9), ("c", 9)):
        write(tmp_path / f"{name}.jsonl", [{"context": "x", "choices": ["a", "b"], "answer": 0}] * n)
    names = parse_task(f'choices("{tmp_path}", items=10)').floor().items
    assert [sum(name.startswith(letter) for name in names) for letter in "abc"] == [2, 4, 4]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"q.jsonl:1: not a JSON object"),
        ("[1]", r"q.jsonl:1: not a JSON object"),
        ('{"text": "x"}', r"q.jsonl:1: of no known form \(keys: text\)"),
        ('{"context": "x", "choices": ["a"], "answer": 0}', "two or more are needed"),
        ('{"context": "x", "choices": ["a", "b"], "answer": 2}', "answer 2"),
        ("", "holds no question"),
    ],
)
def test_a_question_that_is_none_is_refused_with_its_line(model, tmp_path, row, message):
    (tmp_path / "q.jsonl").write_text(row)
    with pytest.raises(LilliputError, match=message):
        parse_task(f'choices("{tmp_path / "q.jsonl"}")').floor()


def test_a_definition_of_lm_eval_asks_rows_as_it_says(model, tmp_path):
    (tmp_path / "base.yaml").write_text('output_type: multiple_choice\ndoc_to_text: "Q: {{q}}\\nA:"\n')
    definition = tmp_path / "arc.yaml"
    definition.write_text(
        "include: base.yaml\ndoc_to_choice: '{{choices.text}}'\ndoc_to_target: '{{choices.label.index(key)}}'\n"
    )
    row = {"q": "2+2?", "choices": {"text": ["3", "4"], "label": ["A", "B"]}, "key": "B"}
    plain = {"context": "Q: 2+2?\nA:", "choices": [" 3", " 4"], "answer": 1}
    one: Any = parse_task(f'choices("{write(tmp_path / "rows.jsonl", [row])}", definition="{definition}")')
    other: Any = parse_task(f'choices("{write(tmp_path / "plain.jsonl", [plain])}")')
    assert one._asked()[0].choices == other._asked()[0].choices == (" 3", " 4")
    assert (one._asked()[0].context, one._asked()[0].answer) == ("Q: 2+2?\nA:", 1)


def test_rows_that_hellaswag_s_definition_changes_by_code_are_changed_by_ours(tmp_path):
    definition = tmp_path / "hellaswag.yaml"
    definition.write_text(
        "task: hellaswag\nprocess_docs: !function utils.process_docs\n"
        "doc_to_text: '{{query}}'\ndoc_to_choice: choices\ndoc_to_target: '{{label}}'\n"
    )
    row = {
        "activity_label": "Roof [title] work",
        "ctx_a": "A man sits.",
        "ctx_b": "he",
        "endings": ["a [step] b", "c"],
    }
    told: Any = parse_task(
        f'choices("{write(tmp_path / "rows.jsonl", [{**row, "label": "1"}])}", definition="{definition}")'
    )
    (question,) = told._asked()
    assert (question.context, question.choices) == ("Roof. work: A man sits. He", (" a b", " c"))
    assert question.answer == 1
    lacks: Any = parse_task(f'choices("{write(tmp_path / "lacks.jsonl", [row])}", definition="{definition}")')
    with pytest.raises(LilliputError, match="no row of hellaswag: 'label' is missing"):
        lacks.floor()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("doc_to_text: !function utils.text\ndoc_to_choice: x\ndoc_to_target: y\n", "its doc_to_text is code"),
        ("process_docs: !function utils.docs\ndoc_to_text: x\n", "its process_docs is code"),
        ("output_type: generate_until\ndoc_to_text: x\ndoc_to_choice: c\ndoc_to_target: t\n", "generate_until task"),
        ("doc_to_text: '{{ q.__class__.__mro__ }}'\ndoc_to_choice: c\ndoc_to_target: t\n", "does not fit this row"),
    ],
)
def test_a_definition_runs_no_code(model, tmp_path, lines, message):
    (tmp_path / "task.yaml").write_text(lines)
    rows = write(tmp_path / "rows.jsonl", [{"q": "x", "c": ["a", "b"], "t": 0}])
    with pytest.raises(LilliputError, match=message):
        parse_task(f'choices("{rows}", definition="{tmp_path / "task.yaml"}")').floor()


def test_a_text_that_calibrates_does_not_judge(model, text, tmp_path):
    parse_task(f'perplexity(text="{text}")').check_source(str(text))
    parse_task(f'perplexity(text="{text}")').check_source("random")
    with pytest.raises(LilliputError, match="a model would be judged on what it was calibrated on"):
        parse_task(f'perplexity(text="{text}", part="whole")').check_source(str(text))
    other = text_file(tmp_path / "other.txt", seed=1)
    parse_task(f'perplexity(text="{other}", part="whole")').check_source(str(text))
    leak = read_text(str(text), "calibration")[2000:3000]
    mixed = tmp_path / "mixed.txt"
    mixed.write_text(other.read_text()[:10000] + leak + other.read_text()[10000:20000])
    with pytest.raises(LilliputError, match="judged on what it was calibrated on"):
        parse_task(f'perplexity(text="{mixed}", part="whole")').check_source(str(text))
    rows = [{"context": leak[:200], "choices": [leak[200:260], "x"], "answer": 0}]
    with pytest.raises(LilliputError, match="of the questions"):
        parse_task(f'choices("{write(tmp_path / "q.jsonl", rows)}")').check_source(str(text))


def test_the_two_parts_of_a_text_are_all_of_it_and_begin_with_a_document(text):
    whole, calibration, held_out = (read_text(str(text), part) for part in ("whole", "calibration", "held_out"))
    assert calibration + held_out == whole
    assert calibration.endswith("<|endoftext|>")
    assert 0.1 < len(held_out) / len(whole) < 0.3


def test_overlap_is_the_share_that_was_copied():
    rng = np.random.default_rng(0)
    letters = ["".join(rng.choice(list("abcdef "), 6000)) for _ in range(2)]
    assert overlap(letters[0], letters[1]) == 0
    half = letters[0][:3000] + letters[1][3000:]
    assert overlap(half, letters[0]) == pytest.approx(0.5, abs=0.02)
    assert overlap(half.replace(" ", "\n  "), letters[0]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ('perplexity(text="{text}", windows=5000)', "windows of 256 tokens; 5000 were asked for"),
        ('perplexity(text="{text}", tokens=512)', "the model reads at most 256 at once"),
        ('perplexity(text="nowhere")', "'nowhere' does not exist"),
        ("perplexity('x', windows=1)", "it must be from 2"),
        ("accuracy()", "unknown task 'accuracy'; tasks: perplexity, choices"),
        ("perplexity('x') | choices('x')", "2 tasks; write one"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, text, task, message):
    with pytest.raises(LilliputError, match=message):
        parse_task(task.replace("{text}", str(text))).ask(model, open_session(model))


def test_a_task_is_its_text():
    text = 'perplexity(text="c4", windows=20)'
    assert format_task(parse_task(text)) == text
    assert parse_task(text) == parse_task('perplexity("c4", 20)')


@pytest.mark.skipif("LILLIPUT_MODELS" not in os.environ, reason="LILLIPUT_MODELS is not set")
def test_stories260k_answers_as_published():
    model = load_model(str(Path(os.environ["LILLIPUT_MODELS"]) / "stories260k"))
    task = parse_task('choices("blimp", items=900)')
    assert task.score(task.ask(model, open_session(model)).values) == pytest.approx(0.67, abs=0.002)
