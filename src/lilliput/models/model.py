"""A model as data: its network, ports, family and where it came from; digested and counted.

What goes where: reading raw items (text, pictures) belongs to `text` and `images`, running to `session`, layouts of
weights to `storage`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, assert_never, final

import numpy as np
from jaxtyping import Bool

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.images import Picture
from lilliput.models.storage import Quantized, stored_bytes
from lilliput.models.text import Tokenizer

if TYPE_CHECKING:
    import onnx
    import torch

Family = Literal["language", "classification", "detection", "generation"]

_NOT_READ = "num_batches_tracked"
"""A counter of training that no answer reads."""


@final
@dataclass(frozen=True)
class Port:
    """An input or output: its name, its element type as numpy spells it, and its axes: a size, or a name for any."""

    name: str
    dtype: str
    axes: tuple[int | str, ...]


@final
@dataclass(frozen=True)
class Provenance:
    """Where a model came from and what was done to it; not part of its digest.

    Attributes:
        source: the file, folder or hub id, as it was given.
        revision: the hub's commit, or empty.
        sha256: of the file; of a folder's weights.
        loader: which row of `load` read it.
        weights: what the weights are as loaded, such as float32, or "Q4_0, dequantized": quantized already.
        guesses: what the source did not say and the loader assumed, a sentence each.
        recipe: the text of the compression recipe, empty as loaded.
        said: what its steps said, a sentence each.
    """

    source: str = ""
    revision: str = ""
    sha256: str = ""
    loader: str = ""
    weights: str = ""
    guesses: tuple[str, ...] = ()
    recipe: str = ""
    said: tuple[str, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Module:
    """A torch module in evaluation mode, which nobody changes: a step copies it.

    Attributes:
        module: the network.
        architecture: what it is besides its tensors (a config's canonical text, or the module's own print).
    """

    module: "torch.nn.Module"
    architecture: str


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """An ONNX graph, which nobody changes: a step copies it."""

    proto: "onnx.ModelProto"


Network = Module | Graph


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A network that answers. Two models are the same where their `digest` is.

    Attributes:
        network: what answers.
        family: what it answers to.
        inputs: its inputs by name; outputs: its outputs, in order.
        tokenizer: of a language model.
        picture: how a model of pictures sees them; None: scaled to [0, 1], in the layout of its input.
        decoder: of a detector, what its outputs mean, where its source says it: a name in `decoders`; empty elsewhere.
        stored: by name, how the weights are stored that are not plain arrays; the network holds what they stand for.
        pruned: by name, where a step set a weight to zero, which later steps keep so.
        provenance: where it came from.
    """

    network: Network
    family: Family
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tokenizer: Tokenizer | None = None
    picture: Picture | None = None
    decoder: str = ""
    stored: Mapping[str, Quantized] = field(default_factory=lambda: MappingProxyType({}))
    pruned: Mapping[str, Bool[np.ndarray, "..."]] = field(default_factory=lambda: MappingProxyType({}))
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def digest(self) -> str:
        """sha256 of everything that an answer depends on, and of how it is stored."""
        sha = hashlib.sha256()
        head = {
            "family": self.family,
            "ports": [dataclasses.asdict(port) for port in (*self.inputs, *self.outputs)],
            "tokenizer": "" if self.tokenizer is None else self.tokenizer.digest,
            **({} if self.picture is None else {"picture": dataclasses.asdict(self.picture)}),
            **({"decoder": self.decoder} if self.decoder else {}),
            "stored": {name: [one.bits, one.group_size] for name, one in sorted(self.stored.items())},
            "architecture": self.network.architecture if isinstance(self.network, Module) else _skeleton(self.network),
        }
        sha.update(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
        for name, array in sorted(weights(self)):
            sha.update(f"{name}{array.dtype.str}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    @property
    def model_bytes(self) -> int:
        """Bytes of every constant that an answer reads: packed codes, scales, outliers; zeros as a bit mask."""
        zeros = _zero_codes(self.network)
        return sum(
            stored_bytes(array, self.stored.get(name), kept=_n_kept(array, zeros.get(name)))
            for name, array in weights(self)
        )

    @property
    def n_parameters(self) -> int:
        """Weights, biases and statistics."""
        return sum(array.size for _, array in weights(self))

    @property
    def n_nonzero_parameters(self) -> int:
        """Those that are not zero."""
        zeros = _zero_codes(self.network)
        return sum(_n_kept(array, zeros.get(name)) for name, array in weights(self))


def weights(model: Model) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of every constant that an answer reads, each once: a tied one under its first name."""
    match model.network:
        case Module(module=module):
            seen = set()
            for name, tensor in module.state_dict(keep_vars=True).items():
                # Tied weights are one tensor under two names; an empty tensor has no address to know it by.
                key = (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else name
                if key not in seen and not name.endswith(_NOT_READ):
                    seen.add(key)
                    yield name, to_numpy(tensor)
        case Graph(proto=proto):
            from onnx import numpy_helper

            for tensor in proto.graph.initializer:
                yield tensor.name, numpy_helper.to_array(tensor)
            for number, node in enumerate(proto.graph.node):
                # Trees and linear models of scikit-learn hold their numbers in the node itself.
                for part in node.attribute if node.domain == "ai.onnx.ml" else ():
                    if part.floats or part.ints:
                        numbers = np.array(part.floats or part.ints, np.float32 if part.floats else np.int64)
                        yield f"{node.name or number}.{part.name}", numbers
        case _:
            assert_never(model.network)


def _n_kept(array: np.ndarray, zero: np.ndarray | None) -> int:
    """How many numbers are not zero, or not the code that means it."""
    return int(np.count_nonzero(array if zero is None else array != zero))


def _zero_codes(network: Network) -> dict[str, np.ndarray]:
    """By the name of a weight that is unsigned codes, the code that means zero."""
    match network:
        case Module():
            return {}
        case Graph(proto=proto):
            from onnx import numpy_helper

            stored = {tensor.name: tensor for tensor in proto.graph.initializer}
            return {
                node.input[1]: numpy_helper.to_array(stored[node.input[3]])
                for node in proto.graph.node
                if node.op_type in ("ConvInteger", "MatMulInteger") and len(node.input) > 3 and node.input[3] in stored
                if len(stored[node.input[3]].dims) == 0
            }
        case _:
            assert_never(network)


def to_numpy(tensor: "torch.Tensor") -> np.ndarray:
    """The tensor's numbers; bfloat16, which numpy lacks, as the two bytes of each (never equal to zero's by chance)."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def module_of(model: Model, what: str) -> "torch.nn.Module":
    """The model's torch module.

    Raises:
        LilliputError: it is an ONNX graph, on which `what` cannot be done.
    """
    match model.network:
        case Module(module=module):
            return module
        case Graph():
            raise LilliputError(f"{what} needs a torch module; {model.provenance.source!r} is an ONNX graph")
        case _:
            assert_never(model.network)


def has_blocks(model: Model) -> bool:
    """Whether it is a language model of torch, whose blocks steps go through; graphs are those of any family."""
    return model.family == "language" and isinstance(model.network, Module)


def tokenizer_of(model: Model, what: str) -> Tokenizer:
    """The model's tokenizer.

    Raises:
        NotApplicable: it has none, and `what` needs one.
    """
    if model.tokenizer is None:
        raise NotApplicable(f"{what} needs a language model; {model.provenance.source!r} is of {model.family}")
    return model.tokenizer


def longest_window(model: Model) -> int | None:
    """The most tokens that a language model reads at once, where it says so."""
    match model.network:
        case Module(module=module):
            said = getattr(getattr(module, "config", None), "max_position_embeddings", None)
            return said if isinstance(said, int) and said > 0 else None  # XLNet says -1
        case Graph():
            return None
        case _:
            assert_never(model.network)


def not_finite(what: str) -> LilliputError:
    """What to say of answers that are infinite or no numbers, whichever model gives them."""
    return LilliputError(
        f"the model's {what} not finite: of the model as loaded its file is at fault, of a smaller one use more bits, "
        "or float32 instead of half()"
    )


def _skeleton(graph: Graph) -> str:
    """sha256 of the graph without its weights, which are digested one by one."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(graph.proto)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
        for part in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
            tensor.ClearField(part)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
