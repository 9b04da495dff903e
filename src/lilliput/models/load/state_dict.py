"""Bare state dicts (.pth, .th, .pt, .safetensors), put into a network that the user names."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.load.architecture import Architecture, described
from lilliput.models.load.loader import Loader, LoadRequest
from lilliput.models.load.python_function import module_of
from lilliput.models.load.tensors import filled
from lilliput.models.load.timm import timm_architecture
from lilliput.models.load.torchvision import torchvision_architecture
from lilliput.models.model import Model

_SUFFIXES = (".pth", ".pt", ".th", ".bin", ".safetensors")
_KINDS = "python:package.module:function, python:FILE.py:function, timm:NAME or torchvision:NAME"


@final
@dataclass(frozen=True)
class StateDict(Loader):
    """Tensors by name, read by `weights_only`; the network is made by what the user names."""

    NAME: ClassVar[str] = "state_dict"
    WHAT: ClassVar[str] = f"state dicts (.pth, .pt, .th, .safetensors) with --module {_KINDS}"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether the file's name ends as one of a state dict."""
        path = Path(request.source)
        return path.suffix.lower() in _SUFFIXES and path.is_file()

    def load(self, request: LoadRequest) -> Model:
        """The module with those weights; its ports are what it says (`described`)."""
        path = Path(request.source)
        if not request.module:
            raise LilliputError(f"{path.name!r} holds weights without a network; name what makes it: --module {_KINDS}")
        model = filled(architecture_of(request.module), path, request, self.NAME)
        guessed = f"{path.name} does not say what it answers to; taken for a classifier (--family names another)"
        if not request.module.startswith("python:"):
            return model
        family = request.family or request.asked
        provenance = dataclasses.replace(model.provenance, guesses=() if family else (guessed,))
        return dataclasses.replace(model, family=family or model.family, provenance=provenance)


def architecture_of(text: str) -> Architecture:
    """What `python:package.module:function`, `timm:NAME` or `torchvision:NAME` names.

    A name of timm or torchvision may be a call: `timm:resnet18(num_classes=10)`.

    Raises:
        LilliputError: there is no such function or network, or it does not say what it takes.
        MissingDependency: the library is not installed.
    """
    kind, _, rest = text.partition(":")
    match kind:
        case "python":
            return described(module_of(text), text)
        case "timm":
            return timm_architecture(rest)
        case "torchvision":
            return torchvision_architecture(rest)
        case _:
            raise LilliputError(f"--module is {text[:60]!r}; write {_KINDS}")
