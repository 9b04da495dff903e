"""Checkpoints of rl_tools (`checkpoint.h5`), as RAPTOR's quadrotor policy is one: layers by their types, in HDF5.

They hold an example, inputs with the outputs that rl_tools gave: what was read is held to it.
"""

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.actor import vector_policy
from lilliput.policies.load.hdf5 import SIGNATURE, Hdf5
from lilliput.policies.load.layout import listed
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK: Final = "rl_tools"
TOLERANCE: Final = 1e-4
MAX_DEPTH: Final = 8
MAX_LAYERS: Final = 256

_ACTIVATIONS: Final[Mapping[str, tuple[Layer, ...]]] = {
    "IDENTITY": (),
    "RELU": (layers.Relu(),),
    "TANH": (layers.Tanh(),),
    "SIGMOID": (layers.Sigmoid(),),
}
_GRU: Final = ("weights_input", "weights_hidden", "biases_input", "biases_hidden", "initial_hidden_state")
_TRAINING: Final = ("pre_activations", "output", "pre_squashing", "noise", "log_probabilities", "log_alpha", "log_std")
"""What layers that are still being trained have besides."""
_UNBOUNDED: Final = "rl_tools leaves the bounds of the action to the environment: taken as it is"


def is_hdf5(data: bytes) -> bool:
    """Whether it begins as an HDF5 file does."""
    return data.startswith(SIGNATURE)


def read_rl_tools(source: Source) -> Policy:
    """The policy in a checkpoint of rl_tools.

    Raises:
        LilliputError: another HDF5 file, a layer that Lilliput does not have, or one that acts otherwise than the
            example in the file.
    """
    name = source.name
    file = Hdf5(source.data, name)
    members = file.members(file.root)
    if "actor" not in members:
        raise LilliputError(
            f"{name} is an HDF5 file with {listed(members) or 'nothing'}; of those the checkpoints of rl_tools are "
            "read, which have an 'actor', and models of Keras; export the policy as ONNX"
        )
    stack = _settled(_Reader(file).read(members["actor"], "actor", 0), name)
    told = ((key, file.text(members["actor"], key)) for key in ("checkpoint_name", "meta"))
    contract = tuple((key, text) for key, text in told if text is not None)
    example = file.members(members["example"]) if "example" in members else {}
    compared = {"input", "output"} <= example.keys()
    guesses = () if compared else ("the file has no example of its own that what was read could be compared with",)
    said = Provenance(framework=FRAMEWORK, guesses=guesses, contract=contract)
    squashed = isinstance(stack[-1], layers.Tanh)
    if squashed:
        policy = vector_policy(stack, "continuous", source, said, within=(-1.0, 1.0))
    else:
        policy = vector_policy(stack, "continuous", source, said, unbounded=_UNBOUNDED)
    if compared:
        given, wanted = (file.array(example[key], f"example/{key}") for key in ("input", "output"))
        _compare(policy, given, wanted, name)
    return policy


