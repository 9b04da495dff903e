"""Instructions of one decision on emulated microcontrollers: float32 and static int8, beside the C of emx-onnx-cgen.

python benchmarks/microcontrollers.py [--emx PATH/TO/emx-onnx-cgen] [--targets cortex-m4 ...]. The same compiler flags,
the same policy, the same board and harness for both; random weights, which do not change a count by much.
"""

import argparse
import itertools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from lilliput.measure import TARGETS, count
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import quantize_weights
from lilliput.policies.artifact import Artifact, read_artifact
from lilliput.policies.compress.calibrate import input_range, static_range
from lilliput.policies.export import export
from lilliput.policies.export import onnx as onnx_format
from lilliput.policies.policy import Policy

NETWORKS = {"17-64-64-6": (17, 64, 64, 6), "8-64-64-4": (8, 64, 64, 4), "17-256-256-6": (17, 256, 256, 6)}
ACTIVATIONS: dict[str, layers.Activation] = {"relu": layers.Relu(), "tanh": layers.Tanh()}


def main() -> None:
    """Prints one row a policy and target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emx", default=shutil.which("emx-onnx-cgen"), help="the peer's command")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--targets", nargs="+", default=["cortex-m0plus", "cortex-m3", "cortex-m4"])
    options = parser.parse_args()
    columns = "network | target | float32 | static int8 | int8 / float32 | int16 in, int8 | / float32"
    print(f"| {columns} | emx-onnx-cgen | / ours |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for network in options.networks:
        widths = NETWORKS[network]
        for name, activation in ACTIVATIONS.items():
            with tempfile.TemporaryDirectory() as scratch:
                real = policy(widths, activation)
                ours = export(real, "c", Path(scratch) / "float32", name="policy")
                codes = in_integers(real, widths)
                small = export(codes, "c", Path(scratch) / "int8")
                whole = export(codes, "c", Path(scratch) / "int16", observation="int16")
                peer = emx_artifact(options.emx, real, ours, Path(scratch) / "emx") if options.emx else None
                for target in options.targets:
                    print(row(f"{network} {name}", target, ours, small, whole, peer), flush=True)


def row(label: str, target: str, ours: Artifact, small: Artifact, whole: Artifact, peer: Artifact | None) -> str:
    """The counts of one policy on one target."""
    chosen = TARGETS[target]
    float32, int8, int16 = found = [count(artifact, chosen) for artifact in (ours, small, whole)]
    assert all(one.passes_selftest for one in found)
    theirs = "- | -"
    if peer is not None:
        other = count(peer, chosen)
        assert other.passes_selftest
        theirs = f"{other.instructions:,} | {other.instructions / float32.instructions:.2f}"
    shares = [f"{one.instructions:,} | {one.instructions / float32.instructions:.3f}" for one in (int8, int16)]
    return f"| {label} | {target} | {float32.instructions:,} | {' | '.join(shares)} | {theirs} |"


def policy(widths: tuple[int, ...], activation: layers.Activation) -> Policy:
    """An actor with a normalizer and a squashed action, of random weights."""
    rng = np.random.default_rng(0)
    n, k = widths[0], widths[-1]
    clip = np.array(10, np.float32)
    normalizer = layers.Standardize(
        rng.normal(0, 0.1, n).astype(np.float32), rng.uniform(0.8, 1.2, n).astype(np.float32), clip
    )
    stack: list[layers.Layer] = [normalizer]
    for inputs, outputs in itertools.pairwise(widths):
        weight = rng.normal(0, 1.5 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32)
        stack += [layers.Dense(weight, rng.normal(0, 0.3, outputs).astype(np.float32)), activation]
    stack[-1] = layers.SquashAction()
    infinite, one = np.array(np.inf), np.array(1.0)
    return Policy(spaces.Box((n,), -infinite, infinite), spaces.Box((k,), -one, one), tuple(stack))


def in_integers(real: Policy, widths: tuple[int, ...]) -> Policy:
    """The policy in static int8, a scale an output, an input range a layer, calibrated on normal inputs."""
    x = np.random.default_rng(1).normal(0, 1, (512, widths[0])).astype(np.float32)
    stack: list[layers.Layer] = []
    for layer in real.layers:
        quantized = layer
        if isinstance(layer, layers.Dense):
            low, high = input_range(x, 8, "minmax", per_dimension=False)
            range_ = static_range(low, high, 8)
            weight = layer.weight / range_.inverse_scale
            weight = quantize_weights(weight, np.abs(weight).max(axis=1) / np.float32(127), 8)
            shift = (weight.dequantize() * np.float32(range_.zero_point)).sum(axis=1)
            assert layer.bias is not None
            quantized = layers.QuantizedDense(weight, layer.bias - shift, range_)
        stack.append(quantized)
        x = reference.apply(quantized, x)
    return Policy(real.observation_space, real.action_space, tuple(stack))


def emx_artifact(command: str, real: Policy, ours: Artifact, folder: Path) -> Artifact:
    """Our artifact with the peer's C in the place of ours, so that the same harness tests and counts it."""
    import onnx

    model = onnx_format.build(real)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    shutil.copytree(ours.folder, folder)
    onnx.save(model, folder / "model.onnx")
    compiled = [
        command,
        "compile",
        "--large-temp-threshold",
        "0",
        "--large-weight-threshold",
        "0",
        "--model-name",
        "emx",
    ]
    subprocess.run([*compiled, "model.onnx", "emx.c"], cwd=folder, check=True, capture_output=True)
    n, k = real.observation_space.size, real.action_space.size
    (folder / "policy.c").write_text(
        '#include "policy.h"\n#include "emx.c"\n'
        "int policy_act(const float *observation, float *action)\n"
        f"{{\n    emx((const float (*)[{n}])observation, (float (*)[{k}])action);\n    return 0;\n}}\n"
    )
    # It sums in another order: what is asked here is that it decides the same, not to the last digit.
    text = (folder / "policy_selftest.c").read_text()
    (folder / "policy_selftest.c").write_text(re.sub(r"tolerance = [^;]+;", "tolerance = 1e-3;", text))
    return Artifact(folder, read_artifact(ours.folder).manifest)


if __name__ == "__main__":
    main()
