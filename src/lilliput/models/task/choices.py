"""Multiple choice and minimal pairs: which of the continuations a language model thinks most likely."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.models import location
from lilliput.models.model import Family, Model, longest_window, tokenizer_of
from lilliput.models.session import Session
from lilliput.models.task.likelihood import check_causal, check_reads, sums_behind
from lilliput.models.task.question import Question, read_questions
from lilliput.models.task.task import Answers, Task
from lilliput.models.text import MADE, MAX_OVERLAP, Tokenizer, overlap, read_text
from lilliput.parameter import check_fields, check_integer


@final
@dataclass(frozen=True)
class Choices(Task):
    """1 where the right continuation is the most likely one, else 0; a tie counts as its share of the tied.

    Attributes:
        questions: a name, a .jsonl file or a folder of them, in a form that `question` lists.
        definition: an lm-eval task (its name, or a YAML file) that says how a row of the file is asked.
        items: at most so many, as many of each file; 0: all.
        by: which likelihood is compared: the `sum` over the continuation, or its mean a `character` of it.
    """

    NAME: ClassVar[str] = "choices"
    VERSION: ClassVar[int] = 2
    SCORE: ClassVar[str] = "accuracy"
    FAMILY: ClassVar[Family] = "language"

    questions: str
    definition: str = ""
    items: int = 0
    by: Literal["sum", "character"] = "sum"

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "items", self.items, 0, 1 << 24)

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """Right (1) or wrong (0), of each question."""
        tokenizer, asked = tokenizer_of(model, self.NAME), self._asked()
        texts, starts = _cut(tokenizer, asked, longest_window(model))
        sums = sums_behind(session, texts, starts, tokenizer.n_tokens, progress)
        values, at = [], 0
        for question in asked:
            score = sums[at : at + len(question.choices)]
            at += len(question.choices)
            if self.by == "character":
                score = score / [max(len(choice), 1) for choice in question.choices]
            best = score == score.max()
            values.append(best[question.answer] / best.sum())
        return Answers(np.array(values, np.float64), tuple(question.name for question in asked))

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        tokenizer, asked = tokenizer_of(model, self.NAME), self._asked()
        if longest_window(model) is None:
            most = max(len(text) for text in _cut(tokenizer, asked, None)[0])
            check_reads(session, most, f"choices: the longest question has {most} tokens")
        check_causal(session, tokenizer.n_tokens)

    def floor(self, n_tokens: int = 0) -> Answers:
        """One choice picked at random."""
        asked = self._asked()
        return Answers(np.array([1 / len(q.choices) for q in asked]), tuple(q.name for q in asked))

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """The share of questions that were answered right."""
        return float(values.mean())

    def check_source(self, source: str) -> None:
        """Check that the questions do not stand in the calibration text."""
        if source in MADE:
            return
        asked = "\n".join(q.context + q.choices[q.answer] for q in self._asked())
        share = overlap(asked, read_text(source, "calibration"))
        if share > MAX_OVERLAP:
            raise LilliputError(
                f"{share:.0%} of the questions {self.questions!r} also stand in the calibration source {source!r}: a "
                "model would be judged on what it was calibrated on; calibrate on another text"
            )

    @property
    def data_digest(self) -> str:
        """sha256 of the files that hold the questions."""
        return location.digest(self.questions)

    def _asked(self) -> tuple[Question, ...]:
        return read_questions(self.questions, self.definition, self.items)


@lru_cache(maxsize=16)
def _cut(
    tokenizer: Tokenizer, asked: tuple[Question, ...], longest: int | None
) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
    """The tokens of every choice of every question, and where the choice begins; once for all models that are asked."""
    texts, starts = [], []
    for question in asked:
        for choice in question.choices:
            text, start = _tokens(tokenizer, question.context, choice)
            if longest is not None and len(text) > longest:
                text, start = text[-longest:], max(start - (len(text) - longest), 1)
            texts.append(text)
            starts.append(start)
    return tuple(texts), tuple(starts)


def _tokens(tokenizer: Tokenizer, context: str, choice: str) -> tuple[np.ndarray, int]:
    """The tokens of both, and where the choice begins: behind the context's own, as lm-eval cuts them."""
    stripped = context.rstrip()
    choice = context[len(stripped) :] + choice
    before = tokenizer.encode(stripped) if stripped else np.zeros(0, np.int64)
    whole = tokenizer.encode(stripped + choice)
    if tokenizer.bos is not None:
        return np.concatenate([[tokenizer.bos], whole]), len(before) + 1
    if not len(before):
        # Without a beginning, the first token has nothing that it could be likely after.
        return whole, 1
    return whole, len(before)
