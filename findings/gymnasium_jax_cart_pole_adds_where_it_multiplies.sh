#!/usr/bin/env bash
# gymnasium 1.4.0: phys2d/CartPole-v1, its CartPole in JAX, takes mass + length of the pole (0.6) where CartPole-v1 takes mass x length
# (0.05). From one state one push, a fiftieth of a second long, gives the cart 0.32 m/s instead of 0.19.
# phys2d/Pendulum-v0 is Pendulum-v1 up to float32's rounding.
# Expected before: the same task, so that what was trained or measured in one counts in the other.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 jax==0.10.2 flax==0.12.8
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium.envs.phys2d.cartpole import CartPoleFunctional, CartPoleParams
from gymnasium.envs.phys2d.pendulum import PendulumFunctional

cart = gymnasium.make("CartPole-v1").unwrapped
cart.reset(seed=0)
theirs, same = CartPoleFunctional(), CartPoleParams(polemass_length=cart.polemass_length)
print(f"mass times length: {cart.polemass_length:g} in CartPole-v1, {CartPoleParams.polemass_length:g} in phys2d/CartPole-v1")


def differences(turning):
    """How far the next speeds of cart and pole are apart, and how far they are with the right constant."""
    cart.state = np.array([0.1, 0.2, 0.1, turning])
    wanted = cart.step(1)[0]
    start = jnp.asarray([0.1, 0.2, 0.1, turning], jnp.float32)
    return [np.abs(np.asarray(theirs.transition(start, 1, None, params)) - wanted).max() for params in (CartPoleParams, same)]


for turning in (0.0, 1.0, 3.0):
    given, mended = differences(turning)
    print(f"pole turning at {turning:g} rad/s: next state differs by {given:.2g} (with the product put in: {mended:.1g})")
    assert mended < 1e-6 and given > 0.05

pendulum = gymnasium.make("Pendulum-v1").unwrapped
pendulum.reset(seed=0)
pendulum.state = np.array([0.5, -1.0])
wanted = pendulum.step(np.array([0.7], np.float32))[0]
other = PendulumFunctional()
given = np.asarray(other.observation(other.transition(jnp.array([0.5, -1.0]), jnp.array([0.7])), None))
print("Pendulum differs by", np.abs(given - wanted).max())
assert np.abs(given - wanted).max() < 1e-6
PYTHON
