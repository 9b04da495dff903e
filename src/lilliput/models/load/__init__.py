"""Files, folders and hub ids to models: nothing in them is executed.

One module a kind of source (`hugging_face`, `gguf`, ...), each a `Loader`; the rows stand in `table`.
"""

import dataclasses
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.models.images import parse_picture
from lilliput.models.load.loader import Loader, Request
from lilliput.models.load.table import LOADERS
from lilliput.models.model import Family, Model

__all__ = ["LOADERS", "Loader", "Request", "load_model"]


def load_model(
    source: str, *, revision: str = "", module: str = "", family: Family | None = None, picture: str = ""
) -> Model:
    """The model in a file or folder, or behind a hub id.

    Args:
        source: a file, a folder or a hub id; `id@revision` pins one.
        revision: of a hub id: a branch, tag or commit.
        module: `python:package.module:function`: makes the module that a bare state dict is put into.
        family: what the model answers to, where the source does not say.
        picture: how a model of pictures sees them, as text: `picture(mean=(0.5, 0.5, 0.5))`.

    Raises:
        LilliputError: there is no such thing, or it is of no known kind, or damaged.
        MissingDependency: a library is not installed; the message names the extra.
    """
    if "@" in source and not Path(source).exists() and not revision:
        source, revision = source.rsplit("@", 1)
    request = Request(source, revision, module, family)
    for loader in LOADERS:
        if loader.recognise(request):
            found = loader.load(request)
            return dataclasses.replace(found, picture=parse_picture(picture)) if picture else found
    known = "; ".join(loader.WHAT for loader in LOADERS)
    if not Path(source).exists():
        raise LilliputError(f"{source!r} does not exist; it can be one of: {known}")
    raise LilliputError(f"{source!r} is of no known kind; supported: {known}")