class _Reader:
    """Layers of one file."""

    def __init__(self, file: Hdf5) -> None:
        self.file = file
        self.seen = 0

    def read(self, address: int, path: str, depth: int) -> list[Layer]:
        """The layers of the object there, whatever its type."""
        name, members = self.file.name, self.file.members(address)
        kind = self.file.text(address, "type") or (
            "mlp" if "input_layer" in members else "sequential" if "layers" in members else "dense"
        )
        self.seen += 1
        if depth > MAX_DEPTH or self.seen > MAX_LAYERS:
            raise LilliputError(f"{name} has more than {MAX_LAYERS} layers, or {MAX_DEPTH} in each other")
        match kind:
            case "sequential":
                self._whole(members, ("layers",), path)
                inner = self.file.members(members["layers"])
                self._whole(inner, tuple(str(index) for index in range(len(inner))), f"{path}/layers")
                parts = [(inner[str(index)], f"{path}/layers/{index}") for index in range(len(inner))]
            case "mlp":
                hidden = sum(re.fullmatch(r"hidden_layer_\d+", key) is not None for key in members)
                keys = ("input_layer", *(f"hidden_layer_{index}" for index in range(hidden)), "output_layer")
                self._whole(members, keys, path)
                parts = [(members[key], f"{path}/{key}") for key in keys]
            case "dense":
                return self._dense(members, self.file.text(address, "activation_function") or "", path)
            case "gru":
                return [self._gru(members, path)]
            case "standardize":
                mean, precision = self._arrays(members, ("mean", "precision"), path)
                return [network.standardize(mean.reshape(-1), precision.reshape(-1), np.inf)]
            case "sample_and_squash":
                return [layers.SquashAction()]
            case _:
                raise LilliputError(
                    f"{name}: {path} is a layer of the type {kind[:40]!r}; supported: dense, mlp, gru, standardize, "
                    "sample_and_squash, sequential"
                )
        found: list[Layer] = []
        for at, where in parts:
            # TD3's noise is saved as an empty group; without noise it clips at 1, which a tanh does not pass.
            noise = where == parts[-1][1] and found and isinstance(found[-1], layers.Tanh) and self._is_empty(at)
            found += [] if noise else self.read(at, where, depth + 1)
        return found

    def _is_empty(self, address: int) -> bool:
        return not self.file.members(address) and self.file.text(address, "type") is None

    def _dense(self, members: Mapping[str, int], activation: str, path: str) -> list[Layer]:
        weights, biases = self._arrays(members, ("weights", "biases"), path)
        if activation not in _ACTIVATIONS:
            raise LilliputError(
                f"{self.file.name}: {path} has the activation {activation[:40]!r}, which no layer here computes; train "
                f"it with another: {', '.join(_ACTIVATIONS)}"
            )
        state = {"layer.weight": weights, "layer.bias": biases.reshape(-1)}
        return [network.dense(state, "layer", self.file.name), *_ACTIVATIONS[activation]]

    def _gru(self, members: Mapping[str, int], path: str) -> Layer:
        w_input, w_hidden, b_input, b_hidden, begins = (
            np.asarray(part, np.float32) for part in self._arrays(members, _GRU, path)
        )
        initial = begins.reshape(1, -1) if begins.any() else None
        return layers.Gru(
            layers.Dense(w_input, b_input.reshape(-1)), layers.Dense(w_hidden, b_hidden.reshape(-1)), initial
        )

    def _arrays(self, members: Mapping[str, int], keys: tuple[str, ...], path: str) -> list[np.ndarray]:
        """The parameters of these names, of which there are all and no others."""
        self._whole(members, keys, path)
        found = []
        for key in keys:
            inner = self.file.members(members[key])
            if "parameters" not in inner:
                raise LilliputError(f"{self.file.name} has no {path}/{key}/parameters; save it again")
            found.append(self.file.array(inner["parameters"], f"{path}/{key}/parameters"))
        return found

    def _whole(self, members: Mapping[str, int], keys: tuple[str, ...], path: str) -> None:
        missing = [key for key in keys if key not in members]
        over = [key for key in members if key not in (*keys, *_TRAINING)]
        if missing or over:
            what = f"has no {listed(missing)}" if missing else f"has {listed(over)} besides"
            raise LilliputError(f"{self.file.name}: {path} {what}: no layer of rl_tools that is known here")


def _settled(stack: list[Layer], name: str) -> list[Layer]:
    """The layers with a squash at their end as the tanh of the means.

    Raises:
        LilliputError: layers in another order than a policy has them.
    """
    if stack and isinstance(stack[-1], layers.SquashAction):
        last = stack[-2] if len(stack) > 1 else None
        if not isinstance(last, layers.Dense) or len(last.weight) % 2:
            raise LilliputError(f"{name} squashes what is no means and spreads of a dense layer; save it again")
        half = len(last.weight) // 2
        means = layers.Dense(last.weight[:half], None if last.bias is None else last.bias[:half])
        stack = [*stack[:-2], means, layers.Tanh()]
    late = any(isinstance(layer, layers.Standardize | layers.SquashAction) for layer in stack[1:])
    if late or not any(isinstance(layer, layers.Dense) for layer in stack):
        raise LilliputError(
            f"{name} standardizes behind its first layer, squashes before its last, or has no dense layer"
        )
    return stack


def _compare(policy: Policy, given: np.ndarray, wanted: np.ndarray, name: str) -> None:
    """Check that the policy acts as the example says: (steps, episodes, numbers), or observations in rows."""
    inputs = spaces.input_shape(policy.observation_space)[0]
    if given.ndim not in (2, 3) or given.shape[:-1] != wanted.shape[:-1] or given.shape[-1] != inputs:
        raise LilliputError(
            f"{name} has an example of the shapes {list(given.shape)} and {list(wanted.shape)} for a network that "
            f"takes {inputs} numbers; save it again"
        )
    if not (np.isfinite(given).all() and np.isfinite(wanted).all()):
        raise LilliputError(f"{name} has an example with numbers that are not finite; save it again")
    cubes = (array if array.ndim == 3 else array[None] for array in (given, wanted))
    observations, actions = (np.asarray(array, np.float32).swapaxes(0, 1) for array in cubes)
    found = np.stack([reference.act_episode(policy, episode) for episode in observations])
    found = found.reshape(*found.shape[:2], -1)
    apart = np.abs(found - actions).max() if found.shape == actions.shape else np.inf
    if not apart <= TOLERANCE * max(1.0, float(np.abs(actions).max())):
        raise LilliputError(
            f"{name} gave other actions in rl_tools than what was read of it, by the example in the file: they differ "
            f"by {apart:.3g}; the program does something that this reader misses"
        )
