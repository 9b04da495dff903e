"""How a small policy walks beside its large one: return, falls, speeds, disturbances, and the time of a decision.

PYTHONPATH=examples python benchmarks/walks.py go1/policy.onnx go1-small/ robots:Go1-v0 [--episodes 20]
The second is a folder of `shrink`, or whatever loads. Both play the same episodes, from the C that was exported; their
disturbances are the same too. The peers' times are of the large policy, in turns with both: `torch` runs a TorchScript
file as it is, or the layers of another; `onnxruntime` an ONNX file as it is, or the same LSTM as torch exports it,
and by its own dynamic int8; OpenVINO the same file, where it is installed.
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from lilliput.policies import layers, spaces
from lilliput.policies.compress import compress
from lilliput.policies.export import export, open_artifact
from lilliput.policies.load import load_policy
from lilliput.policies.play import make_environment, random_returns
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor
from lilliput.statistics.quantile import student_t_quantile

PERTURBED = "lilliput.study.perturbed:Perturbed-v0"
CONDITIONS: dict[str, dict[str, float]] = {
    "as in training": {},
    "pushes of up to 1 m/s": {"push": 1.0},
    "3 kg on its back": {"payload": 3.0},
    "masses x 1.3": {"mass": 1.3},
    "friction x 0.6": {"friction": 0.6},
    "actions 20 ms late": {"action_delay": 1},
    "noise of 0.05 on observations": {"observation_noise": 0.05},
}
SETTLED = 25
"""Decisions after a new command from which on the speed is held against it: half a second."""
MARGIN = 0.05
"""A share of the large policy's undisturbed return above random actions: so much more loses who stands no less."""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("env")
    parser.add_argument("--episodes", type=int, default=20, help="0: times alone")
    parser.add_argument("--seed", type=int, default=10_000, help="of the first episode")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.episodes)
    with tempfile.TemporaryDirectory() as scratch:
        large = load_policy(options.large)
        export(large, "c", Path(scratch) / "large")
        acts = {"large": open_artifact(Path(scratch) / "large"), "small": _opened(options.small, Path(scratch))}
        if seeds:
            _walks(acts, options.env, seeds)
        _times(acts, large, options.large)


def _opened(source: Path, scratch: Path) -> Actor:
    if (source / "artifact").is_dir():
        return open_artifact(source / "artifact")
    export(load_policy(source), "c", scratch / "small")
    return open_artifact(scratch / "small")


