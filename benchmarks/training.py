"""The time of an optimizer step on four students at once: ours against torch's eager mode, one core, interleaved.

python benchmarks/training.py [--rounds 7]. Torch multiplies four students in batches and takes steps of Adam (fused);
ours takes steps of SOAP, which costs several products more. It needs torch.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
import torch

from lilliput.policies import layers
from lilliput.policies.students import Inputs, Quantization, Replay, Students, Trainer

INPUTS, OUTPUTS, RESTARTS, BATCH, STEPS = 17, 6, 4, 256, 300
SHAPES = ((24,), (36, 36), (72, 72), (256, 256))


def ours(hidden: tuple[int, ...], replay: Replay, quantized: bool) -> Trainer:
    """Students in the middle of their training."""
    rng = np.random.default_rng(0)
    students = Students((INPUTS, *hidden, OUTPUTS), "silu", RESTARTS, Inputs.of(replay.observations), rng)
    if quantized:
        students.quantize(Quantization((6,) * (len(hidden) + 1), per_channel=True), replay.observations[:4096])
    return Trainer(students, (layers.SquashAction(),), "l2", replay.targets, (), rng)


def seconds_of_ours(trainer: Trainer, replay: Replay, n: int) -> float:
    """A step."""
    started = time.perf_counter()
    trainer.run(replay, n, batch=BATCH, done=0, total=10_000, learning_rate=1e-3)
    return (time.perf_counter() - started) / n


def seconds_of_torch(hidden: tuple[int, ...], replay: Replay, n: int) -> float:
    """A step of real students."""
    sizes = (INPUTS, *hidden, OUTPUTS)
    weights = [(torch.randn(RESTARTS, a, b) / a**0.5).requires_grad_() for a, b in itertools.pairwise(sizes)]
    biases = [torch.zeros(RESTARTS, 1, b, requires_grad=True) for b in sizes[1:]]
    x, y = torch.tensor(replay.observations), torch.tensor(replay.targets)
    adam = torch.optim.Adam([*weights, *biases], lr=1e-3, fused=True)
    started = time.perf_counter()
    for _ in range(n):
        rows = torch.randint(len(x), (RESTARTS * BATCH,))
        z = x[rows].view(RESTARTS, BATCH, -1)
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = torch.baddbmm(bias, torch.nn.functional.silu(z) if index else z, weight)
        ((torch.tanh(z) - y[rows].view(RESTARTS, BATCH, -1)) ** 2).mean().backward()
        adam.step()
        adam.zero_grad()
    return (time.perf_counter() - started) / n


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    replay = Replay(INPUTS, OUTPUTS)
    x = rng.standard_normal((60_000, INPUTS)).astype(np.float32)
    replay.add(x, np.tanh(x @ rng.standard_normal((INPUTS, OUTPUTS))).astype(np.float32))
    print("| hidden | torch, Adam, ms | ours, SOAP, ms | ratio | ours quantized, ms | ratio |")
    print("|---|--:|--:|--:|--:|--:|")
    for hidden in SHAPES:
        n = STEPS if sum(hidden) < 200 else STEPS // 10
        real, quantized = (ours(hidden, replay, quantized) for quantized in (False, True))
        times: list[tuple[float, float, float]] = []
        for _ in range(rounds):
            theirs = seconds_of_torch(hidden, replay, n)
            times.append((theirs, seconds_of_ours(real, replay, n), seconds_of_ours(quantized, replay, n)))
        a, b, c = (1e3 * statistics.median(one) for one in zip(*times, strict=True))
        print(
            f"| {'-'.join(map(str, hidden))} | {a:.2f} | {b:.2f} | {a / b:.1f}x | {c:.2f} | {a / c:.1f}x |", flush=True
        )


if __name__ == "__main__":
    main()
