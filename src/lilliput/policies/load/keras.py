"""Models that Keras saved whole (`model.save`, .keras or .h5): their layers, activations and order stand in the file.

Nothing of Keras is needed and no code in the file is run: a layer or an activation of somebody's own is refused.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load import network
from lilliput.policies.load.archive import Archive
from lilliput.policies.load.hdf5 import SIGNATURE, Hdf5
from lilliput.policies.load.layout import listed
from lilliput.policies.load.network import Scaling
from lilliput.policies.load.pickled_module import folded, stack_policy
from lilliput.policies.load.source import Source
from lilliput.policies.load.unsaid import unsaid_of_observation
from lilliput.policies.policy import Policy

FRAMEWORK: Final = "keras"
MAX_CONFIG_BYTES: Final = 1 << 22
MAX_LAYERS: Final = 256
MAX_GROUPS: Final = 16
"""Groups in a layer's, which its weights stand in."""
WAY_OUT: Final = "export the model as ONNX, with tf2onnx or Keras 3's model.export('policy.onnx', format='onnx')"

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_NOTHING: Final = (
    "InputLayer", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Flatten",
)  # fmt: skip
"""Layers that do nothing to a vector once training is over."""
_ACTIVATIONS: Final[Mapping[str, tuple[Layer, ...]]] = {
    "linear": (),
    "relu": (layers.Relu(),),
    "relu6": (layers.HardTanh(0.0, 6.0),),
    "tanh": (layers.Tanh(),),
    "sigmoid": (layers.Sigmoid(),),
    "elu": (layers.Elu(),),
    "leaky_relu": (layers.LeakyRelu(0.2),),
    "silu": (layers.Silu(),),
    "swish": (layers.Silu(),),
    "gelu": (layers.Gelu(),),
}
"""By the names that configurations have; with Keras' arguments by default, which for a leaky ReLU are not torch's."""

Parts = Callable[["_Step", tuple[str, ...]], list[np.ndarray]]
"""The arrays of a layer, of these names in Keras' order."""


@final
@dataclass(frozen=True, eq=False)
class _Step:
    """A layer as the configuration has it.

    Attributes:
        name: its own; kind: its class.
        among: how many of its class stand before it, by which .keras files count.
        config: its arguments; takes: the layers whose outputs it takes.
    """

    name: str
    kind: str
    among: int
    config: Mapping[str, Any]
    takes: tuple[str, ...]


def is_keras_h5(data: bytes) -> bool:
    """Whether it is an HDF5 file with a configuration, or the weights, of a Keras model."""
    return data.startswith(SIGNATURE) and (b"model_config" in data or b"layer_names" in data or b"\0vars\0" in data)


def is_keras(archive: Archive) -> bool:
    """Whether the archive is what `model.save("policy.keras")` writes."""
    return _CONFIG in archive and _WEIGHTS in archive


def read_keras_h5(source: Source) -> Policy:
    """The policy in an .h5 file of a whole model.

    Raises:
        LilliputError: weights alone, a damaged file, or a model that is no chain of layers that Lilliput has.
    """
    file = Hdf5(source.data, source.name)
    members, text = file.members(file.root), file.text(file.root, "model_config")
    if text is None or "model_weights" not in members:
        raise LilliputError(
            f"{source.name} holds weights of a Keras model, and not which layers and activations they are of; save it "
            f"whole, model.save('policy.keras'), or {WAY_OUT}"
        )
    groups = file.members(members["model_weights"])

    def parts(step: _Step, names: tuple[str, ...]) -> list[np.ndarray]:
        found = _arrays_below(file, groups[step.name], step.name) if step.name in groups else {}
        if set(found) != set(names):
            raise LilliputError(
                f"{source.name}: the layer {step.name[:40]!r} has {listed(found) or 'no weights'}, not {listed(names)}"
            )
        return [found[name] for name in names]

    return _read(text, parts, len(file.data), source)


