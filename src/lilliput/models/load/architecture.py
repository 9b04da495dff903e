"""A network whose weights stand elsewhere: what it takes, what it gives, how it sees pictures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from lilliput import recipe
from lilliput.errors import LilliputError
from lilliput.models.images import Picture
from lilliput.models.model import Port

if TYPE_CHECKING:
    import torch

_CALL = re.compile(r"(?P<name>[\w.]+)(?P<arguments>\(.*\))?")


@final
@dataclass(frozen=True, eq=False)
class Architecture:
    """A network and what it takes and gives.

    Attributes:
        module: in evaluation mode, its weights as they were made.
        inputs: ports by name; outputs: in the order in which the module gives them.
        picture: how it sees pictures, where its library says so.
        tag: which of the library's weights belong to it; empty: none.
    """

    module: "torch.nn.Module"
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    picture: Picture | None = None
    tag: str = ""


def described(made: "torch.nn.Module", named: str) -> Architecture:
    """A module with its ports: one `input` of its `input_shape`, or those of its `inputs`, shapes by name.

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
    told: Any = getattr(made, "outputs", ("output",))
    names = tuple(map(str, told))
    made.eval()
    with torch.inference_mode():
        found = made(*(torch.zeros(1, *shape) for shape in shapes.values()))
    given = found if isinstance(found, tuple) else (found,)
    if len(given) != len(names) or not all(isinstance(one, torch.Tensor) for one in given):
        kinds = ", ".join(type(one).__name__ for one in given)
        raise LilliputError(f"{named}'s module gives {kinds}; it must give a tensor for each of: {', '.join(names)}")
    return Architecture(
        made,
        tuple(Port(name, "float32", ("batch", *shape)) for name, shape in shapes.items()),
        tuple(Port(name, "float32", ("batch", *one.shape[1:])) for name, one in zip(names, given, strict=True)),
    )


def of_pictures(
    module: "torch.nn.Module", shape: tuple[int, ...], picture: Picture, named: str, tag: str
) -> Architecture:
    """A classifier of pictures as its library makes it.

    Raises:
        LilliputError: it gives something else than a row of numbers a picture.
    """
    import torch

    module.eval()
    with torch.inference_mode():
        given = module(torch.zeros(1, *shape))
    if not isinstance(given, torch.Tensor) or given.ndim != 2:
        raise LilliputError(f"{named} gives no row of numbers a picture; classifiers are read by name")
    inputs = (Port("pixel_values", "float32", ("batch", *shape)),)
    outputs = (Port("logits", "float32", ("batch", int(given.shape[1]))),)
    return Architecture(module, inputs, outputs, picture, tag)


def called(text: str, kind: str) -> tuple[str, dict[str, int]]:
    """The name and the arguments of `resnet18` or `resnet18(num_classes=10)`.

    Raises:
        LilliputError: the text is no name and no call with whole numbers.
    """
    found = _CALL.fullmatch(text)
    if found is None:
        raise LilliputError(f"{kind}:{text[:60]} is no name; write {kind}:resnet18, or {kind}:resnet18(num_classes=10)")
    if not found["arguments"]:
        return found["name"], {}
    (call,) = recipe.parse(f"network{found['arguments']}")
    given = {name: value for name, value in call.named if type(value) is int}
    if call.positional or len(given) != len(call.named):
        raise LilliputError(f"{kind}:{text[:60]}: arguments are whole numbers by name, such as num_classes=10")
    return found["name"], given
