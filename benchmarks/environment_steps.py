"""Environment steps a second: the compiled C policy in Lilliput's episodes against Stable-Baselines3's evaluate_policy.

Same policy and environment, torch at one thread, one core; all ways take turns, and ratios are taken within a round,
of CPU seconds of this process. A round of Lilliput's side by side is many episodes, of the others one. The policy is a
public one where LILLIPUT_POLICIES names their folder and has one of the environment, else an untrained SAC of 256-256,
whose episodes go on when it falls.

    python benchmarks/environment_steps.py [--rounds 5] [--environments HalfCheetah-v4 ...]
"""

import argparse
import contextlib
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
"""The episode of that seed, or some from it on: steps, and the return of the first."""

PUBLIC = {"HalfCheetah": "sac", "Hopper": "trpo", "Walker2d": "tqc"}
"""The algorithm of the public policy that is played, by environment."""


def load_framework_model(environment: str, scratch: Path) -> tuple[Any, Path, Path | None, dict[str, Any]]:
    """The policy as its framework runs it; its source, its normalizer's file, and arguments of the environment."""
    import torch
    from sb3_contrib import TQC, TRPO
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    folder, stem = os.environ.get("LILLIPUT_POLICIES"), environment.partition("-")[0]
    name = f"{stem}-v3"
    public = Path(folder, PUBLIC[stem], f"{name}_1") if folder and stem in PUBLIC else None
    if public is not None and public.exists():
        # The file is from before gymnasium.
        for module in [module for module in sys.modules if module.split(".")[0] == "gymnasium"]:
            sys.modules[module.replace("gymnasium", "gym", 1)] = sys.modules[module]
        replaced = {"lr_schedule": None, "learning_rate": 0.0, "clip_range": None, "buffer_size": 1}
        kind = {"sac": SAC, "trpo": TRPO, "tqc": TQC}[PUBLIC[stem]]
        model = kind.load(public / f"{name}.zip", custom_objects=replaced, device="cpu")
        statistics_ = public / name / "vecnormalize.pkl"
        return model, public, statistics_ if statistics_.exists() else None, {}
    falls = stem in ("Ant", "Hopper", "Humanoid", "Walker2d")
    kwargs = {"terminate_when_unhealthy": False} if falls else {}
    made = make_environment(environment, environment_kwargs=kwargs)
    model = SAC("MlpPolicy", made, policy_kwargs={"net_arch": [256, 256]}, buffer_size=1, seed=0, device="cpu")
    source = scratch / "untrained.zip"
    model.save(source)
    return model, source, None, kwargs


def ways(environment: str, scratch: Path, at_once: int) -> dict[str, Play]:
    """Every way to play, by name."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize

    model, source, normalizer, kwargs = load_framework_model(environment, scratch)
    vec = make_vec_env(environment, 1, env_kwargs=kwargs)
    if normalizer is not None:
        vec = VecNormalize.load(str(normalizer), vec)
        vec.training = vec.norm_reward = False
    policy = load_policy(source)
    actors = {format_: open_artifact(export(policy, format_, scratch / format_).folder) for format_ in ("c", "onnx")}
    raw = make_environment(environment, environment_kwargs=kwargs)
    actions: dict[int, list[Any]] = {}
    spec = EnvironmentSpec(environment, kwargs=kwargs)

    def framework(seed: int) -> tuple[int, float]:
        vec.seed(seed)
        returns, lengths = evaluate_policy(model, vec, 1, return_episode_rewards=True)
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        return lengths[0], returns[0]

    def ours(act: Any) -> Play:
        stage = Stage(spec)

        def play(seed: int) -> tuple[int, float]:
            episode = stage.play(seed, SameAct(act))
            return episode.length, episode.episode_return

        return play

    def together(act: Any) -> Play:
        stage = Stage(spec)

        def play(seed: int) -> tuple[int, float]:
            episodes = [episode for episode, _ in stage.play_all(range(seed, seed + at_once), SameAct(act))]
            return sum(episode.length for episode in episodes), episodes[0].episode_return

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

    print(f"{environment}, {source.name}, {policy.n_parameters:,} parameters")
    return {
        "Stable-Baselines3 evaluate_policy": framework,
        f"Lilliput, C artifact, {at_once} episodes": together(actors["c"]),
        "Lilliput, C artifact": ours(actors["c"]),
        f"Lilliput, ONNX artifact, {at_once} episodes": together(actors["onnx"]),
        "Lilliput, ONNX artifact": ours(actors["onnx"]),
        "environment alone, actions replayed": replay,
    }


ENVIRONMENTS = ("HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4", "Humanoid-v4")


def main() -> None:
    """Print a table for every environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environments", nargs="+", default=ENVIRONMENTS)
    parser.add_argument("--at-once", type=int, default=64, help="episodes of a round that are played side by side")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):
        import mujoco

        # Else it writes what it thinks of old models into a file here.
        mujoco.set_mju_user_warning(lambda _: None)
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for environment in arguments.environments:
        with tempfile.TemporaryDirectory() as folder:
            measure(ways(environment, Path(folder), arguments.at_once), arguments.rounds)


def measure(players: dict[str, Play], rounds: int) -> None:
    """Print the table of these ways to play."""
    print("returns of seed 0: " + ", ".join(f"{name} {play(0)[1]:.2f}" for name, play in players.items()))
    speeds: dict[str, list[float]] = {name: [] for name in players}
    rng = np.random.default_rng(0)
    for seed in range(rounds):
        players["environment alone, actions replayed"](seed)
        for name in rng.permutation(list(players)).tolist():
            start = time.process_time()
            steps, _ = players[name](seed)
            speeds[name].append(steps / (time.process_time() - start))
    base = speeds["Stable-Baselines3 evaluate_policy"]
    print(f"{'steps a CPU second':<40} {'median':>8} {'best':>8} {'ratio':>7} {'lowest':>7} {'highest':>7}")
    for name, found in speeds.items():
        ratios = [a / b for a, b in zip(found, base, strict=True)]
        speed, ratio = statistics.median(found), statistics.median(ratios)
        print(
            f"{name:<40} {speed:>8.0f} {max(found):>8.0f} {ratio:>7.2f} {min(ratios):>7.2f} {max(ratios):>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