def read_keras(source: Source, archive: Archive) -> Policy:
    """The policy in a .keras file.

    Raises:
        LilliputError: as of .h5.
    """
    file = Hdf5(archive.read(_WEIGHTS), source.name)
    root = file.members(file.root)
    groups = file.members(root["layers"]) if "layers" in root else {}

    def parts(step: _Step, names: tuple[str, ...]) -> list[np.ndarray]:
        key = _snake(step.kind) + (f"_{step.among}" if step.among else "")
        inner = file.members(groups[key]) if key in groups else {}
        found = file.members(inner["vars"]) if "vars" in inner else {}
        if set(found) != {str(index) for index in range(len(names))}:
            raise LilliputError(
                f"{source.name}: the layer {step.name[:40]!r} has {len(found)} arrays in {key}, not {listed(names)}"
            )
        told = file.text(inner["vars"], "name")
        if told is not None and told != step.name:
            raise LilliputError(f"{source.name}: {key} holds the weights of {told[:40]!r}, not of {step.name[:40]!r}")
        return [file.array(found[str(index)], f"{key}/{name}") for index, name in enumerate(names)]

    text = archive.read(_CONFIG, MAX_CONFIG_BYTES).decode("utf-8", "replace")
    return _read(text, parts, len(file.data), source)


def _arrays_below(file: Hdf5, address: int, path: str) -> dict[str, np.ndarray]:
    """The arrays in a layer's group, at whatever depth its model's name puts them, by their own names."""
    found: dict[str, np.ndarray] = {}
    todo, groups = [(address, path)], 0
    while todo:
        at, where = todo.pop()
        groups += 1
        for key, inner in file.members(at).items():
            if file.members(inner) and groups + len(todo) < MAX_GROUPS:
                todo.append((inner, f"{where}/{key}"[:80]))
                continue
            name = key.partition(":")[0]
            if name in found or len(found) > 8:
                raise LilliputError(f"{file.name}: {where[:60]} has {name[:40]!r} twice, or too many arrays")
            found[name] = file.array(inner, f"{where}/{key}"[:80])  # a group more than that has no numbers
    return found


def _snake(kind: str) -> str:
    """A class's name as .keras files write it.

    >>> _snake("LayerNormalization"), _snake("LeakyReLU")
    ('layer_normalization', 'leaky_re_lu')
    """
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", kind)).lower()


def _read(text: str, parts: Parts, room: int, source: Source) -> Policy:
    """The policy; `room`: bytes of the file of weights, which all of them together are no more than."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LilliputError(f"{source.name}: its configuration is not JSON; save the model again") from error
    chain, inputs = _chain(model, source)
    guesses: list[str] = []
    stack: list[Layer | Scaling] = []
    choice = False
    for step in chain:
        if choice and step.kind not in _NOTHING:
            raise LilliputError(f"{source.name} has layers behind its softmax; {WAY_OUT}")
        found, choice = _layers(step, parts, source.name)
        stack += found
        room -= sum(2 * layer.weight.size for layer in found if isinstance(layer, layers.Dense))  # float16, or wider
        if room < 0:
            raise LilliputError(f"{source.name} has layers that share their weights; supported: each has its own")
        if (kind := _dtype(step, source.name)) != "float32":
            guesses.append(f"it computes in {kind}: in float32 here")
    if inputs is not None and any(size != 1 for size in inputs[:-1]):
        raise LilliputError(f"{source.name} takes observations of shape {list(inputs)}; supported: vectors; {WAY_OUT}")
    policy = stack_policy(folded(stack, source.name), source, FRAMEWORK, "discrete" if choice else None)
    said = (*policy.provenance.guesses, *dict.fromkeys(guesses), *unsaid_of_observation(policy))
    return dataclasses.replace(policy, provenance=dataclasses.replace(policy.provenance, guesses=said))


def _chain(model: Any, source: Source) -> tuple[list[_Step], tuple[int, ...] | None]:
    """The layers from the observation to the action, and the observation's shape where the file says it."""
    name = source.name
    match model:
        case {"class_name": "Sequential", "config": {"layers": list(described)}}:
            outputs = None
        case {"class_name": "Sequential", "config": list(described)}:
            outputs = None
        case {
            "class_name": "Functional" | "Model",
            "config": {"layers": list(described), "output_layers": list(outputs)},
        }:
            pass
        case {"class_name": str(kind)}:
            raise LilliputError(f"{name} is a Keras model of the class {kind[:40]!r}, which is code; {WAY_OUT}")
        case _:
            raise LilliputError(f"{name} has no Keras model in its configuration; save it again")
    if not 0 < len(described) <= MAX_LAYERS:
        raise LilliputError(f"{name} has {len(described)} layers; a policy has 1 to {MAX_LAYERS}")
    steps: dict[str, _Step] = {}
    counts: dict[str, int] = {}
    for one in described:
        step = _step(one, None if outputs is not None else tuple(steps)[-1:], counts, name)
        if step.name in steps:
            raise LilliputError(f"{name} has two layers named {step.name[:40]!r}")
        steps[step.name] = step
    last = tuple(steps)[-1] if outputs is None else _output(outputs, source)
    chain: list[_Step] = []
    while last is not None:
        if last not in steps or len(chain) > len(steps):
            raise LilliputError(f"{name}: its layers do not follow one another; save it again")
        step = steps[last]
        chain.append(step)
        if len(step.takes) > 1:
            raise LilliputError(
                f"{name}: the layer {step.name[:40]!r} ({step.kind[:40]}) joins {len(step.takes)} values; supported: "
                f"one chain from observation to action; {WAY_OUT}"
            )
        last = step.takes[0] if step.takes else None
    shapes = [chain[-1].config.get(key) for key in ("batch_shape", "batch_input_shape")]
    shape = next((one[1:] for one in shapes if isinstance(one, list) and len(one) > 1), None)
    known = shape is not None and all(isinstance(size, int) for size in shape)
    return chain[::-1], tuple(shape) if known and shape is not None else None


