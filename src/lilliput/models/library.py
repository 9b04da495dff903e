"""The libraries that the wing stands on, imported where one is first needed."""

import importlib
from typing import Any

from lilliput.errors import MissingDependency


def library(name: str, extra: str) -> Any:
    """The imported package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"{name} cannot be imported ({str(error)[:120]}); install it with: pip install 'lilliput[{extra}]'"
        ) from error


def transformers() -> Any:
    """The transformers library, without its bars and advice on stderr, where our own progress is."""
    found = library("transformers", "language")
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    return found
