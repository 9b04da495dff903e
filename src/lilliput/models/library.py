"""The libraries that the wing stands on, imported where one is first needed."""

import importlib
import os
from typing import Any

from lilliput.errors import MissingDependency


def is_offline() -> bool:
    """Whether the user forbade the network by HF_HUB_OFFLINE: what was fetched before is read."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def library(name: str, extra: str = "") -> Any:
    """The imported package.

    Args:
        name: of the package.
        extra: of ours that installs it; none: it is installed by itself.

    Raises:
        MissingDependency: it is not installed, or fails as it is imported.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # Packages with compiled parts raise others where those were made for another version: torchvision RuntimeError.
        wanted = f"'lilliput[{extra}]'" if extra else name
        why = " ".join(str(error).split())[:120]
        raise MissingDependency(f"{name} cannot be imported ({why}); install it with: pip install {wanted}") from error


def transformers() -> Any:
    """The transformers library, without its bars and advice on stderr, where our own progress is."""
    found = library("transformers", "language")
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    return found


def hub_refusals() -> tuple[type[Exception], ...]:
    """What the hub client raises: errors of what it stands on (requests, httpx or httpx2, as versions go), OSErrors."""
    hub = library("huggingface_hub", "language")
    http = next(kind for kind in hub.errors.HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    return http, OSError, ValueError
