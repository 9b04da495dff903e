"""What a reader calls things: a policy earns a return in episodes, a language model gets a perplexity on items."""

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.report.printed_table import number
from lilliput.sums import mean
from lilliput.task import MODEL_SCORES, Task


@final
@dataclass(frozen=True)
class Words:
    """Nouns of a report.

    Attributes:
        subject, subjects: what is made small.
        kind: of a subject, by which methods are compared.
        task: what it is judged on.
        score: by what; values: what there is one of an item; items: on how many of what.
        floor: who answers without knowing anything.
        answer: one use of it.
        across: by what a heat map spreads methods.
        keys: keys of a row in JSON and CSV that are called otherwise; without: that mean nothing.
    """

    subject: str
    subjects: str
    kind: str
    task: str
    score: str
    values: str
    items: str
    floor: str
    answer: str
    across: str
    keys: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()


POLICIES = Words(
    "policy", "policies", "algorithm", "environment", "return", "returns", "episodes", "the uniform-random policy",
    "decision", "algorithms",
)  # fmt: skip

MODELS = Words(
    "model", "models", "family", "task", "score", "values", "items", "chance", "answer", "tasks",
    keys=(
        ("policy", "model"), ("policy_digest", "model_digest"), ("algorithm", "family"), ("environment", "task"),
        ("n_episodes", "n_items"), ("episodes_needed", "items_needed"), ("mean_return", "mean_value"),
        ("sd_return", "sd_value"), ("worst_decile", "worst_decile_value"), ("baseline_mean", "baseline_mean_value"),
        ("random_mean", "chance_mean_value"),
    ),
    without=("episode_time_s", "n_terminated", "baseline_terminated", "n_cut"),
)  # fmt: skip


def count(n: int, items: str) -> str:
    """So many of something.

    >>> count(1, "episodes"), count(1200, "items")
    ('1 episode', '1,200 items')
    """
    return f"{n:,} {items.removesuffix('s') if n == 1 else items}"


def words_of(tasks: Iterable[Task]) -> Words:
    """The nouns for what is judged on these tasks; one kind of subject is in a report.

    >>> words_of([Task("Hopper-v4")]).score, words_of([Task('perplexity(text="wiki")', score="item_score")]).score
    ('return', 'perplexity')
    """
    names = {score_of(task).name for task in tasks if task.score in MODEL_SCORES}
    if not names:
        return POLICIES
    return dataclasses.replace(MODELS, score=names.pop()) if len(names) == 1 else MODELS


def name_of(source: str) -> str:
    """What a model is called: a hub's id, or the last part of a path.

    >>> name_of("/home/me/models/stories260k"), name_of("HuggingFaceTB/SmolLM2-135M")
    ('stories260k', 'HuggingFaceTB/SmolLM2-135M')
    """
    return PurePath(source).name if PurePath(source).is_absolute() else source


def brief_text(task: Task) -> str:
    """The task of models in two words: its name, and what is asked.

    >>> [brief_text(Task(text, score="item_score")) for text in ("perplexity(text='wiki')", "choices('blimp')")]
    ['perplexity wiki', 'choices blimp']
    """
    asked = score_of(task).asked
    if asked is None:
        return str(task)
    return f"{asked.NAME} {name_of(str(getattr(asked, dataclasses.fields(asked)[0].name)))}"


@final
@dataclass(frozen=True)
class Score:
    """The number that people print of a task: its name, and what makes it of the values of the items.

    Attributes:
        name: return, perplexity, accuracy.
        asked: the models' own task; None: the mean of the values is the score.
    """

    name: str
    asked: Any = None

    def of(self, values: Float64[np.ndarray, " items"]) -> float:
        """The score."""
        return mean(values) if self.asked is None else float(self.asked.score(values))

    def of_mean(self, value: float | None) -> float | None:
        """The score where all items had that value."""
        return None if value is None else self.of(np.array([value]))

    def text(self, value: float | None) -> str:
        """A score as people print it.

        >>> Score("accuracy").text(0.67), Score("perplexity").text(84.613), Score("return").text(None)
        ('67.0%', '84.6', '-')
        """
        return f"{100 * value:.1f}%" if self.name == "accuracy" and value is not None else number(value)


@functools.cache
def score_of(task: Task) -> Score:
    """What the task is judged by, as people call it."""
    if task.score not in MODEL_SCORES:
        return Score("return")
    from lilliput.models.task import parse_task

    asked = parse_task(task.id)
    return Score(asked.SCORE, asked)
