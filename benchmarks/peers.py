"""Other runtimes on the networks of latency.py, each as a function of one numpy observation."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Act = Callable[[np.ndarray], np.ndarray]

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def torch_module(name: str, weights: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    """The network as a torch module; images come as floats, already divided."""
    import torch
    from torch import nn

    modules: list[Any] = []
    for index, (weight, bias) in enumerate(weights):
        if weight.ndim == 4:
            module: Any = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], CONVOLUTIONS[index][2])
        else:
            if name == "cnn" and index == len(CONVOLUTIONS):
                modules.append(nn.Flatten())
            module = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weight))
            module.bias.copy_(torch.from_numpy(bias))
        modules += [module, nn.ReLU()]
    modules[-1:] = [] if name == "cnn" else [nn.Tanh()]
    return nn.Sequential(*modules).eval()


def torch_input(observations: np.ndarray) -> np.ndarray:
    """What peers that take no bytes are given, ready made: in their favour."""
    return observations if observations.dtype == np.float32 else (observations / np.float32(255)).astype(np.float32)


def prepared(observations: np.ndarray, act: Act) -> Act:
    """`act` on ready inputs; images are turned to floats before the clock starts."""
    if observations.dtype == np.float32:
        return lambda x: act(x[None])
    ready: dict[int, np.ndarray] = {}

    def on_ready(x: np.ndarray) -> np.ndarray:
        found = ready.get(id(x))
        if found is None:
            found = ready[id(x)] = torch_input(x)[None]
        return act(found)

    return on_ready


def torches(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """Torch, eager and compiled."""
    import torch

    torch.set_num_threads(1)
    module = torch_module(name, weights)

    def eager(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()[0]

    compiled_module = torch.compile(module)

    def compiled(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return compiled_module(torch.from_numpy(x)).numpy()[0]

    return {"torch eager": prepared(observations, eager), "torch.compile": prepared(observations, compiled)}


def litert(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """LiteRT, float32 and int8 with dynamic and static ranges, converted by litert-torch."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    def runner(path: Path) -> Act:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        given, taken = into["index"], out["index"]

        def act(x: np.ndarray) -> np.ndarray:
            interpreter.set_tensor(given, x)
            interpreter.invoke()
            return interpreter.get_tensor(taken)[0]

        if into["dtype"] == np.float32:
            return prepared(observations, act)
        (scale, zero), (out_scale, out_zero) = into["quantization"], out["quantization"]
        unit, out_unit = np.float32(1 / scale), np.float32(out_scale)

        def in_codes(x: np.ndarray) -> np.ndarray:
            codes = np.clip(np.rint(x * unit) + zero, -128, 127).astype(np.int8)
            return (act(codes).astype(np.float32) - out_zero) * out_unit

        return prepared(observations, in_codes)

    sample = (torch.from_numpy(torch_input(observations[:1])),)
    litert_torch.convert(torch_module(name, weights), sample).export(str(folder / "f32.tflite"))
    found = {"LiteRT float32": runner(folder / "f32.tflite")}
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(folder / "f32.tflite"), recipe.dynamic_wi8_afp32())
    made.quantize().export_model(str(folder / "dynamic.tflite"))
    found["LiteRT int8 dynamic"] = runner(folder / "dynamic.tflite")
    made = quantizer.Quantizer(str(folder / "f32.tflite"), recipe.static_wi8_ai8())
    key = Interpreter(str(folder / "f32.tflite")).get_signature_list()
    signature, given = next((name, parts["inputs"][0]) for name, parts in key.items())
    samples = [{given: row[None]} for row in torch_input(observations)]
    calibrated = made.calibrate({signature: samples})
    made.quantize(calibrated).export_model(str(folder / "static.tflite"))
    found["LiteRT int8 static"] = runner(folder / "static.tflite")
    return found


def openvino(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """OpenVINO with float32 forced, and int8 by NNCF where it is installed."""
    import nncf
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}

    def runner(read: Any) -> Act:
        request = core.compile_model(read, "CPU", settings).create_infer_request()
        return lambda x: next(iter(request.infer([x[None]]).values()))[0]

    small = nncf.quantize(core.read_model(model), nncf.Dataset([row[None] for row in observations]), subset_size=32)
    return {"OpenVINO float32": runner(core.read_model(model)), "OpenVINO int8": runner(small)}


def executorch(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """ExecuTorch with XNNPACK, float32."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    sample = (torch.from_numpy(torch_input(observations[:1])),)
    exported = torch.export.export(torch_module(name, weights), sample)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / "model.pte").write_bytes(program.buffer)
    opened = Runtime.get().load_program(folder / "model.pte")
    method = opened.load_method("forward")
    assert method is not None
    return {
        "ExecuTorch XNNPACK float32": prepared(
            observations, lambda x: (method.execute([torch.from_numpy(x)])[0].numpy()[0], opened)[0]
        )
    }


def emx(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """The C of emx-onnx-cgen, compiled by the same compiler with the same flags and called in the same way."""
    import onnx

    from lilliput.compiler import shared_object
    from lilliput.policies.runtime.native import FLAGS, _extension

    graph = onnx.load(model)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, folder / "emx.onnx")
    command = ["emx-onnx-cgen", "compile", "--model-name", "emx", "--large-temp-threshold", "0"]
    command += ["--large-weight-threshold", "0", str(folder / "emx.onnx"), str(folder / "emx.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    library = shared_object([folder / "emx.c"], FLAGS, ("-lm",))
    action_shape = tuple(d.dim_value for d in graph.graph.output[0].type.tensor_type.shape.dim)[1:]
    extension = _extension()
    assert not isinstance(extension, str)
    act = extension.NativeActor(
        library=library, symbol="emx", observation_shape=observations.shape[1:], action_shape=action_shape,
        takes_bytes=observations.dtype == np.uint8, gives_choices=False, state_size=0, reset="", artifact=None,
        convert=None, convert_all=None, error=ValueError,
    )  # fmt: skip
    return {"emx-onnx-cgen C float32": act}


PEERS = {
    "torch": torches,
    "ai_edge_litert": litert,
    "openvino": openvino,
    "executorch": executorch,
    "emx_onnx_cgen": emx,
}
"""By the package that has to be installed."""
