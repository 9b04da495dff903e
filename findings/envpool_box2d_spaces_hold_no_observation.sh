#!/usr/bin/env bash
# envpool 1.2.5 says of BipedalWalker-v3, LunarLander-v3 and LunarLanderContinuous-v3 that their observations lie between
# 1.2e-38 (the smallest positive float, where the lowest was meant) and 3.4e38: no observation is within its own space.
# Clipped to the space, as wrappers and policies do, every negative number becomes 0. Gymnasium 1.4.0 has bounds around 0
# for the same tasks. Expected before: a space that holds what the environment gives.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 envpool==1.2.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import envpool
import numpy as np

for task in ("BipedalWalker-v3", "LunarLander-v3", "LunarLanderContinuous-v3", "CarRacing-v3", "Hopper-v4"):
    envs = envpool.make(task, env_type="gymnasium", num_envs=1, seed=0)
    space, actions = envs.observation_space, envs.action_space
    actions.seed(0)
    seen = [envs.reset()[0][0]] + [envs.step(np.array([actions.sample()]))[0][0] for _ in range(100)]
    within = sum(map(space.contains, seen))
    changed = np.mean([np.clip(one, space.low, space.high) != one for one in seen])
    print(f"{task}: [{space.low.min():.3g}, {space.high.max():.3g}] holds {within} of {len(seen)} observations; "
          f"a clip to it changes {changed:.0%} of their numbers")
    box2d = "Walker" in task or "Lander" in task
    assert within == (0 if box2d else len(seen))
    assert (space.low.min() == np.finfo(np.float32).tiny) == box2d
    assert (changed > 0.2) == box2d
PYTHON
