"""The errors that a caller can act on: one line each, saying what was found, what is allowed and what to do."""

from typing import final


class LilliputError(Exception):
    """Anything that the user can put right; the command line prints its one line and exits with 1."""


@final
class NotApplicable(LilliputError):
    """A compression step that has nothing to do on this policy: a study records it, a single command reports it."""


@final
class MissingDependency(LilliputError):
    """A package, tool or counter that this machine lacks; the message names what to install."""
