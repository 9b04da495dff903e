"""Compression of an ONNX graph by onnxruntime's quantizers, and of its weights by us: no torch."""

import contextlib
import dataclasses
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress.arithmetic import pruning
from lilliput.models.compress.arithmetic.rounding import nearest
from lilliput.models.compress.calibration_pictures import calibration
from lilliput.models.compress.context import Context
from lilliput.models.graph import as_graph, graph_of, raised
from lilliput.models.linear import FOREIGN, LAYERS, QUANTIZED, Weight, as_stored, elsewhere, in_graph
from lilliput.models.model import Graph, Model
from lilliput.models.picture import picture_port

if TYPE_CHECKING:
    import onnx

A_MARK = 1e9
"""From here on a number is no weight: it hides a place from attention, or leaves an end open."""


def dynamic(model: Model, context: Context) -> Model:
    """The model whose linear layers have 8-bit weights, and quantize each input by its own range.

    Weights are unsigned: signed ones saturate in pairs on processors without VNNI, and convolutions of them do not run.

    Raises:
        LilliputError: it is quantized already, or has nothing to quantize.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _files(model) as (source, target):
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=_attention(source),
            extra_options={"DefaultTensorType": 1},
        )
        return _read(model, target, context)


def weight_only(model: Model, bits: int, group_size: int, context: Context) -> Model:
    """The model whose linear layers have codes for weights and compute in float32: DequantizeLinear stands before each.

    Codes are symmetric, so that pruned weights stay zero. Each output has a scale; of a matrix each `group_size`
    neighbouring inputs of it, where that is not 0. A transposed convolution has one for each input channel.

    Raises:
        NotApplicable: no linear layer has weights.
        LilliputError: it is quantized already, has weights that are not float32, or a group that fits nothing.
    """
    _check(model)
    # Four bits and groups came with version 21 of the operators, a scale for each output with 13.
    proto = raised(graph_of(model), 21 if bits == 4 or group_size else 13)
    found = list(in_graph(proto))
    whole = [weight.name for weight in found if weight.array.ndim != 2]
    if group_size and len(whole) == len(found):
        raise LilliputError("quantize: groups are of the inputs of a matrix, and the graph has only convolutions")
    if group_size and whole:
        context.tell(f"quantize: groups are for matrices; {len(whole)} other weights have one scale for each output")
    _tell(proto, "quantize", context)
    for weight in found:
        _store_codes(proto, weight, bits, group_size if weight.array.ndim == 2 else 0)
    return _with(model, proto)


def _store_codes(proto: "onnx.ModelProto", weight: Weight, bits: int, group_size: int) -> None:
    """Puts codes and scales where the weight was, and what makes it of them before all other nodes."""
    from onnx import TensorProto, helper, numpy_helper

    name, shape = weight.name, weight.array.shape
    stored = nearest(weight.rows, bits, group_size, symmetric=True)
    assert isinstance(stored.scale, np.ndarray)
    packed = helper.tensor_dtype_to_np_dtype(TensorProto.INT8 if bits == 8 else TensorProto.INT4)
    codes = as_stored(stored.codes, shape, weight.columns).astype(packed)
    scale = stored.scale.astype(np.float32)
    # Axes are counted from the end: where they are counted from the front, onnxruntime 1.32 makes one MatMulNBits of
    # this node and a product, which rounds the product's other side to 8 bits as well.
    if group_size:
        scale = scale.T if weight.columns else scale
        attributes: dict[str, Any] = {"axis": -2 if weight.columns else -1, "block_size": group_size}
    else:
        scale = scale[:, 0]
        attributes = {"axis": -1 if weight.columns else -len(shape)}
    names = [f"{name}_quantized", f"{name}_scale"]
    if taken := {tensor.name for tensor in proto.graph.initializer}.intersection(names):
        raise LilliputError(f"quantize: the graph has a weight {min(taken)!r} beside {name!r}; rename it")
    kept = [tensor for tensor in proto.graph.initializer if tensor.name != name]
    given = [value for value in proto.graph.input if value.name != name]
    arrays = (np.ascontiguousarray(codes), np.ascontiguousarray(scale))
    made = [numpy_helper.from_array(array, made) for array, made in zip(arrays, names, strict=True)]
    nodes = [helper.make_node("DequantizeLinear", names, [name], f"{name}_dequantize", **attributes), *proto.graph.node]
    for part, new in (("initializer", [*kept, *made]), ("input", given), ("node", nodes)):
        proto.graph.ClearField(part)
        getattr(proto.graph, part).extend(new)


def static(model: Model, source: str, observations: int, context: Context) -> Model:
    """The model with 8-bit weights (one scale an output) and inputs, whose ranges are those of calibration pictures.

    Weights use seven of the eight bits, so that pairs of products fit 16 bits on every processor.

    Raises:
        LilliputError: it is quantized already, has nothing to quantize, or the source has too few pictures.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    batches = calibration(model, source, observations, context)
    port = picture_port(model)
    # An input without an axis of pictures takes one.
    feeds = ({**one, port.name: one[port.name].reshape(one[port.name].shape[-len(port.axes) :])} for one in batches)

    class Reader:
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    # A scale for each output came with version 13 of the operators.
    with _files(_with(model, raised(graph_of(model), 13))) as (before, target):
        quantize_static(
            before,
            target,
            Reader(),  # type: ignore[arg-type]
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[
                *_before_layers(before, picture_port(model).name),
                *_hiding(before),
                *(_behind_layers(before) if model.family == "detection" else ()),
            ],
        )
        return _read(model, target, context)


