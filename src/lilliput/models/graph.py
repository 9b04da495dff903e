"""A model as an ONNX graph: as it is, or exported from its torch module."""

import contextlib
import dataclasses
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from lilliput.errors import LilliputError, MissingDependency
from lilliput.models.model import Graph, Model, Module
from lilliput.models.plain import plain
from lilliput.onnxruntime_errors import refusals

if TYPE_CHECKING:
    import onnx

OPSET = 17

_NEWER = (
    "torch's newer exporter knows more operators: torch.onnx.export(module, inputs, 'model.onnx', dynamo=True, "
    "opset_version=18) with onnxscript installed; give that file instead"
)


def as_graph(model: Model) -> Model:
    """The model with an ONNX graph for a network; its own where it has one.

    Raises:
        LilliputError: the module cannot be exported.
    """
    match model.network:
        case Graph():
            return model
        case Module():
            return dataclasses.replace(model, network=Graph(_exported(model)))
        case _:
            assert_never(model.network)


def graph_of(model: Model) -> "onnx.ModelProto":
    """A copy of the model's graph that may be changed."""
    import onnx

    network = as_graph(model).network
    assert isinstance(network, Graph)
    copy = onnx.ModelProto()
    copy.CopyFrom(network.proto)
    return copy


def raised(proto: "onnx.ModelProto", least: int) -> "onnx.ModelProto":
    """The graph in at least that version of ONNX's operators.

    Raises:
        LilliputError: it cannot be converted.
    """
    import onnx
    from onnx import version_converter

    version = next((one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")), 1)
    if version >= least:
        return proto
    target = max(least, OPSET)
    try:
        new = version_converter.convert_version(proto, target)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise LilliputError(
            f"the graph is in version {version} of ONNX's operators and cannot be raised to {target}: "
            f"{str(error)[:160]}"
        ) from error
    new.ir_version = max(new.ir_version, onnx.helper.find_min_ir_version_for(new.opset_import, ignore_unknown=True))
    return new


def simplified(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """The graph without what depends on constants alone, by onnxruntime; weights keep their names unless two are fused.

    Raises:
        LilliputError: onnxruntime cannot open it.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "simple.onnx"
        options.optimized_model_filepath = str(target)
        try:
            onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except refusals() as error:
            raise LilliputError(f"onnxruntime cannot open the graph: {str(error)[:160]}") from error
        return onnx.load(target)


def _exported(model: Model) -> "onnx.ModelProto":
    import onnx
    import torch

    assert isinstance(model.network, Module)
    module = model.network.module
    shapes = [(port, tuple(axis if isinstance(axis, int) else 1 for axis in port.axes)) for port in model.inputs]
    open_axes = {port.name: {n: axis for n, axis in enumerate(port.axes) if isinstance(axis, str)}
                 for port in (*model.inputs, *model.outputs)}  # fmt: skip
    data = io.BytesIO()
    with warnings.catch_warnings(), _no_output():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                tuple(torch.zeros(shape, dtype=getattr(torch, port.dtype)) for port, shape in shapes),
                data,  # type: ignore[arg-type] # a file is taken too
                input_names=[port.name for port in model.inputs],
                output_names=[port.name for port in model.outputs],
                dynamic_axes=open_axes,
                opset_version=OPSET,
                dynamo=False,
            )
        except ModuleNotFoundError as error:
            raise MissingDependency(f"exporting to ONNX needs {error.name}: pip install {error.name}") from error
        except (RuntimeError, TypeError, ValueError) as error:
            said = f"the module cannot be exported to ONNX: {' '.join(str(error).split())[:200]}"
            raise LilliputError(f"{said}; {_NEWER}" if "not supported" in said else said) from error
    proto, _ = plain(onnx.load_model_from_string(data.getvalue()))
    for port, value in zip(model.outputs, proto.graph.output, strict=True):
        # The exporter gives up some sizes, behind a choice of the surest queries, say; the module told them.
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(port.name, kind, list(port.axes)))
    return proto


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Drops what is printed, from below Python too: of a graph that torch cannot export it prints every node."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)
