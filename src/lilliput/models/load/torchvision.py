"""Classifiers of torchvision by name, with the weights that torchvision publishes for them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from lilliput.errors import LilliputError, closest
from lilliput.models.images import Picture
from lilliput.models.library import is_offline, library
from lilliput.models.load.architecture import Architecture, called, of_pictures
from lilliput.models.load.loader import Loader, LoadRequest, check_family
from lilliput.models.load.tensors import filled
from lilliput.models.model import Model

_PREFIX = "torchvision:"


@final
@dataclass(frozen=True)
class Torchvision(Loader):
    """`torchvision:NAME`, or `torchvision:NAME@WEIGHTS` as torchvision calls them: IMAGENET1K_V1."""

    NAME: ClassVar[str] = "torchvision"
    WHAT: ClassVar[str] = "torchvision:NAME"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether it is a name of torchvision."""
        return request.source.startswith(_PREFIX)

    def load(self, request: LoadRequest) -> Model:
        """The classifier with those weights, or torchvision's best."""
        check_family(request, "classification")
        name = request.source.removeprefix(_PREFIX)
        made = torchvision_architecture(name)
        if not made.tag:
            raise LilliputError(
                f"{request.source[:60]} has no weights that torchvision publishes; give your own: "
                f"WEIGHTS.pth --module '{request.source[:60]}'"
            )
        known = library("torchvision").models.get_model_weights(name)
        tag = request.revision or made.tag
        if tag not in known.__members__:
            raise LilliputError(
                f"torchvision has no weights {tag[:40]!r} of {name}; it has: {', '.join(known.__members__)}"
            )
        made = dataclasses.replace(made, picture=_picture(known[tag]))
        model = filled(made, _downloaded(known[tag].url), request, self.NAME)
        guessed = f"no weights were named: torchvision's best are {tag} now; pin them as {request.source}@{tag}"
        origin = dataclasses.replace(model.provenance, revision=tag, guesses=() if request.revision else (guessed,))
        return dataclasses.replace(model, provenance=origin)


def torchvision_architecture(text: str) -> Architecture:
    """A classifier of torchvision, without weights; its tag names the best of those that are torchvision's own.

    Raises:
        LilliputError: torchvision has no such classifier.
        MissingDependency: torchvision cannot be imported.
    """
    vision = library("torchvision").models
    name, arguments = called(text, "torchvision")
    known = vision.list_models(module=vision)
    if name not in known:
        raise LilliputError(f"torchvision has no classifier {name[:60]!r}; {closest(name, known)}")
    try:
        module = vision.get_model(name, weights=None, **arguments)
    except (TypeError, RuntimeError, ValueError) as error:
        raise LilliputError(f"torchvision:{text[:60]} cannot be made: {' '.join(str(error).split())[:160]}") from error
    best = vision.get_model_weights(name).DEFAULT
    picture = _picture(best)
    shape = (3, picture.size or 224, picture.size or 224)
    return of_pictures(module, shape, picture, f"torchvision:{name}", "" if arguments else best.name)


def _picture(weights: Any) -> Picture:
    """How a network with those weights sees pictures."""
    seen = weights.transforms()
    size = int(seen.crop_size[0])
    return Picture(
        size=size,
        resize=max(float(seen.resize_size[0]) / size, 1.0),
        filter="bicubic" if seen.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(map(float, seen.mean)),
        std=tuple(map(float, seen.std)),
    )


def _downloaded(url: str) -> Path:
    """Where the file lies, whose name carries its hash; fetched where it is not there yet.

    Raises:
        LilliputError: it cannot be fetched, or is not what its name says.
    """
    from torch import hub

    path = Path(hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    if is_offline():
        raise LilliputError(f"{path.name} was not fetched before, and HF_HUB_OFFLINE forbids the network")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1], progress=False)
    except (OSError, RuntimeError) as error:
        raise LilliputError(f"{url} cannot be fetched: {' '.join(str(error).split())[:160]}") from error
    return path
