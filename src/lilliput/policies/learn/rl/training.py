"""What is to be trained: one request, as data, that a folder is recognised by."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, final

from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.parameter import check_fields
from lilliput.policies.affine import check_bits
from lilliput.policies.learn.rl.algorithm import algorithm
from lilliput.policies.play.wrappers import parse_wrappers
from lilliput.policies.students import cut


def _with_method(data: dict[str, Any]) -> dict[str, Any]:
    pruning = data.get("pruning")
    return data | ({"pruning": {**pruning, "method": "gradual"}} if isinstance(pruning, dict) else {})


FILE: Final = Format("training", 2, {1: _with_method})
"""2: how weights are pruned. 1: what was asked."""
NAME: Final = "training.json"

Method = Literal["gradual", "set", "rigl"]
Distribution = Literal["uniform", "erdos_renyi", "global"]
TIMES: Final = 100
"""How often masks are cut, or weights moved, between the first and the last time."""


@final
@dataclass(frozen=True)
class Quantization:
    """Quantization-aware training: bits of all layers of the deciding network.

    Attributes:
        weight_bits: of weights.
        activation_bits: of each layer's input; None: weights only.
        input_bits: of the observation; None: as `activation_bits`.
        start: share of all steps after which it begins.
    """

    NAME: ClassVar[str] = "quantization"

    weight_bits: int
    activation_bits: int | None = None
    input_bits: int | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_bits(self.weight_bits, "weight_bits")
        for name in ("activation_bits", "input_bits"):
            if (bits := getattr(self, name)) is not None:
                check_bits(bits, name)
        if self.input_bits is not None and self.activation_bits is None:
            raise LilliputError("input_bits needs activation_bits: the other layers' inputs would not be quantized")
        if not 0 <= self.start < 1:
            raise LilliputError(f"quantization begins at {self.start} of the steps; it must be in [0, 1)")


@final
@dataclass(frozen=True)
class Pruning:
    """A schedule of sparsity: 0 until `start`, then cubically to `sparsity` at `end`, both shares of all steps.

    With the methods `set` and `rigl` all of the training is at `sparsity`: masks are drawn before its first step, and
    from `start` to `end` the least weights go and as many others begin from zero.

    Attributes:
        sparsity: share of the weights of all layers that are 0 at the end; with `units`, of the hidden units.
        distribution: how sparsity spreads over layers: the same in each, less in small ones (Erdos-Renyi, arXiv
            1707.04780), or by magnitude among all weights.
        units: whole units, ranked by the norm of the weights that lead to them, instead of single weights.
    """

    NAME: ClassVar[str] = "pruning"

    sparsity: float
    start: float = 0.2
    end: float = 0.8
    distribution: Distribution = "uniform"
    units: bool = False
    method: Method = "gradual"

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.sparsity < 1:
            raise LilliputError(f"sparsity is {self.sparsity}; it must be between 0 and 1")
        if not 0 <= self.start < self.end <= 1:
            raise LilliputError(
                f"pruning goes from {self.start} to {self.end}; 0 <= prune-from < prune-to <= 1 is needed"
            )
        if self.units and self.distribution != "uniform":
            raise LilliputError("units are pruned at the same share in every layer: distribution must be 'uniform'")
        if self.from_the_start and (self.units or self.distribution == "global"):
            raise LilliputError(
                f"{self.method} moves single weights within layers: neither units nor distribution 'global'"
            )

    @property
    def from_the_start(self) -> bool:
        """Whether the sparsity is that of the end in all of the training."""
        return self.method != "gradual"

    def at(self, share: float) -> float:
        """The sparsity when a share of all steps is done.

        >>> [round(Pruning(0.8, 0.25, 0.75).at(share), 3) for share in (0.2, 0.5, 0.75, 1.0)]
        [0.0, 0.7, 0.8, 0.8]
        """
        if self.from_the_start:
            return self.sparsity
        return self.sparsity * cut(share, self.start, self.end)

    def moment(self, share: float) -> int:
        """How many times the masks have been changed when a share of all steps is done."""
        done = min(max((share - self.start) / (self.end - self.start), 0.0), 1.0)
        return int(done * TIMES + 1e-9) + self.from_the_start


@final
@dataclass(frozen=True)
class Training:
    """Which algorithm learns what, for how long, with which compression on the way.

    Attributes:
        algorithm: a name of `ALGORITHMS`.
        environment, environment_kwargs, wrappers: what it plays; an Atari game behind `atari` and `frame_stack`.
        steps: of the environments together.
        seed: everything random follows from it.
        hidden, activation, normalize, settings: see `hyperparameters`.
        quantization, pruning: of the deciding network; critics stay dense.
        start_from: sha256 of the policy that goes on learning; "" for a fresh one.
        segment: steps between checkpoints, each of which plays `episodes` evaluation episodes.
    """

    algorithm: str
    environment: str
    steps: int
    seed: int = 0
    environment_kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    hidden: tuple[int, ...] | None = None
    activation: str | None = None
    normalize: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    quantization: Quantization | None = None
    pruning: Pruning | None = None
    start_from: str = ""
    segment: int = 10_000
    episodes: int = 5

    def __post_init__(self) -> None:
        row = algorithm(self.algorithm)
        parse_wrappers(self.wrappers)
        for name, least in (("steps", 1), ("seed", 0), ("segment", 1), ("episodes", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise LilliputError(f"{name} is {value!r}; it must be an integer from {least}")
        if row.natural and self.pruning is not None and self.pruning.method == "rigl":
            raise LilliputError(
                f"rigl asks for the gradients of a loss, and {self.algorithm} steps along others; use set"
            )

    @property
    def words(self) -> str:
        """What it is, to tell its policy from those of other trainings."""
        said = [f"{self.algorithm} on {self.environment}", f"seed {self.seed}"]
        if self.start_from:
            said.append(f"from {self.start_from[:8]}")
        if (pruning := self.pruning) is not None:
            what = "of the units gone" if pruning.units else f"sparse ({pruning.method}, {pruning.distribution})"
            said.append(f"{100 * pruning.sparsity:g} % {what}")
        if (asked := self.quantization) is not None:
            inputs = "" if asked.activation_bits is None else f" and {asked.activation_bits}-bit inputs"
            said.append(f"{asked.weight_bits}-bit weights{inputs}")
        return ", ".join(said)

    def to_json(self) -> dict[str, Any]:
        """The request as JSON data."""
        return {**dataclasses.asdict(self), "wrappers": list(self.wrappers)} | (
            {} if self.hidden is None else {"hidden": list(self.hidden)}
        )