def _output(outputs: list[Any], source: Source) -> str:
    """The name of the layer whose output is the action: the only one, or the one that was named."""
    rows = [outputs] if outputs and isinstance(outputs[0], str) else outputs
    names = [row[0] for row in rows if isinstance(row, list) and row and isinstance(row[0], str)]
    wanted = source.output
    if len(names) == 1 and wanted is None:
        return names[0]
    if wanted not in names or wanted is None:
        raise LilliputError(
            f"{source.name} has the outputs {listed(names) or 'none'}; name the action's (output=, --output NAME)"
        )
    return wanted


def _step(described: Any, before: tuple[str, ...] | None, counts: dict[str, int], name: str) -> _Step:
    """A layer of the configuration; `before`: what stands before it in a Sequential."""
    match described:
        case {"class_name": str(kind), "config": {"name": str(own)} as config}:
            pass
        case _:
            raise LilliputError(f"{name} has a layer without a class or a name; save it again")
    module = described.get("module", "keras.layers")
    if module != "keras.layers" or described.get("registered_name"):
        raise LilliputError(
            f"{name}: the layer {own[:40]!r} is of a class of its own, {str(module)[:40]}.{kind[:40]}; {WAY_OUT}"
        )
    among = counts.get(kind, 0)
    counts[kind] = among + 1
    return _Step(own, kind, among, config, before if before is not None else _inbound(described, name))


