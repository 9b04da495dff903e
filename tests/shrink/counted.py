"""Searches that end after what they found, not after a time: a busy machine finds what a quiet one does."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from lilliput.policies.learner import Checkpoint
from lilliput.shrink.bar import Bar
from lilliput.shrink.request import Place
from lilliput.shrink.search import Say, search
from lilliput.shrink.searched import End, Searched
from lilliput.shrink.student_space import StudentSpace
from lilliput.shrink.workers import Workers

AN_HOUR_S = 3600.0
"""More than any of these searches takes."""


def end_after(monkeypatch: pytest.MonkeyPatch, is_enough: Callable[[Searched], bool]) -> None:
    """Let searches begin nothing more once this is enough."""

    def counted(
        teacher: Checkpoint,
        place: Place,
        bar: Bar,
        workers: Workers,
        end: End,
        say: Say,
        others: Sequence[Checkpoint] = (),
    ) -> Searched:
        return search(teacher, place, bar, workers, lambda found: 0.0 if is_enough(found) else end(found), say, others)

    monkeypatch.setattr(importlib.import_module("lilliput.shrink.run"), "search", counted)


def students(n: int) -> Callable[[Searched], bool]:
    """Whether so many were tried."""
    return lambda found: len(found.students.keys() & found.trials.keys()) >= n


def trials(n: int) -> Callable[[Searched], bool]:
    """Whether so many recipes were tried."""
    return lambda found: sum(1 for recipe in found.trials if recipe) >= n


def lessons(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the first students learn for so many steps: for a game that is known from one number that is enough."""
    usual = StudentSpace.starts
    monkeypatch.setattr(StudentSpace, "starts", lambda space: tuple(replace(one, steps=steps) for one in usual(space)))
