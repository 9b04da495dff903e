"""Classifiers of timm by name, with the weights that timm publishes for them: safetensors from the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from lilliput.errors import LilliputError, closest
from lilliput.models.images import Picture
from lilliput.models.library import library
from lilliput.models.load.architecture import Architecture, called, of_pictures
from lilliput.models.load.hub import fetched, pinned
from lilliput.models.load.loader import Loader, LoadRequest, check_family
from lilliput.models.load.tensors import filled
from lilliput.models.model import Model

_PREFIX = "timm:"
_LEAST_CROP = 1 / 4
"""Of a picture; `Picture.resize` goes no further."""


@final
@dataclass(frozen=True)
class Timm(Loader):
    """`timm:NAME`: a name as timm lists it, with the tag of its weights or without."""

    NAME: ClassVar[str] = "timm"
    WHAT: ClassVar[str] = "timm:NAME"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether it is a name of timm."""
        return request.source.startswith(_PREFIX)

    def load(self, request: LoadRequest) -> Model:
        """The classifier with the weights of the tag, or those that timm prefers."""
        check_family(request, "classification")
        made = timm_architecture(request.source.removeprefix(_PREFIX))
        if not made.tag:
            raise LilliputError(
                f"{request.source[:60]} has no weights that timm publishes; give your own: "
                f"WEIGHTS.safetensors --module '{request.source[:60]}'"
            )
        folder, commit = fetched(made.tag, request.revision)
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise LilliputError(f"the hub's {made.tag} has no {weights.name}; pickles are not read")
        return pinned(filled(made, weights, request, self.NAME), made.tag, request, commit)


def timm_architecture(text: str) -> Architecture:
    """A network of timm, without weights; its tag names the repository of those that are timm's own.

    Raises:
        LilliputError: timm has no such network.
        MissingDependency: timm, or torchvision, on which it stands, cannot be imported.
    """
    timm = library("timm")
    name, arguments = called(text, "timm")
    if not timm.is_model(name):
        raise LilliputError(
            f"timm {timm.__version__} has no network {name[:60]!r}; {closest(name, timm.list_models())}"
        )
    try:
        module = timm.create_model(name, pretrained=False, **arguments)
    except (TypeError, RuntimeError, ValueError) as error:
        raise LilliputError(f"timm:{text[:60]} cannot be made: {' '.join(str(error).split())[:160]}") from error
    said: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    channels, height, width = said.get("input_size") or (3, 224, 224)
    shape = (int(arguments.get("in_chans", channels)), int(height), int(width))
    crop = said.get("crop_pct")
    picture = Picture(
        size=shape[-1],
        resize=1 / crop if isinstance(crop, float) and _LEAST_CROP <= crop <= 1 else 1.0,
        filter="bicubic" if said.get("interpolation") == "bicubic" else "bilinear",
        mean=tuple(map(float, said.get("mean") or (0.0, 0.0, 0.0))),
        std=tuple(map(float, said.get("std") or (1.0, 1.0, 1.0))),
    )
    repository = str(said.get("hf_hub_id") or "")
    tag = f"{repository}{said.get('architecture')}.{said.get('tag')}" if repository.endswith("/") else repository
    return of_pictures(module, shape, picture, f"timm:{name}", "" if arguments else tag)