def _before_layers(path: str, picture: str) -> list[str]:
    """The nodes between an input that is no picture, such as a timestep, and the first linear layer: they stay real.

    A timestep from 0 to 999 in 8 bits is another one, and the angles made of it are any.
    """
    import onnx

    proto = onnx.load(path)
    weights = {tensor.name for tensor in proto.graph.initializer}
    reached = {port.name for port in proto.graph.input} - weights - {picture}
    found = []
    for node in proto.graph.node:
        if node.op_type not in LAYERS and reached & set(node.input):
            found.append(node.name)
            reached |= set(node.output)
    return found


def _hiding(path: str) -> list[str]:
    """The nodes that a mask goes through, whose numbers hide places from attention, up to the softmax: they stay real.

    In one scale with -1e9 or infinity every other number would be 0.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(path)
    constants = [(tensor.name, tensor) for tensor in proto.graph.initializer]
    constants += [(node.output[0], part.t) for node in proto.graph.node if node.op_type == "Constant"
                  for part in node.attribute if part.name == "value"]  # fmt: skip
    reached = {name for name, tensor in constants if (np.abs(numpy_helper.to_array(tensor)) >= A_MARK).any()}
    found = []
    for node in proto.graph.node:
        if node.op_type not in (*LAYERS, "Clip", "Min", "Max") and reached.intersection(node.input):
            found.append(node.name)
            reached.update(node.output if node.op_type != "Softmax" else ())
    return found


def _attention(path: str) -> list[str]:
    """ONNX's own Attention nodes, which onnxruntime 1.32 quantizes as if they were its older ones of that name."""
    import onnx

    return [node.name for node in onnx.load(path).graph.node if node.op_type == "Attention" and node.domain == ""]


def _behind_layers(path: str) -> list[str]:
    """The nodes that no linear layer follows, which make boxes of what the layers give: they stay real.

    One scale for boxes in pixels and scores up to 1, which are put together there, would round scores to 0.
    """
    import onnx

    proto = onnx.load(path)
    leading: set[str] = set()
    found = []
    for node in reversed(proto.graph.node):
        if node.op_type in LAYERS or leading & set(node.output):
            leading |= set(node.input)
        else:
            found.append(node.name)
    return found


