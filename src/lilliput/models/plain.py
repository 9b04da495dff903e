"""Graphs as other tools write them, made plain: in order, functions written out, weights stored once."""

import graphlib
import heapq
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lilliput.models.linear import LAYERS

if TYPE_CHECKING:
    import onnx

_SAME_CHANNELS = ("Add", "Cast", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Sub")
"""Through these a picture keeps its axes, up to the first convolution."""

_WEIGHTS_APART = 4
"""The version of ONNX's files from which on weights need not be inputs."""


def plain(proto: "onnx.ModelProto") -> tuple["onnx.ModelProto", tuple[str, ...]]:
    """The graph made plain, and a sentence of each output that was left out or read otherwise."""
    from onnx import inliner

    proto = inliner.inline_local_functions(proto) if proto.functions else proto
    said = (*_widened(proto), *_tensors_alone(proto))
    _constant(proto)
    _stored(proto)
    _one_name(proto)
    _turned(proto)
    _channels(proto)
    return proto, said


def in_order(proto: "onnx.ModelProto") -> None:
    """Put each node behind those that it reads, where that is not so: onnxruntime's own converters forget it."""
    made = {name: at for at, node in enumerate(proto.graph.node) for name in node.output if name}
    before = {at: {made[name] for name in node.input if name in made} for at, node in enumerate(proto.graph.node)}
    if all(max(needed, default=-1) < at for at, needed in before.items()):
        return
    sorter = graphlib.TopologicalSorter(before)
    try:
        sorter.prepare()
    except graphlib.CycleError:
        return  # what checks the graph says which
    ordered = type(proto.graph)()
    ready = list(sorter.get_ready())
    heapq.heapify(ready)
    while ready:  # of those that may come next the first: all else stays where it was
        at = heapq.heappop(ready)
        ordered.node.append(proto.graph.node[at])
        sorter.done(at)
        for freed in sorter.get_ready():
            heapq.heappush(ready, freed)
    proto.graph.ClearField("node")
    proto.graph.node.extend(ordered.node)


def _tensors_alone(proto: "onnx.ModelProto") -> tuple[str, ...]:
    """What was left out of the graph's outputs, a sentence each: scikit-learn's dictionaries and names of classes.

    Behind a ZipMap, which makes a dictionary of each row of probabilities, those rows become the output.
    """
    from onnx import TensorProto, helper

    said: list[str] = []
    for node in [node for node in proto.graph.node if node.op_type == "ZipMap"]:
        n = max(len(part.ints) + len(part.strings) for part in node.attribute)
        for output in proto.graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, ["batch", n]))
        proto.graph.node.remove(node)
        said.append(f"{node.output[0]} is a dictionary a row; its numbers are read, as {node.input[0]}")
    for output in list(proto.graph.output):
        if output.type.tensor_type.elem_type == TensorProto.STRING and len(proto.graph.output) > 1:
            proto.graph.output.remove(output)
            said.append(f"{output.name} is the name of a class; it is left out")
    if said:
        _without_dead_ends(proto)
    return tuple(said)


def _without_dead_ends(proto: "onnx.ModelProto") -> None:
    """Take out what no output is made of: the names that were looked up."""
    if _branches(proto):
        return  # what a branch reads is not followed
    wanted = {output.name for output in proto.graph.output}
    for node in reversed(list(proto.graph.node)):
        if wanted.isdisjoint(node.output):
            proto.graph.node.remove(node)
        else:
            wanted.update(node.input)
    for tensor in list(proto.graph.initializer):
        if tensor.name not in wanted:
            proto.graph.initializer.remove(tensor)


