"""The statements of one decision as they are written: the buffer of the current values, and the working memory."""

from dataclasses import dataclass, field
from typing import assert_never, final

import numpy as np

from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy, layer_shapes

SCRATCH = {
    "a": "float",
    "b": "float",
    "gates": "float",
    "hidden_gates": "float",
    "reset_gates": "float",
    "reset": "float",
    "row": "float",
    "values": "float",
    "real_0": "float",
    "real_1": "float",
    "real_2": "float",
    "zero_points": "int32_t",
    "inputs": "int32_t",
    "sums": "int32_t",
    "numbers": "int32_t",
    "pairs": "uint32_t",
    "wide_codes": "int16_t",
    "byte_codes": "uint8_t",
    "codes": "uint8_t",
    "next_codes": "uint8_t",
    "row_codes": "int8_t",
    "value_codes": "int8_t",
}
"""Working memory by name, the wider types first."""

DECODED = ("real_0", "real_1", "real_2", "zero_points")
"""What is decoded into working memory on a processor with a float unit, and where it stands on one without."""

ONLY_X86 = ("wide_codes",)
"""What the vectors of x86 have room for."""

NO_REALS = "NO_REALS"
"""What kernels are told of a bias that a layer does without."""

EVERY_BYTE = 256
"""How many numbers there are in a byte."""


@final
@dataclass(frozen=True)
class LinearPart:
    """A linear part of a layer: how many numbers it takes and gives, and the buffer that it writes."""

    inputs: int
    outputs: int
    target: str


