#!/usr/bin/env bash
# brax 0.14.2: PPO and SAC keep running statistics of the observation also where they do not normalize
# (normalize_observations=False, the default), and hand them out with the parameters, filled. Nothing in what is saved
# says whether the policy acts on the observation as it is, and reading it the other way gives other actions.
# Expected before: without normalization the statistics stay as they began (no observation, mean 0, spread 1).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 jax==0.9.0 brax==0.14.2
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import functools

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import Env, State
from brax.io import model
from brax.training.acme import running_statistics
from brax.training.agents.ppo import networks, train

factory = functools.partial(
    networks.make_ppo_networks, policy_hidden_layer_sizes=(8,), value_hidden_layer_sizes=(8,)
)


class Point(Env):
    """A point that is pushed, far from 0: what a normalizer is for."""

    observation_size, action_size, backend = 4, 1, "none"

    def reset(self, rng):
        obs = 5 + 3 * jax.random.normal(rng, (4,))
        return State(None, obs, jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        obs = state.obs.at[0].add(action[0])
        return state.replace(obs=obs, reward=-jnp.abs(obs[0]))


def trained(normalize):
    """What a run of some hundred steps saves, and the function that acts."""
    make, parameters, _ = train.train(
        environment=Point(), num_timesteps=256, episode_length=20, num_envs=4, batch_size=4, num_minibatches=1,
        unroll_length=8, num_updates_per_batch=1, num_evals=1, num_resets_per_eval=0, run_evals=False,
        normalize_observations=normalize, network_factory=factory, seed=0,
    )
    model.save_params(f"{normalize}.params", parameters)
    return model.load_params(f"{normalize}.params"), make(parameters, deterministic=True)


def acting(parameters, normalize):
    """brax's own inference on what was saved, with and without normalization."""
    front = {"preprocess_observations_fn": running_statistics.normalize} if normalize else {}
    return networks.make_inference_fn(factory(4, 1, **front))(parameters, deterministic=True)


x = jnp.asarray(5 + 3 * np.random.default_rng(0).normal(size=(1000, 4)))
parameters, own = trained(normalize=False)
run = np.asarray(own(x, jax.random.key(0))[0])
right, wrong = (np.asarray(acting(parameters, way)(x, jax.random.key(0))[0]) for way in (False, True))
count, std = int(np.asarray(parameters[0].count.lo)), np.asarray(parameters[0].std)
print(f"a run that does not normalize saves the statistics of {count} observations, spreads {std.round(2)}")
print(f"actions with them differ from the run's by up to {np.abs(wrong - run).max():.2f}, without by {np.abs(right - run).max():.1g}")
assert np.abs(right - run).max() < 1e-5 < 0.05 < np.abs(wrong - run).max()
assert count > 100 and not (std == 1).all()
PYTHON
