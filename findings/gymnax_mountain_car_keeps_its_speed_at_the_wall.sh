#!/usr/bin/env bash
# gymnax 0.0.9: a MountainCarContinuous-v0 that hits the left wall keeps its speed (the test for it asks about the goal), so that
# it presses against the wall until the motor has braked it; in gymnasium 1.4.0 (same name, same constants) it is stopped. Pushing
# in the direction of travel reaches the goal in 105 to 111 steps there, in 153 to 193 here. gymnax's MountainCar-v0 is
# right. Its Gymnasium wrapper calls the end of the time both terminated and truncated, with the next episode's observation.
# Expected before: the environment of that name, as it says; the time limit is no end of the task.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 jax==0.10.2 gymnax==0.0.9 six==1.17.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.wrappers.gym import GymnaxToGymWrapper

theirs, params = gymnax.make("MountainCarContinuous-v0")
_, state = theirs.reset(jax.random.key(0), params)
step = jax.jit(theirs.step_env)
env = gymnasium.make("MountainCarContinuous-v0").unwrapped
env.reset(seed=0)


def push(observation):
    return np.array([1.0 if observation[1] >= 0 else -1.0], np.float32)


def in_gymnasium(position):
    env.state = observation = np.array([position, 0], np.float32)
    at_wall = []
    for n in range(1, 999):
        observation, _, terminated, _, _ = env.step(push(observation))
        if observation[0] <= env.min_position:
            at_wall.append(float(observation[1]))
        if terminated:
            return n, at_wall


def in_gymnax(position):
    now = state.replace(position=jnp.float32(position), velocity=jnp.float32(0), time=0)
    observation, at_wall = np.array([position, 0], np.float32), []
    for n in range(1, 999):
        observation, now, _, done, _ = step(jax.random.key(0), now, jnp.asarray(push(observation)), params)
        observation = np.asarray(observation)
        if observation[0] <= env.min_position:
            at_wall.append(float(observation[1]))
        if done:
            return n, at_wall


for position in (-0.6, -0.5, -0.4):
    (n, stopped), (m, pressed) = in_gymnasium(position), in_gymnax(position)
    print(f"from {position}: goal after {n} steps in Gymnasium (speed at the wall {stopped}), after {m} in gymnax ({len(pressed)} steps at the wall)")
    assert stopped == [0] and len(pressed) > 20 and min(pressed) < -0.02 and m > n + 40

pendulum, settings = gymnax.make("Pendulum-v1")
wrapped = GymnaxToGymWrapper(pendulum, settings)
wrapped.reset(seed=0)
for _ in range(200):
    *_, terminated, truncated, _ = wrapped.step(jnp.zeros(1))
print("Pendulum after its 200 steps: terminated", bool(terminated), "truncated", bool(truncated))
assert terminated and truncated
PYTHON