def _constant(proto: "onnx.ModelProto") -> None:
    """Take weights out of the graph's inputs, where old exporters list them too."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    given = [value for value in proto.graph.input if value.name not in weights]
    if len(given) < len(proto.graph.input):
        proto.ir_version = max(proto.ir_version, _WEIGHTS_APART)
        kept = type(proto.graph)(input=given)
        proto.graph.ClearField("input")
        proto.graph.input.extend(kept.input)


def _stored(proto: "onnx.ModelProto") -> None:
    """Make real numbers that stand in Constant nodes stored ones, as everything that reads or counts weights has them.

    Single numbers stay, but where a layer reads them.
    """
    from onnx import TensorProto

    weights = {name for node in proto.graph.node if node.op_type in (*LAYERS, "Identity") for name in node.input}
    real = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    for node in [node for node in proto.graph.node if node.op_type == "Constant"]:
        for part in node.attribute:
            if part.name == "value" and (node.output[0] in weights or (part.t.data_type in real and part.t.dims)):
                proto.graph.initializer.add().CopyFrom(part.t)
                proto.graph.initializer[-1].name = node.output[0]
                proto.graph.node.remove(node)


def _turned(proto: "onnx.ModelProto") -> None:
    """Store a weight as its layer reads it, where the exporter was told to fold nothing and a Transpose stands between.

    A weight that is read elsewhere too, as a tied embedding is, would then stand there twice: it stays.
    """
    from onnx import helper, numpy_helper

    if _branches(proto):
        return
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    read = Counter(name for node in proto.graph.node for name in node.input)
    layers = {node.input[1] for node in proto.graph.node if node.op_type in LAYERS}
    for node in [node for node in proto.graph.node if node.op_type == "Transpose"]:
        name, turned = node.input[0], node.output[0]
        if name in stored and turned in layers and read[name] == 1:
            perm = next((helper.get_attribute_value(part) for part in node.attribute), None)
            array = numpy_helper.to_array(stored[name]).transpose(perm)
            stored[name].CopyFrom(numpy_helper.from_array(array.copy(), name))
            proto.graph.node.remove(node)
            for reader in proto.graph.node:
                for at, one in enumerate(reader.input):
                    reader.input[at] = name if one == turned else one


def _widened(proto: "onnx.ModelProto") -> tuple[str, ...]:
    """That the graph was of bfloat16, which onnxruntime hardly computes on processors; now it is of float32.

    Each number stays what it is; sums are rounded less.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    short, wide, found = TensorProto.BFLOAT16, TensorProto.FLOAT, False
    for graph in _graphs(proto.graph):
        parts = [part for node in graph.node for part in node.attribute]
        for tensor in [*graph.initializer, *(part.t for part in parts if part.type == part.TENSOR)]:
            if tensor.data_type == short:
                found = True
                array = np.asarray(numpy_helper.to_array(tensor), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for part in parts:
            if part.name in ("to", "dtype", "output_dtype") and part.i == short:
                part.i, found = wide, True
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type == short:
                value.type.tensor_type.elem_type, found = wide, True
    if not found:
        return ()
    return ("its bfloat16 is read as float32, which is twice as long: onnxruntime computes no bfloat16 on processors",)


def _graphs(graph: "onnx.GraphProto") -> "Iterator[onnx.GraphProto]":
    """The graph and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for part in node.attribute:
            for inner in (part.g, *part.graphs) if part.type in (part.GRAPH, part.GRAPHS) else ():
                yield from _graphs(inner)


def _one_name(proto: "onnx.ModelProto") -> None:
    """Read a stored weight by its own name where torch's exporter gives another layer with equal weights a copy."""
    if _branches(proto):
        return
    stored = {tensor.name for tensor in proto.graph.initializer} - {value.name for value in proto.graph.input}
    outputs = {output.name for output in proto.graph.output}
    own: dict[str, str] = {}
    for node in list(proto.graph.node):
        for at, name in enumerate(node.input):
            node.input[at] = own.get(name, name)
        if node.op_type == "Identity" and node.input[0] in stored and node.output[0] not in outputs:
            own[node.output[0]] = node.input[0]
            proto.graph.node.remove(node)


def _channels(proto: "onnx.ModelProto") -> None:
    """Say of an input of pictures how many channels it has, where only the first convolution does."""
    shapes = {tensor.name: tensor.dims for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        axes = value.type.tensor_type.shape.dim
        if len(axes) != 4 or axes[1].dim_value or axes[3].dim_value:
            continue
        reached = {value.name}
        for node in proto.graph.node:
            if not node.input or reached.isdisjoint(node.input):
                continue
            if node.op_type in _SAME_CHANNELS:
                reached.update(node.output)
            elif node.op_type == "Conv" and node.input[0] in reached and node.input[1] in shapes:
                group = next((part.i for part in node.attribute if part.name == "group"), 1)
                axes[1].dim_value = shapes[node.input[1]][1] * group
                break


def _branches(proto: "onnx.ModelProto") -> bool:
    return any(part.type in (part.GRAPH, part.GRAPHS) for node in proto.graph.node for part in node.attribute)
