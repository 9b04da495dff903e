"""Time of one decision from Python, batch 1, one thread, numpy in and out: Lilliput's C beside its peers.

python benchmarks/latency.py [mlp17 mlp376 cnn pruned] [--rounds N]. What is not installed is named and left out.
"""

import argparse
import importlib.util
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from lilliput import layers, reference, spaces
from lilliput.affine import QuantizedTensor, quantize_weights
from lilliput.export import export
from lilliput.policy import Policy
from lilliput.runtime import open_artifact
from lilliput.runtime.compiler import cache_folder

BURST_S = 6e-3
Act = Callable[[np.ndarray], np.ndarray]

MLPS = {"mlp17": (17, 256, 256, 6), "mlp376": (376, 256, 256, 17), "pruned": (17, 26, 26, 6)}
CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def main() -> int:
    """0 once every table was printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["mlp17", "mlp376", "cnn", "pruned"])
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"instruction set of Lilliput's C: {instruction_set()}; compiled into {cache_folder()}")
    for name in arguments.networks:
        run(name, arguments.rounds)
    return 0


def run(name: str, rounds: int) -> None:
    """Nothing; prints the table of one network."""
    rng = np.random.default_rng(0)
    weights = random_weights(name, rng)
    policy = policy_of(name, weights)
    observations = observations_of(policy, 32, rng)
    with tempfile.TemporaryDirectory() as folder:
        acts, absent = runtimes(name, policy, weights, observations, Path(folder))
        exact = reference.act(policy, observations)
        errors = {
            key: max(float(np.abs(act(x).reshape(-1) - y).max()) for x, y in zip(observations, exact, strict=True))
            for key, act in acts.items()
        }
        times: dict[str, list[float]] = {key: [] for key in acts}
        calls = {key: max(1, int(BURST_S / burst(act, observations[0], 10))) for key, act in acts.items()}
        for _ in range(rounds):
            for key, act in acts.items():
                burst(act, observations[0], max(1, calls[key] // 10))
                times[key].append(burst(act, observations[0], calls[key]))
    base = times["onnxruntime float32 run"]
    print(f"\n{name}: {policy.n_macs} multiply-accumulates; error: largest difference of an action from float32")
    print(f"{'':34s} {'us':>9s} {'x faster than onnxruntime float32 run':>12s}   error")
    for key, values in times.items():
        ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
        print(f"{key:34s} {statistics.median(values) * 1e6:9.3f} {ratio:12.2f}   {errors[key]:.1e}")
    for line in absent:
        print(f"absent: {line}")


def burst(act: Act, observation: np.ndarray, calls: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        act(observation)
    return (time.perf_counter() - start) / calls


def instruction_set() -> str:
    """The vector instructions that the host's compiler will use, as far as the kernels care."""
    import subprocess

    from lilliput.runtime.compiler import FOR_THIS_PROCESSOR, find_compiler

    command = [*find_compiler(), *FOR_THIS_PROCESSOR, "-dM", "-E", "-x", "c", os.devnull]
    defined = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = ("AVX512F", "AVX512VNNI", "AVX512VBMI2", "AVX2", "FMA", "ARM_NEON", "ARM_FEATURE_DOTPROD")
    return ", ".join(name for name in names if f"__{name}__ " in defined or f"__{name} " in defined) or "portable"


