#!/usr/bin/env bash
# torchrl 0.14.1: FrameSkipTransform repeats an action without looking whether the episode has ended. The environment is stepped on after its
# end, and what it pays there is added: in MountainCarContinuous-v0, which pays 100 for the goal, an episode returns 389 instead of 89.
# GymEnv's own frame_skip stops at the end and returns 89. No warning.
# Expected before: both ways to skip frames, and any wrapper that does, stop where the episode ends.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 torch==2.13.0 tensordict==0.14.3 torchrl==0.14.1
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torchrl.envs import FrameSkipTransform, GymEnv, TransformedEnv

TASK = "MountainCarContinuous-v0"


def push(td):
    """Full throttle in the direction in which the car already moves: it reaches the goal."""
    return td.set("action", torch.where(td["observation"][..., 1:] >= 0, 1.0, -1.0))


def play(env):
    """Steps and return of one episode."""
    env.set_seed(0)
    episode = env.rollout(1000, push)["next"]
    assert episode["terminated"][-1] and not episode["done"][:-1].any()
    return len(episode), float(episode["reward"].sum())


for name, env in {
    "no frame skipped": GymEnv(TASK),
    "GymEnv(..., frame_skip=4)": GymEnv(TASK, frame_skip=4),
    "FrameSkipTransform(4)": TransformedEnv(GymEnv(TASK), FrameSkipTransform(4)),
}.items():
    steps, total = play(env)
    print(f"{name}: {steps} steps, return {total:.1f}")
    assert (total > 300) if isinstance(env, TransformedEnv) else (80 < total < 100)
PYTHON