def prune(model: Model, sparsity: float, pattern: pruning.Pattern | None, context: Context) -> Model:
    """The model in which the smallest weights of each linear layer are zero.

    Raises:
        NotApplicable: as many are zero already.
        LilliputError: a layer that the pattern does not fit, or codes of another tool.
    """
    from onnx import numpy_helper

    proto = graph_of(model)
    if foreign := next((node.op_type for node in proto.graph.node if node.op_type in FOREIGN), None):
        raise LilliputError(
            f"prune_weights: the graph has {foreign}, whose codes are not read; give the graph before it was quantized"
        )
    _tell(proto, "prune_weights", context)
    found = list(in_graph(proto))
    if not found:
        raise NotApplicable("prune_weights: the graph has no linear layer")
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    masks = dict(model.pruned)
    changed = False
    for weight in found:
        rows = weight.rows
        if pattern is not None and rows.shape[1] % pattern[1]:
            raise LilliputError(f"prune_weights: {weight.name} has {rows.shape[1]} inputs, no whole number of groups")
        kept = pruning.magnitude(rows.astype(np.float32), sparsity, pattern)
        kept = as_stored(kept, weight.array.shape, weight.columns)
        new = np.where(kept, weight.array, weight.zero.astype(weight.array.dtype))
        changed = changed or not np.array_equal(new, weight.array)
        masks[weight.name] = ~kept
        stored[weight.name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new), weight.name))
    if not changed:
        raise NotApplicable(f"prune_weights: a sparsity of {sparsity:g} is there already; nothing to set to zero")
    return dataclasses.replace(_with(model, proto), pruned=MappingProxyType(masks))


def _check(model: Model) -> None:
    """Checks that the graph has weights to quantize, all of float32, and no codes yet."""
    proto = graph_of(model)
    if any(node.op_type in QUANTIZED for node in proto.graph.node):
        raise LilliputError("quantize: the graph is quantized already; quantize once")
    found = list(in_graph(proto))
    if not found:
        raise NotApplicable("quantize: the graph has no linear layer whose weights could be quantized")
    for weight in found:
        if weight.array.dtype != np.float32:
            raise LilliputError(
                f"quantize: {weight.name} is {weight.array.dtype}; codes are made of float32: give the model as it was "
                "before it was converted, and leave half out"
            )


def _tell(proto: "onnx.ModelProto", step: str, context: Context) -> None:
    """Say what a step on linear layers leaves as it is."""
    if said := elsewhere(proto):
        context.tell(f"{step}: {said}: left as they are")


@contextlib.contextmanager
def _files(model: Model) -> Iterator[tuple[str, str]]:
    """A prepared file of the graph, and a place for what is made of it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    _check(model)
    proto = graph_of(model)
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared, target = (str(Path(folder) / name) for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(proto, source)
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
        except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
            raise LilliputError(f"quantize: the graph cannot be prepared: {str(error)[:160]}") from error
        _made_fit(prepared)
        try:
            yield prepared, target
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:
            said = " ".join(str(error).split())[:160]
            raise LilliputError(f"quantize: onnxruntime's quantizer does not take the graph: {said}") from error


def _made_fit(path: str) -> None:
    """Make rows of biases, as scikit-learn's graphs have them, plain ones, which alone the quantizer takes.

    Nodes without a name get one: the quantizer leaves out nodes by name, and all without one with the first of them.
    """
    import onnx

    proto = onnx.load(path)
    biases = {node.input[2] for node in proto.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    for tensor in proto.graph.initializer:
        if tensor.name in biases and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type} {number}"
    onnx.save(_typed(proto), path)


def _typed(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """The graph that says what is real behind scikit-learn's scalers, of which ONNX's own inference knows nothing.

    The quantizer measures the ranges of what is said to be real alone.
    """
    from onnx import TensorProto, helper, shape_inference

    known = {value.name for value in (*proto.graph.value_info, *proto.graph.output)}
    scaled = {
        node.output[0]
        for node in proto.graph.node
        if node.domain == "ai.onnx.ml" and node.op_type in ("Scaler", "Normalizer") and node.output[0] not in known
    }
    if not scaled:
        return proto
    proto.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in scaled)
    return shape_inference.infer_shapes(proto)


def _read(model: Model, path: str, context: Context) -> Model:
    """What the quantizer wrote.

    Raises:
        LilliputError: it left every weight as it was.
    """
    import onnx

    proto = onnx.load(path)
    found = list(in_graph(proto))
    real = [weight for weight in found if weight.array.dtype.kind == "f"]
    if len(real) == len(found):
        raise LilliputError("quantize: onnxruntime's quantizer left every weight as it was")
    if real:
        context.tell(f"quantize: {len(real)} of {len(found)} weights stay real, such as {real[0].name}")
    _tell(proto, "quantize", context)
    return _with(model, proto)


def _with(model: Model, proto: Any) -> Model:
    return dataclasses.replace(as_graph(model), network=Graph(proto))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the quantizers, whose advice is for their own users."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(before)
