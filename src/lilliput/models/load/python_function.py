"""A network that a function of Python makes: code that the user names, and so chose to run."""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilliput.errors import LilliputError

if TYPE_CHECKING:
    import torch


def module_of(text: str) -> "torch.nn.Module":
    """What the function makes that `python:package.module:function`, or `python:folder/file.py:function`, names.

    Raises:
        LilliputError: there is no such function, or it makes no module.
    """
    import torch

    package, _, name = text.removeprefix("python:").partition(":")
    if not package or not name.isidentifier():
        raise LilliputError(
            f"--module is {text[:60]!r}; write python:package.module:function, or python:FILE.py:function"
        )
    try:
        made: Any = getattr(_file(package) if package.endswith(".py") else importlib.import_module(package), name)()
    except (ImportError, AttributeError, TypeError, OSError, SyntaxError) as error:
        raise LilliputError(f"--module {text[:60]!r} cannot be made: {str(error)[:120]}") from error
    if not isinstance(made, torch.nn.Module):
        raise LilliputError(f"--module {text[:60]!r} makes {type(made).__name__}; it must make a torch module")
    return made


def _file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no file of Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