@dataclass
class Writer:
    """Walks the layers once.

    Attributes:
        policy: what is written.
        x: the buffer that holds the current values.
        is_channels_last: whether they are an image with its channels last, as convolutions work.
        name: what the constants of the current layer start with.
        index: of the current layer.
        kernels: those that are called.
        stores_halves: whether a bias, scale or the like is stored in half precision.
        mixes_memories: whether a kernel is handed decoded weights where another layer hands it stored ones.
        table_for: index of a layer that quantizes bytes; until there, the layers work on every byte there is, which
            makes the table of their codes. -1 where there is none.
        part: the linear part of the current layer that is being written.
    """

    policy: Policy
    x: str = "observation"
    is_channels_last: bool = False
    name: str = ""
    index: int = 0
    lines: list[str] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    scratch: dict[str, int] = field(default_factory=dict)
    kernels: set[str] = field(default_factory=set)
    stores_halves: bool = False
    mixes_memories: bool = False
    table_for: int = -1
    part: LinearPart | None = None

    def __post_init__(self) -> None:
        self.shapes = layer_shapes(self.policy)
        sized = layers.Linear | layers.Memory | layers.BetaAction
        linear = [i for i, layer in enumerate(self.policy.layers) if isinstance(layer, sized)]
        # An image would have to be turned first, so a convolution never writes the action itself.
        self.writes_action = linear[-1] if len(self.shapes[linear[-1] + 1]) == 1 and not self.policy.is_discrete else -1
        if spaces.input_dtype(self.policy.observation_space) == "uint8":
            size = int(np.prod(self.shapes[0]))
            self.table_for = _quantizes_bytes(self.policy)
            if self.table_for >= 0 and size > EVERY_BYTE:
                self.comment(f"what layer{self.table_for} gets for every byte there is: a table for the observation")
                self.call("every_byte", f"{self.need('a', EVERY_BYTE)}")
            else:
                self.table_for = -1
                self.call("bytes_to_float", f"observation, {size}, {self.need('a', size)}")
            self.x = "scratch->a"

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of the current layer's input."""
        if self.part is not None:
            return (self.part.inputs,)
        return (EVERY_BYTE,) if self.index < self.table_for else self.shapes[self.index]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of the current layer's output."""
        if self.part is not None:
            return (self.part.outputs,)
        return (EVERY_BYTE,) if self.index < self.table_for else self.shapes[self.index + 1]

    def kernel(self, name: str, arguments: str) -> str:
        """The call of a kernel, whose file becomes part of the artifact."""
        self.kernels.add(name)
        return f"{name}({arguments})"

    def call(self, name: str, arguments: str) -> None:
        """Write the call of a kernel as a statement."""
        self.lines.append(f"{self.kernel(name, arguments)};")

    def comment(self, text: str) -> None:
        """Write a comment after an empty line."""
        self.lines += ["", f"/* {text} */"]

    def declare(self, *lines: str) -> None:
        """Write declarations, which stand in one block at the top."""
        self.declarations += [line for line in lines if line not in self.declarations]

    def loop(self, count: int, lines: list[str]) -> None:
        """Write statements that run for `row` from 0 on."""
        self.declare("size_t row;")
        self.lines += [f"for (row = 0; row < {count}; row++) {{", *(f"    {line}" for line in lines), "}"]

    def need(self, name: str, length: int) -> str:
        """A buffer of working memory, at least so long."""
        self.scratch[name] = max(self.scratch.get(name, 0), length)
        return f"scratch->{name}"

    def target(self, size: int) -> str:
        """Where a layer of another shape writes: the action for the last of them, else the buffer that is free."""
        if self.part is not None:
            return self.need(self.part.target, size)
        if self.index == self.writes_action:
            return "action"
        return self.need("b" if self.x == "scratch->a" else "a", size)

    def in_place(self) -> str:
        """The current buffer, which may be written; a copy where it is the caller's observation."""
        if self.x == "observation":
            size = int(np.prod(self.in_shape))
            self.call("copy_floats", f"observation, {size}, {self.need('a', size)}")
            self.x = "scratch->a"
        return self.x

    def real(self, slot: int, part: str, values: np.ndarray) -> str:
        """What kernels are told of a float array, decoded before where it is stored in half precision: see stored.h."""
        name = f"{self.name}_{part}"
        self.kernels.add("stored")
        if values.dtype == np.float16:
            self.stores_halves = True
            floats = self.need(f"real_{slot}", values.size)
            self.lines.append(f"DECODE_HALVES({name}, {values.size}, {floats});")
            return f"HALVES({name}, {floats})"
        return f"FLOATS({name})"

    def put_channels(self, *, last: bool) -> None:
        """Turn an image so that its channels stand last, or first again."""
        if self.is_channels_last == last:
            return
        self.is_channels_last = last
        if self.index == self.table_for:
            return  # when the bytes are looked up
        channels, height, width = self.in_shape
        if channels > 1 and height * width > 1:
            size = channels * height * width
            target = self.need("b" if self.x == "scratch->a" else "a", size)
            self.call(f"channels_{'last' if last else 'first'}", f"{self.x}, {channels}, {height * width}, {target}")
            self.x = target


def _quantizes_bytes(policy: Policy) -> int:
    """The index of the first linear layer, if it quantizes and all before it treats every number alike; else -1."""
    for index, layer in enumerate(policy.layers):
        match layer:
            case layers.Standardize() if layer.mean.ndim == layer.scale.ndim == layer.clip.ndim == 0:
                pass
            case (
                layers.QuantizedDense(input=layers.StaticRange() as range_)
                | layers.QuantizedConv2d(input=layers.StaticRange() as range_)
            ) if range_.inverse_scale.ndim == range_.zero_point.ndim == 0 and np.any(layer.weight.values):
                return index
            case (
                layers.Standardize() | layers.QuantizedDense() | layers.QuantizedConv2d() | layers.Dense()
                | layers.Conv2d() | layers.SelectInputs() | layers.LayerNorm() | layers.Flatten() | layers.Relu()
                | layers.Tanh() | layers.Sigmoid() | layers.Elu() | layers.LeakyRelu() | layers.Silu()
                | layers.Gelu() | layers.HardTanh() | layers.Lstm() | layers.Gru() | layers.History()
                | layers.PreviousAction() | layers.SquashAction() | layers.BetaAction() | layers.RescaleAction()
                | layers.ClipAction() | layers.ArgmaxAction()
            ):  # fmt: skip
                return -1
            case _:
                assert_never(layer)
    return -1


def step(values: np.ndarray) -> int:
    """How far from one number to the next: 0 where one serves all."""
    return 0 if values.shape == () else 1
