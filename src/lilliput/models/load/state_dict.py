"""Bare state dicts (.pth, .th, .pt, .safetensors), put into a module that the user names."""

import hashlib
import importlib
import importlib.util
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
        """The module with those weights; its ports are what it says (`_ports`)."""
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
        inputs, outputs = _ports(made, request.module)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        family = request.family or "classification"
        guessed = f"{path.name} does not say what it answers to; taken for a classifier (--family names another)"
        guesses = () if request.family else (guessed,)
        provenance = Provenance(request.source, "", sha256, self.NAME, "float32", guesses)
        return Model(Module(made, str(made)), family, inputs, outputs, provenance=provenance)


def _ports(made: "torch.nn.Module", named: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs: one `input` of the module's `input_shape`, or those of its `inputs`, shapes by name.

    One tensor is called `output`; several are named by the module's `outputs`, in the order in which it gives them.

    Raises:
        LilliputError: the module does not say what it takes, or gives something else than it says.
    """
    import torch

    said: Any = getattr(made, "inputs", None)
    if said is None and (shape := getattr(made, "input_shape", None)) is not None:
        said = {"input": shape}
    if not isinstance(said, Mapping) or not said:
        raise LilliputError(
            f"{named} does not say what its module takes; set `module.input_shape = (3, 32, 32)`, or `module.inputs = "
            '{"image": (1, 28, 28), "noise": (20,)}`, before it returns it'
        )
    shapes = {str(name): tuple(int(n) for n in shape) for name, shape in said.items()}
    names = tuple(map(str, getattr(made, "outputs", ("output",))))
    with torch.inference_mode():
        found = made(*(torch.zeros(1, *shape) for shape in shapes.values()))
    given = found if isinstance(found, tuple) else (found,)
    if len(given) != len(names) or not all(isinstance(one, torch.Tensor) for one in given):
        kinds = ", ".join(type(one).__name__ for one in given)
        raise LilliputError(f"{named}'s module gives {kinds}; it must give a tensor for each of: {', '.join(names)}")
    return (
        tuple(Port(name, "float32", ("batch", *shape)) for name, shape in shapes.items()),
        tuple(Port(name, "float32", ("batch", *one.shape[1:])) for name, one in zip(names, given, strict=True)),
    )


def module_of(text: str) -> "torch.nn.Module":
    """What the function makes that `python:package.module:function`, or `python:folder/file.py:function`, names: code
    that the user chose to run.

    Raises:
        LilliputError: there is no such function, or it makes no module.
    """
    import torch

    kind, _, rest = text.partition(":")
    package, _, name = rest.partition(":")
    if kind != "python" or not package or not name.isidentifier():
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
