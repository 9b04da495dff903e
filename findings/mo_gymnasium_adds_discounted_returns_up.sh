#!/usr/bin/env bash
# mo-gymnasium 1.3.2: the vector wrapper MORecordEpisodeStatistics never sets its discounted returns back: "dr" of every episode but the
# first of an environment holds those before it, too. With gamma=1, its default, "dr" should be "r"; after twenty
# episodes it is twenty times as large. The wrapper of a single environment is right, and so is "r".
# Expected before: a discounted return of the episode that has ended, as the docs of its info say.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 mo-gymnasium==1.3.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import mo_gymnasium
import numpy as np
from mo_gymnasium.wrappers import MORecordEpisodeStatistics as Alone
from mo_gymnasium.wrappers.vector import MORecordEpisodeStatistics, MOSyncVectorEnv

TASK = "deep-sea-treasure-v0"
rng = np.random.default_rng(0)
envs = MORecordEpisodeStatistics(MOSyncVectorEnv([lambda: mo_gymnasium.make(TASK)]))
envs.reset(seed=0)
told = []
while len(told) < 20:
    *_, info = envs.step(rng.integers(0, 4, 1))
    if "episode" in info:
        told.append((info["episode"]["r"][0].copy(), info["episode"]["dr"][0].copy()))
print("vector: r of the episodes' steps", [float(r[1]) for r, _ in told])
print("vector: dr of the same         ", [float(dr[1]) for _, dr in told])
sums = np.cumsum([r[1] for r, _ in told])
assert np.allclose(told[0][0], told[0][1])
assert all(dr[1] < r[1] for r, dr in told[1:]) and told[-1][1][1] < 0.9 * sums[-1]

env = Alone(mo_gymnasium.make(TASK))
for seed in range(3):
    env.reset(seed=seed)
    over = False
    while not over:
        *_, terminated, truncated, info = env.step(int(rng.integers(4)))
        over = terminated or truncated
    assert np.allclose(info["episode"]["r"], info["episode"]["dr"])
print("alone: r and dr are equal in 3 of 3 episodes")
PYTHON
