#!/usr/bin/env bash
# MuJoCo's version is part of the task: the same environment id, seed and actions under 3.3.0 and 4.0.0.
#
# Seen (x86-64, Python 3.11): Reacher, Swimmer and Walker2d differ by rounding; Hopper by 0.02 at step 50 and Ant by 0.8
# at step 5, which no rounding explains; HumanoidStandup at once. Fails if that is no longer so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/play.py" <<'PY'
import sys
import warnings

import gymnasium
import numpy as np

warnings.simplefilter("ignore")
found = {}
for name in ("Reacher-v5", "Swimmer-v5", "Walker2d-v5", "Hopper-v5", "Ant-v5", "HumanoidStandup-v5"):
    environment = gymnasium.make(name, disable_env_checker=True).unwrapped
    observation, _ = environment.reset(seed=0)
    rng, seen = np.random.default_rng(0), [observation]
    for _ in range(50):
        low, high = environment.action_space.low, environment.action_space.high
        seen.append(environment.step(rng.uniform(low, high).astype(np.float32))[0])
    found[name] = np.array(seen)
np.savez(sys.argv[1], **found)
PY
for version in 3.3.0 4.0.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q gymnasium==1.4.0 "mujoco==$version" numpy==2.4.6 imageio packaging
    (cd "$work" && "$work/$version/bin/python" play.py "$work/$version.npz" 2> /dev/null)
done
"$work/4.0.0/bin/python" - "$work" <<'PY'
import sys

import numpy as np

old, new = (np.load(f"{sys.argv[1]}/{version}.npz") for version in ("3.3.0", "4.0.0"))
apart = {name: np.abs(old[name] - new[name]).max(axis=1) for name in old.files}
for name, difference in apart.items():
    print(f"{name}: largest difference of an observation at step 1, 5, 50: {difference[[1, 5, 50]]}")
assert max(apart[name].max() for name in ("Reacher-v5", "Swimmer-v5", "Walker2d-v5")) < 1e-9
assert apart["Hopper-v5"][50] > 1e-3 and apart["Ant-v5"][5] > 1e-2 and apart["HumanoidStandup-v5"][1] > 1e-2
PY
