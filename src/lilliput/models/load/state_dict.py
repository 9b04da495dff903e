"""Bare state dicts (.pth, .th, .pt, .safetensors), put into a module that the user names."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.load.loader import Loader, Request
from lilliput.models.model import Model, Module, Port, Provenance

if TYPE_CHECKING:
    import torch

_SUFFIXES = (".pth", ".pt", ".th", ".bin", ".safetensors")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Where training scripts put the state dict, beside a counter of epochs."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


@final
@dataclass(frozen=True)
class StateDict(Loader):
    """Tensors by name, read by `weights_only`; the module is made by a function that the user names."""

    NAME: ClassVar[str] = "state_dict"
    WHAT: ClassVar[str] = "state dicts (.pth, .pt, .th, .safetensors) with --module python:package.module:function"

    def recognise(self, request: Request) -> bool:
        """Whether the file's name ends as one of a state dict."""
        path = Path(request.source)
        return path.suffix.lower() in _SUFFIXES and path.is_file()

    def load(self, request: Request) -> Model:
        """The module with those weights; its ports are those of the function's `inputs`, or one picture."""
        import torch

        path = Path(request.source)
        if not request.module:
            raise LilliputError(
                f"{path.name!r} holds weights without a network; name what makes it: --module "
                "python:package.module:function"
            )
        made = module_of(request.module)
        state = _read(path)
        try:
            made.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise LilliputError(
                f"the weights of {path.name!r} do not fit {request.module}: {' '.join(str(error).split())[:200]}"
            ) from error
        made.eval()
        for parameter in made.parameters():
            parameter.requires_grad_(False)
        shape = getattr(made, "input_shape", None)
        if shape is None:
            raise LilliputError(
                f"{request.module} does not say what its module takes; set `module.input_shape = (3, 32, 32)` "
                "before it returns it"
            )
        with torch.inference_mode():
            found = made(torch.zeros(1, *shape))
        if not isinstance(found, torch.Tensor):
            raise LilliputError(f"{request.module}'s module gives {type(found).__name__}; it must give one tensor")
        outputs = (Port("output", "float32", ("batch", *found.shape[1:])),)
        inputs = (Port("input", "float32", ("batch", *(int(n) for n in shape))),)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        provenance = Provenance(request.source, "", sha256, self.NAME, "float32")
        family = request.family or "classification"
        return Model(Module(made, str(made)), family, inputs, outputs, provenance=provenance)


def module_of(text: str) -> "torch.nn.Module":
    """What the function makes that `python:package.module:function` names: code that the user chose to run.

    Raises:
        LilliputError: there is no such function, or it makes no module.
    """
    import torch

    kind, _, rest = text.partition(":")
    package, _, name = rest.partition(":")
    if kind != "python" or not package or not name.isidentifier():
        raise LilliputError(f"--module is {text[:60]!r}; write python:package.module:function")
    try:
        made: Any = getattr(importlib.import_module(package), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise LilliputError(f"--module {text[:60]!r} cannot be made: {str(error)[:120]}") from error
    if not isinstance(made, torch.nn.Module):
        raise LilliputError(f"--module {text[:60]!r} makes {type(made).__name__}; it must make a torch module")
    return made


def _read(path: Path) -> dict[str, "torch.Tensor"]:
    import pickle

    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError, KeyError) as error:
        raise LilliputError(
            f"{path.name!r} cannot be read as weights alone ({type(error).__name__}): damaged, or a file that holds a "
            "whole module, which would have to be executed and is refused: save its state_dict"
        ) from error
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise LilliputError(f"{path.name!r} holds {type(found).__name__}; needed: tensors by name")
    state = dict(found)
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
