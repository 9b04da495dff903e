"""Environment steps a second: the compiled C policy in Lilliput's episodes against Stable-Baselines3's evaluate_policy.

Same policy, environment and seeds, one environment, torch at one thread, one core; all ways take turns, and ratios
are taken within a round. The policy is the public SAC policy for HalfCheetah (256-256) where LILLIPUT_POLICIES names
the folder of the public ones, else an untrained one of that shape.

    python benchmarks/environment_steps.py [--rounds 15] [--environment HalfCheetah-v4]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import gymnasium.spaces  # noqa: F401 (the old file asks for it)
import numpy as np

from lilliput.policies.export import export, open_artifact
from lilliput.policies.load import load_policy
from lilliput.policies.play import EnvironmentSpec, SameAct, Stage, make_environment

Play = Callable[[int], tuple[int, float]]
"""One episode of that seed: its steps and its return."""


def load_framework_model(environment: str, scratch: Path) -> tuple[Any, Path]:
    """The policy as Stable-Baselines3 runs it, and the file that it is in."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    folder = os.environ.get("LILLIPUT_POLICIES")
    public = Path(folder, "sac", "HalfCheetah-v3_1", "HalfCheetah-v3.zip") if folder else None
    if public is not None and public.exists() and environment.startswith("HalfCheetah"):
        # The file is from before gymnasium.
        for name in [name for name in sys.modules if name.split(".")[0] == "gymnasium"]:
            sys.modules[name.replace("gymnasium", "gym", 1)] = sys.modules[name]
        replaced = {"lr_schedule": None, "learning_rate": 0.0, "clip_range": None, "buffer_size": 1}
        return SAC.load(public, custom_objects=replaced, device="cpu"), public
    model = SAC("MlpPolicy", environment, policy_kwargs={"net_arch": [256, 256]}, seed=0, device="cpu")
    source = scratch / "untrained.zip"
    model.save(source)
    return model, source


def ways(environment: str, model: Any, source: Path, scratch: Path) -> dict[str, Play]:
    """Every way to play, by name."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    vec = make_vec_env(environment, 1)
    policy = load_policy(source)
    actors = {format_: open_artifact(export(policy, format_, scratch / format_).folder) for format_ in ("c", "onnx")}
    raw = make_environment(environment)
    actions: dict[int, list[Any]] = {}

    def framework(seed: int) -> tuple[int, float]:
        vec.seed(seed)
        returns, lengths = evaluate_policy(model, vec, 1, return_episode_rewards=True)
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        return lengths[0], returns[0]

    def ours(act: Any) -> Play:
        stage = Stage(EnvironmentSpec(environment))

        def play(seed: int) -> tuple[int, float]:
            episode = stage.play(seed, SameAct(act))
            return episode.length, episode.episode_return

        return play

    def replay(seed: int) -> tuple[int, float]:
        """The environment alone, under the actions of the C policy."""
        if seed not in actions:
            return record(seed)
        raw.reset(seed=seed)
        total = 0.0
        for action in actions[seed]:
            total += float(raw.step(action)[1])
        return len(actions[seed]), total

    def record(seed: int) -> tuple[int, float]:
        taken: list[Any] = []

        def act(observation: Any) -> Any:
            taken.append(np.array(actors["c"](observation)))
            return taken[-1]

        played = ours(act)(seed)
        actions[seed] = taken
        return played

    return {
        "Stable-Baselines3 evaluate_policy": framework,
        "Lilliput, C artifact": ours(actors["c"]),
        "Lilliput, ONNX artifact": ours(actors["onnx"]),
        "environment alone, actions replayed": replay,
    }


def main() -> None:
    """Nothing; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--environment", default="HalfCheetah-v4")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.environment.endswith("-v4"):
        import mujoco

        # Else it writes what it thinks of old models into a file here.
        mujoco.set_mju_user_warning(lambda _: None)  # pyright: ignore[reportAttributeAccessIssue]
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model, source = load_framework_model(arguments.environment, scratch)
        players = ways(arguments.environment, model, source, scratch)
        print(f"{arguments.environment}, {source.name}, {arguments.rounds} rounds of one episode each")
        print("returns of seed 0: " + ", ".join(f"{name} {play(0)[1]:.2f}" for name, play in players.items()))
        speeds: dict[str, list[float]] = {name: [] for name in players}
        rng = np.random.default_rng(0)
        for seed in range(arguments.rounds):
            players["environment alone, actions replayed"](seed)
            for name in rng.permutation(list(players)).tolist():
                start = time.perf_counter()
                steps, _ = players[name](seed)
                speeds[name].append(steps / (time.perf_counter() - start))
    base = speeds["Stable-Baselines3 evaluate_policy"]
    print(f"{'steps a second':<38} {'median':>8} {'best':>8} {'ratio':>7} {'lowest':>7} {'highest':>7}")
    for name, found in speeds.items():
        ratios = [a / b for a, b in zip(found, base, strict=True)]
        speed, ratio = statistics.median(found), statistics.median(ratios)
        print(f"{name:<38} {speed:>8.0f} {max(found):>8.0f} {ratio:>7.2f} {min(ratios):>7.2f} {max(ratios):>7.2f}")


if __name__ == "__main__":
    main()
