"""Pickled torch modules as layers: their classes are named in the file, activations and their arguments among them."""

from collections.abc import Collection

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.network import Scaling
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import PICKLED
from lilliput.policies.load.torch_file import Module
from lilliput.policies.policy import Policy, Provenance

_NOTHING = ("torch.nn.modules.linear.Identity", "torch.nn.modules.dropout.Dropout")
"""Modules that do nothing once training is over."""


def class_name(module: Module) -> str:
    """The last part of the class's name."""
    return module.kind.rpartition(".")[2]


def is_torch(module: Module, *names: str) -> bool:
    """Whether the module is of torch itself, of a class of one of these names."""
    return module.kind.startswith("torch.nn.modules.") and class_name(module) in names


def read_sequential(module: Module, source: Source) -> Policy:
    """The policy of a bare Sequential; what its outputs are, the user says.

    Raises:
        LilliputError: a module in it that is not read, or nothing was said.
    """
    stack = sequential(module, source.name)
    if any(isinstance(layer, layers.Conv2d) for layer in stack):
        raise LilliputError(
            f"{source.name} is a Sequential for images, and does not say their size and bounds; supported: of Linear "
            f"layers; or {WAY_OUT}"
        )
    while len(stack) > 1 and isinstance(stack[-1], layers.Flatten):  # of a vector: nothing
        stack.pop()
    return stack_policy(stack, source, "torch")


def stack_policy(stack: list[Layer], source: Source, framework: str, action: str | None = None) -> Policy:
    """The policy of layers that a file names one by one; `action`: how it says that they become one.

    Raises:
        LilliputError: it does not, and nobody said it.
    """
    action = action or source.options.kind_of_action(source.name)
    guesses: tuple[str, ...] = ()
    within: tuple[float, float] | None = None
    match action, stack[-1]:
        case "tanh", layers.Tanh():
            stack = stack[:-1]
            guesses = ("the Tanh that it ends in is taken as the one of --action tanh, not as another before it",)
        case "continuous", layers.Tanh():
            stack = [*stack[:-1], layers.SquashAction()]
            within = -1.0, 1.0
        case "continuous", layers.Sigmoid():
            within = 0.0, 1.0
        case "continuous", layers.HardTanh(low=low, high=high):
            within = low, high
        case _:
            pass
    return vector_policy(stack, action, source, Provenance(framework=framework, guesses=guesses), within=within)


def child(module: Module, name: str, source: str) -> Module:
    """The module of that name inside.

    Raises:
        LilliputError: there is none.
    """
    found = module.children.get(name)
    if not isinstance(found, Module):
        raise LilliputError(f"{source}: the module {module.kind[:60]} has no module {name!r}; it is damaged")
    return found


def check_members(module: Module, children: Collection[str], arrays: Collection[str], name: str) -> None:
    """Check that the module has just these modules and arrays.

    Raises:
        LilliputError: it has others, whose part in the decision would be lost.
    """
    found, wanted = {*module.children, *module.arrays}, {*children, *arrays}
    if found != wanted:
        odd = ", ".join(sorted(found ^ wanted))[:120]
        raise LilliputError(f"{name}: the module {module.kind[:60]} differs from its namesake in {odd}; {WAY_OUT}")


def sequential(module: Module, name: str, flatten: str = "") -> list[Layer]:
    """The layers of a Sequential.

    Args:
        module: the Sequential.
        name: the file, for errors.
        flatten: the class of the program's own that flattens, where it has one.

    Raises:
        LilliputError: it is none, is empty, or holds a module that is not read.
    """
    return folded(_inside(module, name, flatten), name)


def _inside(module: Module, name: str, flatten: str) -> list[Layer | Scaling]:
    if not is_torch(module, "Sequential") or not module.children or module.arrays:
        raise LilliputError(f"{name}: a {module.kind[:60]} stands where a Sequential of layers should; {WAY_OUT}")
    return [part for key in module.children for part in _parts(child(module, key, name), name, flatten)]