def _inbound(described: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The layers whose outputs a layer of a functional model takes, as Keras 2 and 3 write them."""
    match described.get("inbound_nodes"):
        case []:
            return ()
        case [
            {
                "args": [{"class_name": "__keras_tensor__", "config": {"keras_history": [str(one), 0, 0]}}],
                "kwargs": dict(given),
            }
        ]:
            pass
        case [[[str(one), 0, 0, dict(given)]]]:
            pass
        case [[*several]] if len(several) > 1:
            return tuple(str(one) for one in several)
        case [{"args": [[*several]]}]:
            return tuple(str(one) for one in several)
        case _:
            raise LilliputError(
                f"{name}: a layer is used more than once or with arguments; supported: one chain of layers; {WAY_OUT}"
            )
    if told := {key: value for key, value in given.items() if value not in (None, False)}:  # such as training=True
        raise LilliputError(f"{name}: a layer is called with {listed(told)}; supported: one chain of layers; {WAY_OUT}")
    return (one,)


def _layers(step: _Step, parts: Parts, name: str) -> tuple[Sequence[Layer | Scaling], bool]:
    """What a layer computes once training is over, and whether it ends in probabilities of choices."""
    given = step.config
    match step.kind:
        case kind if kind in _NOTHING:
            return (), False
        case "Dense":
            names = ("kernel", "bias") if given.get("use_bias", True) else ("kernel",)
            kernel, *bias = parts(step, names)
            state = {"layer.weight": kernel.T, **({"layer.bias": bias[0]} if bias else {})}
            found, choice = _activation(given.get("activation"), step, name)
            return (network.dense(state, "layer", name), *found), choice
        case "Activation":
            return _activation(given.get("activation"), step, name)
        case "Softmax":
            return (), True
        case "ReLU" if given.get("max_value") is None and not any(map(given.get, ("negative_slope", "threshold"))):
            return (layers.Relu(),), False
        case "LeakyReLU":
            return (layers.LeakyRelu(_number(step, ("negative_slope", "alpha"), name)),), False
        case "ELU":
            return (layers.Elu(_number(step, ("alpha",), name)),), False
        case "LayerNormalization" if not given.get("rms_scaling") and given.get("axis") in ([-1], [1], -1, 1):
            gamma, beta = _gains(step, parts, ())[0]
            return (layers.LayerNorm(gamma, beta, _number(step, ("epsilon",), name)),), False
        case "BatchNormalization" if not given.get("renorm") and given.get("axis") in ([-1], [1], -1, 1):
            (gamma, beta), (mean, var) = _gains(step, parts, ("moving_mean", "moving_variance"))
            state = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": var}
            return (network.batch_norm(state, _number(step, ("epsilon",), name), name),), False
        case other:
            raise LilliputError(
                f"{name}: the layer {step.name[:40]!r} is a {other[:40]} that is not read; supported: Dense, "
                "Activation, ReLU, LeakyReLU, ELU, Softmax, LayerNormalization, BatchNormalization and what training "
                f"alone uses; {WAY_OUT}"
            )


def _gains(step: _Step, parts: Parts, statistics: tuple[str, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A norm's factors and shifts, ones and zeros where it has none, and its statistics."""
    own = tuple(key for key, switch in (("gamma", "scale"), ("beta", "center")) if step.config.get(switch, True))
    found = dict(zip((*own, *statistics), parts(step, (*own, *statistics)), strict=True))
    size = next((len(array) for array in found.values() if array.ndim == 1), 0)
    if not size:
        raise LilliputError(f"the norm {step.name[:40]!r} has neither factors nor shifts, and so no size; {WAY_OUT}")
    gains = [found.get("gamma", np.ones(size)), found.get("beta", np.zeros(size))]
    return [np.asarray(one, np.float32) for one in gains], [found[key] for key in statistics]


def _activation(given: Any, step: _Step, name: str) -> tuple[tuple[Layer, ...], bool]:
    if given == "softmax":
        return (), True
    found = _ACTIVATIONS.get("linear" if given is None else given) if isinstance(given, str | None) else None
    if found is None:
        own = isinstance(given, dict)
        shown = repr(str(given.get("config") if own else given)[:40]) + (", which is code" if own else "")
        raise LilliputError(
            f"{name}: the layer {step.name[:40]!r} has the activation {shown}; supported: softmax, "
            f"{', '.join(_ACTIVATIONS)}; {WAY_OUT}"
        )
    return found, False


def _number(step: _Step, keys: tuple[str, ...], name: str) -> float:
    """The first of these arguments that is there."""
    found = next((step.config[key] for key in keys if key in step.config), None)
    if isinstance(found, dict):  # an array of one number, as Keras 2 writes a LeakyReLU's
        found = found.get("config", found).get("value")
    known = isinstance(found, int | float) and not isinstance(found, bool)
    if not known or not abs(found) <= float(np.finfo(np.float32).max):
        said = f"does not say its {keys[0]}, or none that float32 holds"
        raise LilliputError(f"{name}: the layer {step.name[:40]!r} {said}")
    return float(found)


def _dtype(step: _Step, name: str) -> str:
    """The kind of numbers that a layer computes with."""
    match step.config.get("dtype", "float32"):
        case str(kind) | {"class_name": "DTypePolicy" | "Policy", "config": {"name": str(kind)}} if kind in (
            "float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16",
        ):  # fmt: skip
            return kind
        case other:
            raise LilliputError(f"{name}: the layer {step.name[:40]!r} computes in {str(other)[:60]!r}; {WAY_OUT}")