Played = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""An episode each: return, whether it fell; a settled decision each: the command and the velocity, (n, 3)."""


def _walks(acts: dict[str, Actor], environment: str, seeds: range) -> None:
    random = random_returns(environment, seeds).mean()
    plain: dict[str, Played] = {}
    print(f"random actions: {random:.2f}; {len(seeds)} episodes from seed {seeds[0]}\n")
    print("| | return: large, small | kept | falls | worst tenth | small loses more | stands |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for name, changed in CONDITIONS.items():
        played = {key: _play(act, environment, changed, seeds) for key, act in acts.items()}
        plain = plain or played
        large, small = (played[key][0] for key in ("large", "small"))
        span = plain["large"][0].mean() - random
        more = ((large - small) - (plain["large"][0] - plain["small"][0])) / span
        half = student_t_quantile(0.975, len(more) - 1) * more.std(ddof=1) / len(more) ** 0.5
        low, high = more.mean() - half, more.mean() + half
        answer = "" if not changed else "less" if low > 0 else "no less" if high <= MARGIN else "undecided"
        lost = "" if not changed else f"{100 * more.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        kept = (small.mean() - random) / (large.mean() - random)
        falls = " / ".join(str(int(played[key][1].sum())) for key in acts)
        worst = " / ".join(f"{np.sort(x)[: max(1, len(x) // 10)].mean():.1f}" for x in (large, small))
        means = f"{large.mean():.2f}, {small.mean():.2f}"
        print(f"| {name} | {means} | {100 * kept:.1f} % | {falls} | {worst} | {lost} | {answer} |", flush=True)
    print("\nroot mean square of what the speeds are off, from half a second after a command on (m/s, m/s, rad/s)\n")
    print("| command | share of the time | large | small |")
    print("|---|--:|--:|--:|")
    for name, chosen in KINDS.items():
        cells = []
        for _, _, commands, speeds in plain.values():
            rows = chosen(commands)
            off = np.sqrt(np.mean((commands - speeds)[rows] ** 2, axis=0)) if rows.any() else np.full(3, np.nan)
            cells.append(", ".join(f"{x:.2f}" for x in off))
        print(f"| {name} | {100 * chosen(plain['large'][2]).mean():.0f} % | {' | '.join(cells)} |")


def _of_most(axis: int, sign: float) -> Callable[[np.ndarray], np.ndarray]:
    def chosen(commands: np.ndarray) -> np.ndarray:
        return (np.abs(commands).argmax(axis=1) == axis) & (sign * commands[:, axis] > 0)

    return chosen


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "stand": lambda commands: ~commands.any(axis=1),
    "mostly forward": _of_most(0, 1),
    "mostly back": _of_most(0, -1),
    "mostly sideways": lambda commands: _of_most(1, 1)(commands) | _of_most(1, -1)(commands),
    "mostly turn": lambda commands: _of_most(2, 1)(commands) | _of_most(2, -1)(commands),
}


def _play(act: Actor, name: str, changed: dict[str, float], seeds: range) -> Played:
    own = {key: value for key, value in changed.items() if key in ("push", "payload")}
    if len(own) == len(changed):
        environment = make_environment(name, environment_kwargs=own)
    else:
        environment = make_environment(PERTURBED, environment_kwargs={"of": name, **changed})
    returns, falls, commands, speeds = [], [], [], []
    try:
        for seed in seeds:
            decide = act.begin(seed)
            observation, _ = environment.reset(seed=seed)
            total, over, fell, told, since = 0.0, False, False, None, 0
            while not (over or fell):
                observation, reward, fell, over, info = environment.step(decide(observation))
                total += float(reward)
                since = since + 1 if told is not None and np.array_equal(told, info["command"]) else 0
                told = info["command"]
                if since >= SETTLED:
                    commands.append(told)
                    speeds.append(info["velocity"])
            returns.append(total)
            falls.append(fell)
    finally:
        environment.close()
    return np.array(returns), np.array(falls), np.array(commands).reshape(-1, 3), np.array(speeds).reshape(-1, 3)


def _times(acts: dict[str, Actor], policy: Policy, source: Path) -> None:
    import torch

    torch.set_num_threads(1)
    rng, n = np.random.default_rng(0), spaces.input_shape(policy.observation_space)[0]
    observation = rng.normal(0, 0.3, n).astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        export(compress(policy, "quantize()"), "c", Path(scratch) / "codes")
        acts = {**acts, "large in int8": open_artifact(Path(scratch) / "codes")}
        decide: dict[str, Callable[[np.ndarray], Any]] = {key: act.begin() for key, act in acts.items()}
        model = _onnx(policy, source, Path(scratch) / "model.onnx")
        decide["torch, TorchScript"] = _torch(policy, source)
        decide["onnxruntime"] = _onnxruntime(model)
        decide["onnxruntime int8 dynamic"] = _onnxruntime(_in_int8(model, Path(scratch)))
        if importlib.util.find_spec("openvino"):
            decide["OpenVINO float32"] = _openvino(model)
        expected = np.asarray(acts["large"].begin()(observation)).reshape(-1)
        for key in {"torch, TorchScript", "onnxruntime", "OpenVINO float32"} & set(decide):
            np.testing.assert_allclose(np.asarray(decide[key](observation)).reshape(-1), expected, atol=1e-4)
        times: dict[str, list[float]] = {key: [] for key in decide}
        for _ in range(40):
            for key, one in decide.items():
                calls = 400 if key in acts else 20
                start = time.process_time()
                for _ in range(calls):
                    one(observation)
                times[key].append((time.process_time() - start) / calls)
    named = " | ".join(f"{key} in C is faster" if key != "large in int8" else f"{key} is" for key in acts)
    print(f"\n| a decision from Python, in turns | processor time, us | {named} |")
    print("|---|--:|--:|--:|--:|")
    for key, values in times.items():
        faster = [statistics.median(a / b for a, b in zip(values, times[own], strict=True)) for own in acts]
        cells = " | ".join("" if key == own else f"{x:.1f}x" for own, x in zip(acts, faster, strict=True))
        print(f"| {key} | {statistics.median(values) * 1e6:.2f} | {cells} |")


def _torch(policy: Policy, source: Path) -> Callable[[np.ndarray], Any]:
    """What acts by torch: the file, or its layers traced where it is no TorchScript."""
    import torch

    module: Any
    if source.suffix == ".onnx":
        module = torch.jit.trace(_module(policy.layers), torch.zeros(1, *spaces.input_shape(policy.observation_space)))
    else:
        module = torch.jit.load(str(source))

    def act(x: np.ndarray) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(x[None])).numpy()

    return act


def _module(chain: tuple[layers.Layer, ...]) -> Any:
    """Layers without a memory in torch."""
    import torch
    from torch import nn

    class Fixed(nn.Module):
        def __init__(self, layer: layers.Standardize) -> None:
            super().__init__()
            self.mean, self.inverse = torch.tensor(layer.mean), torch.tensor(layer.scale)

        def forward(self, x: Any) -> Any:
            return (x - self.mean) * self.inverse

    found: list[Any] = []
    for layer in chain:
        match layer:
            case layers.Standardize():
                found.append(Fixed(layer))
            case layers.Dense(weight=weight, bias=bias):
                linear = nn.Linear(weight.shape[1], weight.shape[0])
                linear.weight.data = torch.tensor(weight)
                linear.bias.data = torch.tensor(np.zeros(len(weight), np.float32) if bias is None else bias)
                found.append(linear)
            case layers.Silu():
                found.append(nn.SiLU())
            case layers.Elu():
                found.append(nn.ELU(float(layer.alpha)))
            case layers.SquashAction():  # of a box from -1 to 1
                found.append(nn.Tanh())
            case _:
                raise TypeError(f"{type(layer).__name__} has no counterpart here")
    return nn.Sequential(*found).eval()


def _onnx(policy: Policy, source: Path, scratch: Path) -> Path:
    """The file, or an LSTM and the layers after it as torch exports them."""
    if source.suffix == ".onnx":
        return source
    _write_lstm(policy, scratch)
    return scratch


def _in_int8(model: Path, scratch: Path) -> Path:
    """The same with dynamic int8 by onnxruntime, prepared as it asks: an LSTM is left whole otherwise."""
    import onnxruntime.quantization as tools
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(model, scratch / "prepared.onnx")
    tools.quantize_dynamic(scratch / "prepared.onnx", scratch / "int8.onnx", per_channel=True)
    return scratch / "int8.onnx"


def _onnxruntime(model: Path) -> Callable[[np.ndarray], Any]:
    """What acts by onnxruntime, with one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name, *memory = (one.name for one in session.get_inputs())
    state: dict[str, Any] = {one: np.zeros((1, 1, 64), np.float32) for one in memory}

    def act(x: np.ndarray) -> Any:
        found = session.run(None, {name: x[None], **state})
        state.update(zip(memory, found[1:], strict=False))
        return found[0]

    return act


