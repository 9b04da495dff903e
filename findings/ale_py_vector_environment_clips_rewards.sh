#!/usr/bin/env bash
# ale-py 0.12.1, gymnasium 1.4.0: gymnasium.make_vec("ALE/MsPacman-v5") takes ale-py's own vector environment, whose defaults are
# those of training: rewards are clipped to [-1, 1] (and up to 30 no-ops and FIRE come first). gymnasium.make("ALE/MsPacman-v5")
# pays the game's points. The id and the spec's arguments are one, no warning is given, and no info tells the points: a return
# of several hundred becomes several tens. With reward_clipping=False both pay in tens.
# Expected before: several of an environment pay what one of it pays.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 ale-py==0.12.1
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import ale_py
import gymnasium
import numpy as np

gymnasium.register_envs(ale_py)
GAME, EPISODES = "ALE/MsPacman-v5", 5


def alone(seed):
    """All rewards of one episode of one environment under random actions."""
    env, rng, rewards, over = gymnasium.make(GAME), np.random.default_rng(seed), [], False
    env.reset(seed=seed)
    while not over:
        _, reward, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        rewards.append(float(reward))
        over = terminated or truncated
    return rewards


def vector(seed, **settings):
    """The same of a vector environment of one, and the keys of what it tells beside rewards."""
    envs, rng, rewards, over = gymnasium.make_vec(GAME, num_envs=1, **settings), np.random.default_rng(seed), [], False
    envs.reset(seed=seed)
    while not over:
        _, reward, terminated, truncated, info = envs.step(rng.integers(envs.single_action_space.n, size=1))
        rewards.append(float(reward[0]))
        over = terminated[0] or truncated[0]
    return rewards, set(info)


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    one = [alone(seed) for seed in range(EPISODES)]
    played = [vector(seed) for seed in range(EPISODES)]
    asked = [vector(seed, reward_clipping=False)[0] for seed in range(EPISODES)]
for name, episodes in (("make", one), ("make_vec", [rewards for rewards, _ in played]), ("make_vec, reward_clipping=False", asked)):
    least = min(reward for rewards in episodes for reward in rewards if reward > 0)
    most = max(max(rewards) for rewards in episodes)
    print(f"{name}: mean return {np.mean([sum(rewards) for rewards in episodes]):.0f}, rewards from {least:g} to {most:g}")
    assert (least, most) == (1, 1) if name == "make_vec" else least == 10
print("told beside the rewards:", sorted(played[0][1]), "; warnings:", len(said))
assert not said and not any("reward" in key or "score" in key for key in played[0][1])
PYTHON
