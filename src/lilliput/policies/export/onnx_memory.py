"""What a policy remembers, in an ONNX graph: the state as inputs and outputs, (layers, batch, units) each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, assert_never, final

import numpy as np

from lilliput.policies import layers
from lilliput.policies.policy import Policy
from lilliput.policies.state import ports

if TYPE_CHECKING:
    import onnx

    from lilliput.policies.export.onnx_graph import GraphBuilder

Linear = Callable[["GraphBuilder", layers.Layer, str, tuple[int, ...]], str]
"""Writes a linear part as any other layer: graph, layer, the name of its input and its shape; gives its output's."""


@final
class Remembered:
    """The state's values, read layer by layer, and what they become."""

    def __init__(self, graph: GraphBuilder, policy: Policy) -> None:
        self._graph, self._ports = graph, ports(policy)
        self._at = 0
        self._after: dict[int, list[str]] = {}
        self._before: dict[int, str] = {}
        self._acts: dict[int, layers.PreviousAction] = {}
        for port in self._ports:
            for row, place in enumerate(port.members):
                one = f"{port.name}_in"
                if len(port.members) > 1 or len(port.initial) == 1:
                    one = graph.node("Gather", one, graph.constant(np.array(row, np.int64)), axis=0)
                self._before[place] = one

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """The state's inputs."""
        return [self._info(f"{port.name}_in", port.initial.shape) for port in self._ports]

    def outputs(self) -> list[onnx.ValueInfoProto]:
        """The state's outputs."""
        return [self._info(f"{port.name}_out", port.initial.shape) for port in self._ports]

    def _info(self, name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        from onnx import TensorProto, helper

        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], "batch", shape[1]])

    def step(self, layer: layers.Memory, x: str, linear: Linear) -> str:
        """The output of a layer with a memory for the input of that name."""
        node = self._graph.node
        match layer:
            case layers.Lstm():
                h, c = self._before[self._at], self._before[self._at + 1]
                n = layers.n_units(layer)
                sums = node("Add", self._part(linear, layer.input, x), self._part(linear, layer.recurrent, h))
                i, f, g, o = self._split(sums, 4, n)
                kept = node("Mul", node("Sigmoid", f), c)
                c = node("Add", kept, node("Mul", node("Sigmoid", i), node("Tanh", g)))
                h = node("Mul", node("Sigmoid", o), node("Tanh", c))
                self._remember([h], [c])
                return h
            case layers.Gru():
                h, n = self._before[self._at], layers.n_units(layer)
                xr, xz, xn = self._split(self._part(linear, layer.input, x), 3, n)
                hr, hz, hn = self._split(self._part(linear, layer.recurrent, h), 3, n)
                r, z = node("Sigmoid", node("Add", xr, hr)), node("Sigmoid", node("Add", xz, hz))
                if layer.reset_first:
                    hn = self._split(self._part(linear, layer.recurrent, node("Mul", r, h)), 3, n)[2]
                else:
                    hn = node("Mul", r, hn)
                new = node("Tanh", node("Add", xn, hn))
                one = self._graph.constant(np.float32(1))
                h = node("Add", node("Mul", node("Sub", one, z), new), node("Mul", z, h))
                self._remember([h])
                return h
            case layers.History(length=length):
                rows = [*self._rows(length - 1), x]
                self._remember(rows[1:])
                return node("Concat", *rows, axis=1)
            case layers.PreviousAction(start=start, steps=steps):
                rows = self._rows(steps)
                self._acts[self._at] = layer
                self._remember(rows[1:])
                axis, at, end = (
                    self._graph.constant(np.array([i], np.int64)) for i in (1, start, np.iinfo(np.int64).max)
                )
                front = [node("Slice", x, self._graph.constant(np.array([0], np.int64)), at, axis)] if start else []
                return node("Concat", *front, *rows, node("Slice", x, at, end, axis), axis=1)
            case _:
                assert_never(layer)

    def _rows(self, n: int) -> list[str]:
        """The rows of the next layer's only array."""
        before, node = self._before[self._at], self._graph.node
        return (
            [before]
            if n == 1
            else [node("Gather", before, self._graph.constant(np.array(i, np.int64)), axis=0) for i in range(n)]
        )

    def keep(self, given: Sequence[str], undecided: str) -> None:
        """Gives the state's outputs their values; what was before, where that value says that nothing was decided.

        Args:
            given: the input of every layer, and what the last one gives.
            undecided: the value that says so; empty: everything is decided.
        """
        graph = self._graph
        for at, layer in self._acts.items():
            self._after[at] = [*self._after[at], given[-1 - layer.head]]
        for port in self._ports:
            shape = graph.constant(np.array([1, -1, port.initial.shape[1]], np.int64))
            rows = [graph.node("Reshape", row, shape) for place in port.members for row in self._after[place]]
            if undecided:
                whole = graph.node("Concat", *rows, axis=0) if len(rows) > 1 else rows[0]
                graph.node_of_several("Where", undecided, f"{port.name}_in", whole, outputs=(f"{port.name}_out",))
            else:
                graph.node_of_several("Concat", *rows, outputs=(f"{port.name}_out",), axis=0)

    def _remember(self, *values: list[str]) -> None:
        """Keeps the next layer's state, the rows of each of its arrays, for the end."""
        for rows in values:
            self._after[self._at] = rows
            self._at += 1

    def _part(self, linear: Linear, part: layers.Dense | layers.QuantizedDense, x: str) -> str:
        return linear(self._graph, part, x, (part.weight.shape[1],))

    def _split(self, x: str, gates: int, n: int) -> tuple[str, ...]:
        names = tuple(f"{x}_{gate}" for gate in range(gates))
        sizes = self._graph.constant(np.full(gates, n, np.int64))
        return self._graph.node_of_several("Split", x, sizes, outputs=names, axis=1)
