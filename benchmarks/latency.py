"""Time of one decision from Python, batch 1, one thread, numpy in and out: Lilliput's C beside its peers.

python benchmarks/latency.py [mlp17 mlp376 cnn pruned pruned376 go1 g1 heights] [--rounds N] [--peers torch ...]
What is not installed is named and left out. --busy: for a machine that others use, the fastest of many short rounds.
"""

import argparse
import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from peers import CONVOLUTIONS, PEERS

from lilliput.compiler import FOR_THIS_PROCESSOR, cache_folder, find_compiler
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor, quantize_weights
from lilliput.policies.export import export, open_artifact
from lilliput.policies.policy import Policy

BURST_S = 6e-3
Act = Callable[[np.ndarray], np.ndarray]

MLPS = {
    "mlp17": (17, 256, 256, 6),
    "mlp376": (376, 256, 256, 17),
    "pruned": (17, 26, 26, 6),
    "pruned376": (376, 26, 26, 17),
    "go1": (48, 512, 256, 128, 12),
    "g1": (96, 512, 256, 128, 29),
    "heights": (705, 512, 256, 128, 12),
}


def main() -> int:
    """0 once every table was printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "networks", nargs="*", default=["mlp17", "mlp376", "cnn", "pruned", "pruned376", "go1", "g1", "heights"]
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--busy", action="store_true", help="the fastest of ten times as many rounds, not the median")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), help="packages, if installed")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"instruction set of Lilliput's C: {instruction_set()}; compiled into {cache_folder()}")
    ours = "saturate: uint8 weights are used" if saturates() else "are exact: int8 weights are used"
    print(f"onnxruntime's uint8 x int8 sums {ours}")
    for name in arguments.networks:
        run(name, arguments.rounds, arguments.peers, busy=arguments.busy)
    return 0


def run(name: str, rounds: int, chosen: list[str], *, busy: bool) -> None:
    """Print the table of one network."""
    rng = np.random.default_rng(0)
    weights = random_weights(name, rng)
    policy = policy_of(name, weights)
    observations = observations_of(policy, 32, rng)
    with tempfile.TemporaryDirectory() as folder:
        acts, absent = runtimes(name, policy, weights, observations, Path(folder), chosen)
        exact, rows = reference.act(policy, observations), list(observations)
        errors = {
            key: max(float(np.abs(act(x).reshape(-1) - y).max()) for x, y in zip(rows, exact, strict=True))
            for key, act in acts.items()
        }
        times: dict[str, list[float]] = {key: [] for key in acts}
        length = BURST_S / 10 if busy else BURST_S
        calls = {
            key: max(1, int(length / min(burst(act, rows[0], 10) for _ in range(10)))) for key, act in acts.items()
        }
        loops = {f"lilliput C {kind}": c_loop(Path(folder) / at, codes=at == "static") for kind, at in LOOPS.items()}
        for _ in range(10 * rounds if busy else rounds):
            for key, act in acts.items():
                burst(act, rows[0], max(1, calls[key] // 10))
                times[key].append(burst(act, rows[0], calls[key]))
    base = times["onnxruntime float32 run"]
    print(f"\n{name}: {policy.n_macs} multiply-accumulates; error: largest difference of an action from float32")
    print(f"{'':34s} {'us':>9s} {'x faster than onnxruntime float32 run':>12s}   error")
    for key, values in times.items():
        if busy:
            seconds, ratio = min(values), min(base) / min(values)
        else:
            seconds = statistics.median(values)
            ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
        print(f"{key:34s} {seconds * 1e6:9.3f} {ratio:12.2f}   {errors[key]:.1e}")
    for kind, loop in loops.items():
        bits = 8 if "int8" in kind else 32
        act, byte, cycle, vector, products = loop
        is_large = policy.n_parameters * bits / 8 > 1 << 20
        limit = limit_us(policy, bits, products, byte if is_large else cycle / 64, cycle / 2)
        reached = limit_us(policy, bits, products, byte, vector)
        print(f"{kind + ' inside a C loop':34s} {act:9.3f} {act / limit:11.2f}x the limit of {limit:.3f} us;", end=" ")
        print(f"{act / reached:.2f}x the {reached:.3f} us of plain loops, which reach", end=" ")
        print(f"{cycle / byte:.0f} bytes and {cycle / vector:.1f} vectors a cycle")
    for line in absent:
        print(f"absent: {line}")


def burst(act: Act, observation: np.ndarray, calls: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        act(observation)
    return (time.perf_counter() - start) / calls


LOOPS = {"float32": "f32", "int8 static": "static"}


def c_loop(
    artifact: Path, *, codes: bool, flags: tuple[str, ...] = FOR_THIS_PROCESSOR
) -> tuple[float, float, float, float, int]:
    """Microseconds: a decision without Python, a byte read, a cycle, a vector multiplied; and the vector's products."""
    header = (artifact / "policy.h").read_text()
    number, size = ("uint8_t" if "const uint8_t *observation" in header else "float"), artifact.joinpath("policy.c")
    weights = int(header.split(" bytes of constants")[0].split()[-1])
    (artifact / "loop.c").write_text(Path(__file__).with_name("loop.c").read_text())
    calls = 20 if weights > 1 << 20 else 100
    command = [*find_compiler(), "-std=c99", *flags, "-ffp-contract=off", f"-DNUMBER={number}"]
    command += [
        f"-DBYTES={weights}",
        f"-DCALLS={calls}",
        f"-DCODES={int(codes)}",
        "loop.c",
        str(size),
        "-lm",
        "-o",
        "loop",
    ]
    subprocess.run(command, cwd=artifact, check=True)
    done = subprocess.run(["./loop"], cwd=artifact, check=True, capture_output=True, text=True)
    act, byte, cycle, vector, products = map(float, done.stdout.split())
    return act, byte, cycle, vector, int(products)