def _openvino(model: Path) -> Callable[[np.ndarray], Any]:
    """What acts by OpenVINO, with one thread and float32."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(str(model), "CPU", settings).create_infer_request()
    _, *memory = (one.any_name for one in request.model_inputs)
    state: list[Any] = [np.zeros((1, 1, 64), np.float32) for _ in memory]

    def act(x: np.ndarray) -> Any:
        found = list(request.infer([x[None], *state]).values())
        state[:] = [one.copy() for one in found[1:]]
        return found[0]

    return act


def _write_lstm(policy: Policy, path: Path) -> None:
    import torch
    from torch import nn

    memory, *after = policy.layers
    assert isinstance(memory, layers.Lstm)
    assert isinstance(memory.input, layers.Dense)
    assert isinstance(memory.recurrent, layers.Dense)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            outputs, inputs = memory.input.weight.shape
            self.rnn, self.head = nn.LSTM(inputs, outputs // 4), _module(tuple(after))
            for part, one in (("ih", memory.input), ("hh", memory.recurrent)):
                getattr(self.rnn, f"weight_{part}_l0").data = torch.tensor(one.weight)
                bias = np.zeros(outputs, np.float32) if one.bias is None else one.bias
                getattr(self.rnn, f"bias_{part}_l0").data = torch.tensor(bias)

        def forward(self, obs: Any, h: Any, c: Any) -> Any:
            x, (h, c) = self.rnn(obs[None], (h, c))
            return self.head(x[0]), h, c

    zeros = torch.zeros(1, 1, 64)
    example = (torch.zeros(1, *spaces.input_shape(policy.observation_space)), zeros, zeros)
    names = ["obs", "h_in", "c_in"], ["actions", "h_out", "c_out"]
    torch.onnx.export(Recurrent(), example, str(path), input_names=names[0], output_names=names[1], dynamo=False)


if __name__ == "__main__":
    main()
