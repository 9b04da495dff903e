"""Files of weights alone (.pth, .pt, .th, .bin, .safetensors), put into a network that stands elsewhere."""

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilliput.errors import LilliputError
from lilliput.models.load.architecture import Architecture
from lilliput.models.load.loader import LoadRequest
from lilliput.models.model import Model, Module, Provenance

if TYPE_CHECKING:
    import torch

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Where training scripts put the state dict, beside a counter of epochs."""
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_CLASS = re.compile(r"GLOBAL ([\w.]+)")
"""What torch says that a pickle asks for and weights do not."""


def filled(made: Architecture, path: Path, request: LoadRequest, loader: str) -> Model:
    """The network with the weights of the file, each of which is read and has its place.

    Raises:
        LilliputError: they cannot be read as weights alone, or do not fit.
    """
    state = read_tensors(path)
    try:
        made.module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise LilliputError(
            f"the weights of {path.name!r} do not fit {request.module or request.source}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    made.module.eval()
    for parameter in made.module.parameters():
        parameter.requires_grad_(False)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    dtypes = sorted({str(one.dtype).removeprefix("torch.") for one in state.values() if one.is_floating_point()})
    return Model(
        Module(made.module, str(made.module)),
        request.family or "classification",
        made.inputs,
        made.outputs,
        picture=made.picture,
        provenance=Provenance(request.source, "", sha256, loader, ", ".join(dtypes)),
    )


def read_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """The tensors of a file by name, without what training put around them; nothing in it is executed.

    Raises:
        LilliputError: it is damaged, or no file of weights alone.
    """
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = _CLASS.search(str(error))
        raise LilliputError(
            f"{path.name!r} is a pickle that asks for {asked[1] if asked else 'more than weights'}: it would have to "
            "be executed, which is refused; save the state_dict of the module"
        ) from error
    except Exception as error:  # safetensors has an error of its own, and a damaged zip raises any
        raise LilliputError(
            f"{path.name!r} cannot be read as weights alone ({type(error).__name__}): damaged, or a program instead of "
            "weights, which is not executed: save its state_dict"
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
