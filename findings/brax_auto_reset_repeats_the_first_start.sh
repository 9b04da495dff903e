#!/usr/bin/env bash
# brax 0.14.2: envs.create(..., auto_reset=True), its default, begins every episode of an environment where its first one began: the
# state that reset(key) drew is kept and put back. Thirty more episodes of two pendulums have two starts between them, so
# that an evaluation of N environments over many episodes sees N starts; and the observation in which an episode
# ended is in neither the state nor its info. reset with other keys gives other starts.
# Expected before: each new episode is drawn anew, as Gymnasium's vector environments do it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 jax==0.10.2 brax==0.14.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
from brax import envs

env = envs.create("inverted_pendulum", backend="generalized", batch_size=2)
reset, step = jax.jit(env.reset), jax.jit(env.step)
drawn = {np.asarray(reset(jax.random.key(seed)).obs).tobytes() for seed in range(10)}
state = reset(jax.random.key(0))
first, episodes, starts = np.asarray(state.obs), 0, set()
for _ in range(60):
    state = step(state, jnp.full((2, 1), 0.3))
    for k in np.flatnonzero(np.asarray(state.done)):
        episodes += 1
        starts.add((int(k), np.asarray(state.obs)[k].tobytes()))
print(f"ten keys: {len(drawn)} different starts; {episodes} more episodes of two environments: {len(starts)} different starts")
observed = [key for key in state.info if "obs" in key]
print("observations in info:", observed)
assert len(drawn) == 10 and episodes > 8
assert starts == {(k, first[k].tobytes()) for k in range(2)}
assert observed == ["first_obs"]
PYTHON
