"""Files, folders and hub ids to models: nothing in them is executed.

One module a kind of source (`hugging_face`, `gguf`, ...), each a `Loader`; the rows stand in `table`.
"""

import dataclasses
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.models.images import parse_picture
from lilliput.models.load.hub import fetched, is_hub_id, pinned
from lilliput.models.load.loader import Loader, LoadRequest
from lilliput.models.load.table import LOADERS
from lilliput.models.model import Family, Model

__all__ = ["LOADERS", "LoadRequest", "Loader", "is_named", "load_model"]

_PREFIXES = ("timm:", "torchvision:")


def load_model(
    source: str,
    *,
    revision: str = "",
    module: str = "",
    family: Family | None = None,
    picture: str = "",
    asked: Family | None = None,
) -> Model:
    """The model in a file or folder, or behind a hub id.

    Args:
        source: a file, a folder, a hub id (or a folder or file behind one), `timm:NAME` or `torchvision:NAME`;
            `@revision` behind it pins one.
        revision: of a hub id: a branch, tag or commit; of torchvision: its weights.
        module: makes the network that a bare state dict is put into: `python:package.module:function`, `timm:NAME`.
        family: what the model answers to, where the source does not say.
        picture: how a model of pictures sees them, as text: `picture(mean=(0.5, 0.5, 0.5))`.
        asked: what its task asks for: its family where neither the source nor `family` says.

    Raises:
        LilliputError: there is no such thing, or it is of no known kind, or damaged.
        MissingDependency: a library is not installed; the message names the extra.
    """
    if "@" in source and not Path(source).exists() and not revision:
        source, revision = source.rsplit("@", 1)
    request = LoadRequest(source, revision, module, family, asked)
    if is_hub_id(source):
        folder, commit = fetched(source, revision)
        found = pinned(_loaded(LoadRequest(str(folder), "", module, family, asked)), source, request, commit)
    else:
        found = _loaded(request)
    if picture:
        return dataclasses.replace(found, picture=parse_picture(picture))
    return _guessed(found) if found.picture is None and found.family == "classification" else found


def _guessed(model: Model) -> Model:
    """The model, with a sentence where it takes colours in a way that its source does not tell.

    Most classifiers of colours were trained on standardized ones, and are a good deal worse on others.
    """
    if not any(len(port.axes) == 4 and 3 in port.axes[1:] and port.dtype != "uint8" for port in model.inputs):
        return model
    said = "how it sees pictures is not in the file: taken for red, green, blue from 0 to 1 (--picture says otherwise)"
    told = dataclasses.replace(model.provenance, guesses=(*model.provenance.guesses, said))
    return dataclasses.replace(model, provenance=told)


def is_named(source: str) -> bool:
    """Whether the source may be a model though no file is called so: a hub id, or a name of a library."""
    return source.startswith(_PREFIXES) or is_hub_id(source.rsplit("@", 1)[0])


def _loaded(request: LoadRequest) -> Model:
    for loader in LOADERS:
        if loader.recognise(request):
            return loader.load(request)
    known = "; ".join(loader.WHAT for loader in LOADERS)
    if not Path(request.source).exists():
        raise LilliputError(f"{request.source!r} does not exist; it can be a hub id, or one of: {known}")
    if (Path(request.source) / "adapter_config.json").is_file():
        raise LilliputError(
            f"{request.source!r} is an adapter of PEFT, a part of a model; merge it into that (merge_and_unload) and "
            "give the folder that save_pretrained writes then"
        )
    raise LilliputError(f"{request.source!r} is of no known kind; supported: {known}")
