"""Compares eight recipes on public policies and prints the tables of docs/results-notes.md.

    python benchmarks/public_policies.py POLICIES OUT [--no-timings]

POLICIES is a folder in the layout of the rl-trained-agents collection; OUT is continued where it exists.
"""

import argparse
import sys
from pathlib import Path

from lilliput.policies.load import load_checkpoint
from lilliput.report import summary, table
from lilliput.study.compare import Comparison, compare
from lilliput.task import Task

POLICIES = (
    ("ppo/HalfCheetah-v3_1", "HalfCheetah-v4"),
    ("sac/HalfCheetah-v3_1", "HalfCheetah-v4"),
    ("trpo/HalfCheetah-v3_1", "HalfCheetah-v4"),
    ("trpo/Hopper-v3_1", "Hopper-v4"),
    ("tqc/Walker2d-v3_1", "Walker2d-v4"),
    ("ppo/Walker2d-v3_1", "Walker2d-v4"),
    ("sac/Swimmer-v3_1", "Swimmer-v4"),
    ("a2c/BipedalWalker-v3_1", "BipedalWalker-v3"),
    ("ppo/LunarLander-v2_1", "LunarLander-v3"),
    ("dqn/LunarLander-v2_1", "LunarLander-v3"),
    ("ddpg/Pendulum-v1_1", "Pendulum-v1"),
    ("dqn/Acrobot-v1_1", "Acrobot-v1"),
)
RECIPES = (
    'quantize(scheme="dynamic")',
    'quantize(scheme="static")',
    'quantize(scheme="static", granularity="per_channel", input="per_dimension")',
    'quantize(scheme="weight_only", weight_bits=4, granularity="per_channel")',
    'prune_units(ratio=0.1, importance="l1")',
    'prune_units(ratio=0.1, importance="l2")',
    'prune_units(ratio=0.3, importance="l2")',
    "prune_weights(sparsity=0.5)",
)
EPISODES, KEEP = 100, 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--no-timings", action="store_true")
    arguments = parser.parse_args()
    for name, environment in POLICIES:
        print(f"{name} on {environment}", file=sys.stderr)
        comparison = Comparison(Task(environment), RECIPES, n_episodes=EPISODES, timings=not arguments.no_timings)
        folder = arguments.output / name.replace("/", "-")
        checkpoint = load_checkpoint(arguments.policies / name)
        rows = summary.rows(compare(checkpoint, comparison, folder, 2, lambda *_: None), KEEP)
        print(f"\n### {checkpoint.provenance.algorithm} on {environment}\n\n{table.markdown(rows)}", flush=True)


if __name__ == "__main__":
    main()
