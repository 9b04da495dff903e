"""A policy as data: spaces, layers and where they came from; checked, counted, digested."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.foreign_text import printable
from lilliput.policies import constants, layers, numbers, spaces, storage
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.layers import Layer


@final
@dataclass(frozen=True)
class Provenance:
    """Where a policy came from and what was done to it; not part of its digest.

    Attributes:
        source: name of the file that it was loaded from.
        source_sha256: sha256 of that file.
        framework: such as stable_baselines3; algorithm: such as PPO or "A2C, PPO or TRPO".
        environment: the id it was trained on, as the source spells it.
        plays: the id that the user named for it last, and that the next command takes; plays_kwargs: its arguments, as
            JSON text.
        wrappers: what the environment side must do, from the closed list of `play`, in order.
        guesses: what the source did not say and the loader assumed, a sentence each.
        recipe: the text of the compression recipe, empty as loaded.
        contract: what the source says of the numbers around the network, by name: joint names, action scales, default
            positions; texts as they stand there, which nothing here acts on.
    """

    source: str = ""
    source_sha256: str = ""
    framework: str = ""
    algorithm: str = ""
    environment: str = ""
    wrappers: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    recipe: str = ""
    plays: str = ""
    plays_kwargs: str = ""
    contract: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        # A file may hold any text here; line ends and terminal codes never get farther than this.
        for one in dataclasses.fields(self):
            object.__setattr__(self, one.name, _printable(getattr(self, one.name)))


def _printable(value: Any) -> Any:
    """The value with every text in it in one line of visible characters."""
    match value:
        case str():
            return printable(value)
        case tuple():
            return tuple(map(_printable, value))
        case _:
            return value


@final
@dataclass(frozen=True, eq=False)
class Policy:
    """From the raw observation to the environment's action. Two policies are the same where their `digest` is.

    Raises:
        LilliputError: the layers do not fit each other or the spaces, or hold a number that is not finite.
    """

    observation_space: spaces.ObservationSpace
    action_space: spaces.ActionSpace
    layers: tuple[Layer, ...]
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        check(self)

    @property
    def digest(self) -> str:
        """sha256 over the canonical bytes of spaces and layers."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return storage.sha256(*structure(self))

    @property
    def model_bytes(self) -> int:
        """Bytes of every constant that a decision reads, as the C format stores them."""
        return sum(array.nbytes for layer in self.layers for array in constants.constants(layer).values())

    @property
    def n_parameters(self) -> int:
        """Weights and biases of the network."""
        return sum(array.size for array in _parameters(self))

    @property
    def n_nonzero_parameters(self) -> int:
        """Weights and biases that are not zero."""
        return sum(int(np.count_nonzero(array)) for array in _parameters(self))

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of one decision in the linear layers; weights that are zero count."""
        return sum(numbers.n_macs(one, shape) for one, shape in zip(self.layers, layer_shapes(self)[1:], strict=True))

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """Bits a weight of each linear layer takes."""
        linear = [part for layer in self.layers for part in layers.linear_parts(layer)]
        return tuple(
            layer.weight.bits if isinstance(layer.weight, QuantizedTensor) else layer.weight.itemsize * 8
            for layer in linear
        )

    @property
    def has_memory(self) -> bool:
        """Whether an action depends on the steps of the episode before, not on the observation alone."""
        return any(isinstance(layer, layers.Memory) for layer in self.layers)

    @property
    def is_discrete(self) -> bool:
        """Whether the action is one choice or several, rather than an array of real numbers."""
        return not isinstance(self.action_space, spaces.Box)


def replace_layers(policy: Policy, new_layers: tuple[Layer, ...]) -> Policy:
    """The policy with other layers, its spaces and provenance kept."""
    return Policy(policy.observation_space, policy.action_space, new_layers, policy.provenance)


def with_recipe(policy: Policy, recipe: str) -> Policy:
    """The policy with the text of the recipe that made it."""
    return Policy(
        policy.observation_space,
        policy.action_space,
        policy.layers,
        dataclasses.replace(policy.provenance, recipe=recipe),
    )


def layer_shapes(policy: Policy) -> tuple[tuple[int, ...], ...]:
    """The shape of every layer's input, in order, and of the last one's output.

    Raises:
        LilliputError: a layer does not take what the one before it gives.
    """
    return layers.output_shapes(policy.layers, spaces.input_shape(policy.observation_space))


def check(policy: Policy) -> None:
    """Check the layers; see `Policy` for what it raises."""
    output = layer_shapes(policy)[-1]
    if not any(layers.linear_parts(layer) for layer in policy.layers):
        raise LilliputError("a policy without a linear layer has nothing to decide with")
    integer = isinstance(policy.layers[-1], layers.ArgmaxAction)
    if any(isinstance(layer, layers.ArgmaxAction) for layer in policy.layers[:-1]):
        raise LilliputError("an argmax can only be the last layer")
    match policy.action_space:
        case spaces.Box(shape=shape):
            if integer or int(np.prod(output)) != int(np.prod(shape)):
                raise LilliputError(
                    f"the last layer gives {list(output)}; the action space is {spaces.describe(policy.action_space)}"
                )
        case spaces.Discrete(n=n):
            _check_choices(policy, (n,))
        case spaces.MultiDiscrete(sizes=sizes):
            _check_choices(policy, sizes)
    for index, layer in enumerate(policy.layers):
        if isinstance(layer, layers.PreviousAction):
            _check_previous(policy, index, layer)
    numbers.check_finite(policy.layers)


def _check_previous(policy: Policy, index: int, layer: layers.PreviousAction) -> None:
    if policy.is_discrete:
        raise LilliputError(f"layer {index} (PreviousAction) remembers real actions; the policy gives choices")
    behind = policy.layers[len(policy.layers) - layer.head :]
    if layer.head >= len(policy.layers) - index or not all(
        isinstance(one, layers.RescaleAction | layers.ClipAction) for one in behind
    ):
        raise LilliputError(
            f"layer {index} (PreviousAction) remembers what {layer.head} layers stand behind; each must move or clip "
            "the action"
        )
    acted = layer_shapes(policy)[-1 - layer.head]
    if acted != (layer.actions,):
        raise LilliputError(f"layer {index} (PreviousAction) remembers {layer.actions} numbers of {list(acted)}")


def _check_choices(policy: Policy, sizes: tuple[int, ...]) -> None:
    last = policy.layers[-1]
    if not isinstance(last, layers.ArgmaxAction) or last.sizes != sizes:
        raise LilliputError(
            f"the action space is {spaces.describe(policy.action_space)}; the last layer must be an argmax over it"
        )


def _parameters(policy: Policy) -> list[np.ndarray]:
    return [array for layer in policy.layers for array in numbers.parameters(layer)]


def structure(policy: Policy) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What to write: JSON data, and the arrays that it names."""
    arrays: dict[str, np.ndarray] = {}
    structure = {
        "observation_space": spaces.to_json(policy.observation_space),
        "action_space": spaces.to_json(policy.action_space),
        "layers": storage.encode_layers(policy.layers, "", arrays),
    }
    return structure, arrays
