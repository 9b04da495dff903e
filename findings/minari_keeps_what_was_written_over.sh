#!/usr/bin/env bash
# minari 0.5.4: DataCollector keeps the arrays that the environment and the policy hand over, not copies, until the episode is written. A policy that
# normalizes its observation in place (observation -= mean) leaves a data set of what it made of it, and one that fills one action array again and
# again leaves an episode in which every action is the last one. No warning; shapes, rewards and the checks on loading are right.
# Copies (observation.copy(), action.copy()) are recorded as they are.
# Expected before: the data set holds what the environment returned and what it was given, as with any buffer of transitions.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 jax==0.10.2 h5py==3.16.0 pillow==13.0.0 pygame-ce==2.5.8 "minari[create,hdf5]==0.5.4"
MINARI_DATASETS_PATH="$folder/data" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import gymnasium
import minari
import numpy as np

MEAN = np.array([0.5, 0.0, 2.0], np.float32)


def record(name, copy):
    """What an episode of Pendulum was, and what its data set holds: observations and actions."""
    env = minari.DataCollector(gymnasium.make("Pendulum-v1"))
    rng, action = np.random.default_rng(0), np.zeros(1, np.float32)
    observation, _ = env.reset(seed=0)
    seen, done, ended = [observation.copy()], [], False
    while not ended:
        mine = observation.copy() if copy else observation
        mine -= MEAN  # what a policy may do before it looks
        action[:] = rng.uniform(-2, 2)
        done.append(action.copy())
        observation, _, terminated, truncated, _ = env.step(action.copy() if copy else action)
        seen.append(observation.copy())
        ended = terminated or truncated
    episode = next(env.create_dataset(name, description="one episode of Pendulum").iterate_episodes())
    assert len(done) == 200
    return np.array(seen), episode.observations, np.array(done), episode.actions


seen, kept, done, kept_actions = record("pendulum/copied-v0", copy=True)
print("copied: observations off by", np.abs(kept - seen).max(), "and actions by", np.abs(kept_actions - done).max())
assert (kept == seen).all() and (kept_actions == done).all()

seen, kept, done, kept_actions = record("pendulum/shared-v0", copy=False)
print("shared: observations off by", np.abs(kept - seen).max(), "; different actions:", len(np.unique(kept_actions)), "of", len(np.unique(done)))
assert np.allclose(kept[:-1], seen[:-1] - MEAN, atol=1e-6) and (kept[-1] == seen[-1]).all()
assert (kept_actions == done[-1]).all() and len(np.unique(done)) > 50
PYTHON