def limit_us(policy: Policy, bits: int, products: int, byte_us: float, vector_us: float) -> float:
    """What the reading of the weights or the multiply-accumulates take, whichever is longer, layer after layer.

    The physical limit is reckoned with 64 bytes a cycle for up to 1 MB of weights, or as fast as memory was read, and
    two of the processor's vectors a cycle, with so many products each; what plain loops reach here stands beside it.
    """
    seconds, shapes = 0.0, [x.shape[1:] for x in reference.layer_inputs(policy, observations_of(policy, 1, RNG))]
    for layer, following in zip(policy.layers, [*shapes[1:], None], strict=False):
        if isinstance(layer, layers.Dense | layers.Conv2d):
            pixels = int(np.prod(following[1:])) if isinstance(layer, layers.Conv2d) and following else 1
            arithmetic = layer.weight.size * pixels / products * vector_us
            seconds += max(arithmetic, layer.weight.size * bits / 8 * byte_us)
    return seconds


RNG = np.random.default_rng(1)


def instruction_set() -> str:
    """The vector instructions that the host's compiler will use, as far as the kernels care."""
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
    name: str,
    policy: Policy,
    weights: list[tuple[np.ndarray, np.ndarray]],
    observations: np.ndarray,
    folder: Path,
    chosen: list[str],
) -> tuple[dict[str, Act], list[str]]:
    """Everything that runs the network here, by name, and a line for what is absent."""
    acts: dict[str, Act] = {}
    absent: list[str] = []
    export(policy, "c", folder / "f32", observations=observations, name="policy")
    acts["lilliput C float32"] = open_artifact(folder / "f32")
    for kind in ("static", "dynamic"):
        small = quantized(policy, observations, static=kind == "static")
        export(small, "c", folder / kind, observations=observations, name="policy")
        acts[f"lilliput C int8 {kind}"] = open_artifact(folder / kind)
    export(policy, "onnx", folder / "onnx", observations=observations)
    model = folder / "onnx" / "model.onnx"
    acts |= onnxruntimes(model, folder, observations)
    for package, add in PEERS.items():
        if package not in chosen:
            continue
        if importlib.util.find_spec(package) is None:
            absent.append(f"{package} is not installed")
            continue
        try:
            acts |= add(name, weights, observations, model, folder)
        except Exception as error:  # noqa: BLE001
            absent.append(f"{package}: {type(error).__name__} {str(error)[:120]}")
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

        def get_next(self) -> Any:
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

    # Where its uint8 x int8 sums saturate it is given the weights with which it is exact, as a user who knows would.
    # Its static quantization takes uint8 weights with uint8 inputs alone.
    kind = QuantType.QUInt8 if saturates() else QuantType.QInt8
    quantize_dynamic(model, folder / "dynamic.onnx", weight_type=kind, per_channel=True)
    quantize_static(model, folder / "static.onnx", Reader(), activation_type=kind, weight_type=kind, per_channel=True)
    return {
        "onnxruntime float32 run": runner(model),
        "onnxruntime float32 IOBinding": with_binding,
        "onnxruntime int8 dynamic": runner(folder / "dynamic.onnx"),
        "onnxruntime int8 static": runner(folder / "static.onnx"),
    }


def saturates() -> bool:
    """Whether onnxruntime's products of uint8 inputs and int8 weights are wrong on this processor."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.full((64, 8), 127, np.int8), "w")
    into = helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 64))
    out = helper.make_tensor_value_info("y", TensorProto.INT32, (1, 8))
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "products", [into], [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, {"x": np.full((1, 64), 255, np.uint8)})[0])
    return bool((found != 64 * 255 * 127).any())


if __name__ == "__main__":
    sys.exit(main())