def layers_of(module: Module, name: str) -> list[Layer]:
    """The layers that compute what one of torch's modules does in evaluation.

    Raises:
        LilliputError: a class or an argument that is not read.
    """
    return folded(_parts(module, name, ""), name)


def folded(parts: list[Layer | Scaling], name: str) -> list[Layer]:
    """The layers with the scalings of batch normalizations in the weights before or else behind them.

    Raises:
        LilliputError: neither is Linear.
    """
    found: list[Layer] = []
    pending: Scaling | None = None
    for part in parts:
        if isinstance(part, Scaling):
            if pending is not None:
                break
            if found and isinstance(found[-1], layers.Dense):
                found[-1] = network.fold_after(found[-1], part, name)
            else:
                pending = part
        elif isinstance(part, layers.Dense):
            found.append(network.take_up(part, pending, name))
            pending = None
        elif pending is not None:
            break
        else:
            found.append(part)
    if pending is not None:
        raise LilliputError(f"{name} has a BatchNorm1d with no Linear right before or behind it; {WAY_OUT}")
    return found


def _parts(module: Module, name: str, flatten: str) -> list[Layer | Scaling]:
    """The layers and scalings of one of torch's modules in evaluation."""
    kind, given = class_name(module), module.attributes
    if flatten and kind == flatten and not module.arrays and not module.children:
        return [layers.Flatten()]
    if module.kind in _NOTHING:
        return []
    if is_torch(module, "Sequential"):
        return _inside(module, name, flatten)
    if is_torch(module, "BatchNorm1d") and "running_mean" in module.arrays and isinstance(given.get("eps"), float):
        return [network.batch_norm(module.arrays, float(given["eps"]), name)]
    if is_torch(module, "Linear"):
        check_members(module, (), module.arrays.keys() & {"bias"} | {"weight"}, name)
        return [network.dense({f"{kind}.{key}": array for key, array in module.arrays.items()}, kind, name)]
    if is_torch(module, "Conv2d"):
        return [_convolution(module, name)]
    if is_torch(module, "Flatten") and given.get("start_dim", 1) == 1 and given.get("end_dim", -1) == -1:
        return [layers.Flatten()]
    epsilon = given.get("eps", 1e-5)
    plain = {*module.arrays} == {"weight", "bias"} and isinstance(epsilon, int | float)
    if is_torch(module, "LayerNorm") and plain and module.arrays["weight"].ndim == 1:
        weight, bias = (network.weights(module.arrays[key], key, name) for key in ("weight", "bias"))
        return [layers.LayerNorm(weight, bias, epsilon=float(epsilon))]
    if is_torch(module, *PICKLED):
        return [PICKLED[kind].with_arguments(given, name)]
    raise LilliputError(
        f"{name} holds a module {module.kind[:60]}; supported: Linear, Conv2d, LayerNorm, Flatten, Dropout, Identity, "
        f"BatchNorm1d with running statistics, {', '.join(PICKLED)}; or {WAY_OUT}"
    )


def _convolution(module: Module, name: str) -> layers.Conv2d:
    given = module.attributes
    match given.get("stride"), given.get("padding"):
        case (int(down), int(across)), (int(high), int(wide)):
            pass
        case stride, padding:
            raise LilliputError(f"{name}: a Conv2d has stride {stride!r:.40} and padding {padding!r:.40}; give numbers")
    plain = {"dilation": (1, 1), "groups": 1, "transposed": False, "padding_mode": "zeros"}
    odd = [f"{key}={given[key]!r:.40}" for key, value in plain.items() if given.get(key, value) != value]
    weight = module.arrays.get("weight")
    if odd or weight is None or weight.ndim != 4:
        raise LilliputError(f"{name}: a Conv2d has {', '.join(odd) or 'no weight'}; supported: plain convolutions")
    bias = module.arrays.get("bias")
    return layers.Conv2d(
        network.weights(weight, "weight", name),
        None if bias is None else network.weights(bias, "bias", name),
        (down, across),
        (high, wide),
    )
