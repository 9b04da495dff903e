"""The table of `lilliput shrink` on public policies: factor, retention, bound and time, one after the other.

LILLIPUT_POLICIES=... python benchmarks/shrink.py [name ...] [--within 10m] [--seed 0] [-o results/shrink]. Each name is
a folder of its own there, so that an interrupted table goes on; nothing else should run on the machine meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

POLICIES = {
    "ppo-HalfCheetah": ("ppo/HalfCheetah-v3_1/HalfCheetah-v3.zip", "HalfCheetah-v4", 350),
    "tqc-Walker2d": ("tqc/Walker2d-v3_1/Walker2d-v3.zip", "Walker2d-v4", 400),
    "sac-HalfCheetah": ("sac/HalfCheetah-v3_1/HalfCheetah-v3.zip", "HalfCheetah-v4", 130),
    "ppo-LunarLander": ("ppo/LunarLander-v2_1/LunarLander-v2.zip", "LunarLander-v3", 200),
    "a2c-BipedalWalker": ("a2c/BipedalWalker-v3_1/BipedalWalker-v3.zip", "BipedalWalker-v3", 60),
    "trpo-Hopper": ("trpo/Hopper-v3_1/Hopper-v3.zip", "Hopper-v4", 45),
    "dqn-LunarLander": ("dqn/LunarLander-v2_1/LunarLander-v2.zip", "LunarLander-v3", 300),
    "sac-Swimmer": ("sac/Swimmer-v3_1/Swimmer-v3.zip", "Swimmer-v4", 300),
    "ddpg-Pendulum": ("ddpg/Pendulum-v1_1/Pendulum-v1.zip", "Pendulum-v1", 300),
    "ppo-Walker2d": ("ppo/Walker2d-v3_1/Walker2d-v3.zip", "Walker2d-v4", 0),
    "trpo-HalfCheetah": ("trpo/HalfCheetah-v3_1/HalfCheetah-v3.zip", "HalfCheetah-v4", 0),
    "dqn-Acrobot": ("dqn/Acrobot-v1_1/Acrobot-v1.zip", "Acrobot-v1", 0),
    "sac-Pendulum": ("sac/Pendulum-v1_1/Pendulum-v1.zip", "Pendulum-v1", 0),
    "ppo-LunarLanderContinuous": (
        "ppo/LunarLanderContinuous-v2_1/LunarLanderContinuous-v2.zip",
        "LunarLanderContinuous-v3",
        0,
    ),
    "qrdqn-Acrobot": ("qrdqn/Acrobot-v1_1/Acrobot-v1.zip", "Acrobot-v1", 0),
    "ppo-CartPole": ("ppo/CartPole-v1_1/CartPole-v1.zip", "CartPole-v1", 0),
    "ars-Pendulum": ("ars/Pendulum-v1_1/Pendulum-v1.zip", "Pendulum-v1", 0),
    "ars-Hopper": ("ars/Hopper-v3_1/Hopper-v3.zip", "Hopper-v4", 0),
    "a2c-Humanoid": ("a2c/Humanoid-v3_1/Humanoid-v3.zip", "Humanoid-v4", 0),
}
"""By name: the file, the environment and the factor to reach (0: none was set)."""


def main() -> int:
    """0 where every target was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(POLICIES))
    parser.add_argument("--within", default="10m")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--seed", default="0")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/shrink"))
    arguments = parser.parse_args()
    folder = os.environ.get("LILLIPUT_POLICIES")
    if not folder:
        print("set LILLIPUT_POLICIES to the folder of the public policies", file=sys.stderr)
        return 2
    missed = 0
    print("| policy | factor | to reach | bytes | kept % | at least % | episodes | trials | seconds | load | recipe |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for name in arguments.names:
        file, environment, target = POLICIES[name]
        started, load = time.monotonic(), os.getloadavg()[0]
        command = [
            sys.executable, "-m", "lilliput", "shrink", str(Path(folder, file)), "--env", environment,
            "--within", arguments.within, "--workers", arguments.workers, "--seed", arguments.seed, "--json",
            "-o", str(arguments.output / name),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed | {target} | {done.stderr.strip().splitlines()[-1][:200]} |", flush=True)
            missed += 1
            continue
        found = json.loads(done.stdout)
        missed += found["factor"] < target
        print(
            f"| {name} | {found['factor']:.0f}x | {target}x | {found['bytes']:,} | {100 * found['retention']:.1f} | "
            f"{100 * found['low']:.1f} | {found['n_episodes']} | {found['n_trials']} | "
            f"{time.monotonic() - started:.0f} | {load:.1f} | `{found['recipe'] or 'none'}` |",
            flush=True,
        )
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