def random_weights(name: str, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the linear layers, in order."""
    shapes: list[tuple[int, ...]] = []
    if name == "cnn":
        channels = 4
        for outputs, kernel, _ in CONVOLUTIONS:
            shapes.append((outputs, channels, kernel, kernel))
            channels = outputs
        shapes += [(512, 3136), (6, 512)]
    else:
        sizes = MLPS[name]
        shapes += [(rows, width) for width, rows in itertools.pairwise(sizes)]
    return [
        (
            (rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)).astype(np.float32),
            rng.normal(0, 0.05, shape[0]).astype(np.float32),
        )
        for shape in shapes
    ]


def policy_of(name: str, weights: list[tuple[np.ndarray, np.ndarray]]) -> Policy:
    """The float32 policy."""
    low, high = np.array(-np.inf), np.array(np.inf)
    stack: list[layers.Layer] = []
    if name == "cnn":
        one = [np.array(value, np.float32) for value in (0, 1 / 255, np.inf)]
        stack.append(layers.Standardize(*one))
        for (weight, bias), (_, _, stride) in zip(weights, CONVOLUTIONS, strict=False):
            stack += [layers.Conv2d(weight, bias, (stride, stride)), layers.Relu()]
        stack += [layers.Flatten(), layers.Dense(*weights[3]), layers.Relu(), layers.Dense(*weights[4])]
        space = spaces.Box((4, 84, 84), np.array(0.0), np.array(255.0), "uint8")
        return Policy(space, spaces.Box((6,), low, high), tuple(stack))
    for weight, bias in weights:
        stack += [layers.Dense(weight, bias), layers.Relu()]
    stack[-1] = layers.SquashAction()
    inputs, actions = weights[0][0].shape[1], len(weights[-1][0])
    return Policy(spaces.Box((inputs,), low, high), spaces.Box((actions,), np.array(-1.0), np.array(1.0)), tuple(stack))


def observations_of(policy: Policy, n: int, rng: np.random.Generator) -> np.ndarray:
    """Raw observations."""
    shape = (n, *spaces.input_shape(policy.observation_space))
    if spaces.input_dtype(policy.observation_space) == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.normal(0, 1, shape).astype(np.float32)


def quantized(policy: Policy, observations: np.ndarray, *, static: bool) -> Policy:
    """The policy in int8, one weight scale a channel; static ranges are the observations'."""
    stack: list[layers.Layer] = []
    for layer, x in zip(policy.layers, reference.layer_inputs(policy, observations), strict=False):
        if not isinstance(layer, layers.Dense | layers.Conv2d):
            stack.append(layer)
            continue
        axes = tuple(range(1, layer.weight.ndim))
        scale = (np.abs(layer.weight).max(axis=axes) / 127).astype(np.float32)
        weight = quantize_weights(layer.weight, scale, 8)
        range_: layers.InputRange = layers.DynamicRange()
        bias = layer.bias
        if static:
            low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
            unit = np.float32((high - low) / 255)
            zero = np.array(round(-low / float(unit)), np.int32)
            range_ = layers.StaticRange(np.array(1 / unit, np.float32), zero)
            shift = weight.values.astype(np.int64).sum(axis=axes) * int(zero) * (scale * unit)
            assert bias is not None
            bias, weight = (bias - shift).astype(np.float32), QuantizedTensor(weight.values, scale * unit, 8)
        if isinstance(layer, layers.Dense):
            stack.append(layers.QuantizedDense(weight, bias, range_))
        else:
            stack.append(layers.QuantizedConv2d(weight, bias, range_, layer.stride, layer.padding))
    return Policy(policy.observation_space, policy.action_space, tuple(stack))


def runtimes(
    name: str, policy: Policy, weights: list[tuple[np.ndarray, np.ndarray]], observations: np.ndarray, folder: Path
) -> tuple[dict[str, Act], list[str]]:
    """Everything that runs the network here, by name, and a line for what is absent."""
    acts: dict[str, Act] = {}
    absent: list[str] = []
    export(policy, "c", folder / "f32", observations=observations)
    acts["lilliput C float32"] = open_artifact(folder / "f32")
    for kind in ("static", "dynamic"):
        small = quantized(policy, observations, static=kind == "static")
        export(small, "c", folder / kind, observations=observations)
        acts[f"lilliput C int8 {kind}"] = open_artifact(folder / kind)
    export(policy, "onnx", folder / "onnx", observations=observations)
    model = folder / "onnx" / "model.onnx"
    acts |= onnxruntimes(model, folder, observations)
    for package, add in (("torch", torches), ("ai_edge_litert", litert), ("openvino", openvino)):
        if importlib.util.find_spec(package) is None:
            absent.append(f"{package} is not installed")
            continue
        try:
            acts |= add(name, weights, observations, model, folder)
        except (ImportError, RuntimeError, ValueError, AttributeError, TypeError) as error:
            absent.append(f"{package}: {str(error)[:120]}")
    return acts, absent


def onnxruntimes(model: Path, folder: Path, observations: np.ndarray) -> dict[str, Act]:
    """Onnxruntime on the exported model: run, bound buffers, and its own int8 where its tools take the model."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

    def session(path: Path) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def runner(path: Path) -> Act:
        opened = session(path)
        return lambda x: opened.run(None, {"observation": x[None]})[0][0]

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(observations)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {"observation": row[None]}

    bound = session(model)
    binding = bound.io_binding()
    held = observations[:1].copy()
    output = np.zeros(bound.run(None, {"observation": held})[0].shape, np.float32)
    binding.bind_input("observation", "cpu", 0, held.dtype.type, held.shape, held.ctypes.data)
    binding.bind_output("action", "cpu", 0, np.float32, output.shape, output.ctypes.data)

    def with_binding(x: np.ndarray) -> np.ndarray:
        held[0] = x
        bound.run_with_iobinding(binding)
        return output[0].copy()

    quantize_dynamic(model, folder / "dynamic.onnx", weight_type=QuantType.QInt8, per_channel=True)
    quantize_static(model, folder / "static.onnx", Reader(), weight_type=QuantType.QInt8, per_channel=True)
    return {
        "onnxruntime float32 run": runner(model),
        "onnxruntime float32 IOBinding": with_binding,
        "onnxruntime int8 dynamic": runner(folder / "dynamic.onnx"),
        "onnxruntime int8 static": runner(folder / "static.onnx"),
    }


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
    inputs = {id(row): torch_input(row)[None] for row in observations}
    cache: dict[int, np.ndarray] = {}

    def on_ready(x: np.ndarray) -> np.ndarray:
        found = cache.get(id(x))
        if found is None:
            found = cache[id(x)] = inputs.get(id(x), torch_input(x)[None])
        return act(found)

    return on_ready


def torches(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """Torch, eager."""
    import torch

    torch.set_num_threads(1)
    module = torch_module(name, weights)

    def eager(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()[0]

    return {"torch eager": prepared(observations, eager)}


def litert(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """LiteRT, float32 and int8 with dynamic ranges, converted by litert-torch."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    def runner(path: Path) -> Act:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        given, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def act(x: np.ndarray) -> np.ndarray:
            interpreter.set_tensor(given, x)
            interpreter.invoke()
            return interpreter.get_tensor(taken)[0]

        return prepared(observations, act)

    sample = (torch.from_numpy(torch_input(observations[:1])),)
    litert_torch.convert(torch_module(name, weights), sample).export(str(folder / "f32.tflite"))
    found = {"LiteRT float32": runner(folder / "f32.tflite")}
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(folder / "f32.tflite"), recipe.dynamic_wi8_afp32())
    made.quantize().export_model(str(folder / "dynamic.tflite"))
    found["LiteRT int8 dynamic"] = runner(folder / "dynamic.tflite")
    return found


def openvino(name: str, weights: Any, observations: np.ndarray, model: Path, folder: Path) -> dict[str, Act]:
    """OpenVINO with float32 forced."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return {"openvino float32": lambda x: next(iter(request.infer([x[None]]).values()))[0]}


if __name__ == "__main__":
    sys.exit(main())
