"""The errors that a caller can act on: one line each, saying what was found, what is allowed and what to do."""

import difflib
from collections.abc import Iterable
from typing import final


class LilliputError(Exception):
    """Anything that the user can put right; the command line prints its one line and exits with 1.

    Attributes:
        step: the compression step that it ended; empty where it was none.
    """

    step: str = ""


@final
class NotApplicable(LilliputError):
    """What is not made for this subject: a compression step with nothing to do on it, a task that it cannot be asked.

    A study records the step and goes without the task, a single command reports either.
    """


@final
class MissingDependency(LilliputError):
    """A package, tool or counter that this machine lacks; the message names what to install."""


def closest(word: str, known: Iterable[str]) -> str:
    """`did you mean X? ` for an error, with a word that ends in it too; an empty text where no known one is like it."""
    every = list(known)
    found = [*difflib.get_close_matches(word, every, n=1), *(one for one in every if one.endswith(f"_{word}"))]
    return f"did you mean {' or '.join(dict.fromkeys(found[:2]))}? " if found else ""
