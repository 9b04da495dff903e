"""A model as loaded in one file, which a study keeps and sends to other machines: a tar of its folder, or its ONNX."""

import dataclasses
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any, assert_never

from lilliput.errors import LilliputError
from lilliput.files import Format, write_whole
from lilliput.models.images import picture_from
from lilliput.models.load.hugging_face import HuggingFace
from lilliput.models.load.loader import LoadRequest
from lilliput.models.load.onnx import Onnx
from lilliput.models.model import Graph, Model, Module, Provenance

FORMAT = Format("model", 1)

_HEAD = "lilliput-model.json"
_GRAPH = "model.onnx"


def write(model: Model, path: Path) -> Path:
    """The path, whose file holds the model.

    Raises:
        LilliputError: the model is compressed, or of a kind that no file holds; the file cannot be written.
    """
    if model.stored or model.pruned or model.provenance.recipe:
        raise LilliputError("a model's file holds it as it was loaded; export a compressed one")
    with tempfile.TemporaryDirectory(prefix="lilliput-") as name:
        folder = Path(name)
        match model.network:
            case Module(module=module):
                whole: Any = module
                if model.tokenizer is None or not hasattr(whole, "save_pretrained"):
                    raise LilliputError(
                        f"a model's file holds language models and ONNX graphs; this is {type(module).__name__}: "
                        "export it as onnx first"
                    )
                whole.save_pretrained(folder)
                model.tokenizer.library.save_pretrained(folder)
            case Graph(proto=proto):
                (folder / _GRAPH).write_bytes(proto.SerializeToString(deterministic=True))
                if model.tokenizer is not None:
                    model.tokenizer.library.save_pretrained(folder)
            case _:
                assert_never(model.network)
        head = {
            "family": model.family,
            "picture": None if model.picture is None else dataclasses.asdict(model.picture),
            "decoder": model.decoder,
            "provenance": dataclasses.asdict(model.provenance),
            "digest": model.digest,
        }
        (folder / _HEAD).write_text(json.dumps(FORMAT.stamped(head)))
        return write_whole(path, _packed(folder))


def read(path: Path) -> Model:
    """The model in a file that `write` wrote.

    Raises:
        LilliputError: it is something else, or damaged: its digest is not what was written.
    """
    with tempfile.TemporaryDirectory(prefix="lilliput-") as name:
        folder = Path(name)
        try:
            with tarfile.open(path, "r:") as archive:
                archive.extractall(folder, filter="data")
            head = FORMAT.current(json.loads((folder / _HEAD).read_text()))
            told, seen, family, digest = head["provenance"], head["picture"], head["family"], head["digest"]
            provenance = Provenance(**told | {"guesses": tuple(told["guesses"]), "said": ()})
            picture, decoder = picture_from(seen), head.get("decoder", "")
        except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
            raise LilliputError(f"{path} is not a model's file, or damaged: {str(error)[:80]}") from error
        if (folder / _GRAPH).exists():
            model = Onnx().load(LoadRequest(str(folder / _GRAPH), family=family))
        else:
            model = HuggingFace().load(LoadRequest(str(folder)))
        model = dataclasses.replace(model, provenance=provenance, picture=picture, decoder=decoder)
        if model.digest != digest:
            raise LilliputError(f"{path} is damaged: it is not what was written; load the model again")
    return model


def _packed(folder: Path) -> bytes:
    """A tar of the folder's files that is the same each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return stream.getvalue()
