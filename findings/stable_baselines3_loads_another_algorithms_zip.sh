#!/usr/bin/env bash
# Stable-Baselines3 2.9.2: load() of one algorithm takes another's zip without a word. PPO.load(A2C's) is a PPO with A2C's
# gamma, n_steps and RMSprop, which also goes on learning; DDPG.load(TD3's) is called DDPG and delays its policy as TD3 does.
# Expected before: an error, as SAC.load(TD3's) gives one, if by accident.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0 torch==2.13.0 stable_baselines3==2.9.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import gymnasium
from stable_baselines3 import A2C, DDPG, PPO, TD3

A2C("MlpPolicy", "CartPole-v1", seed=0, gamma=0.9, n_steps=8, device="cpu").learn(16).save("a2c.zip")
ppo = PPO.load("a2c.zip", env=gymnasium.make("CartPole-v1"), device="cpu")
optimizer = type(ppo.policy.optimizer).__name__
print(f"PPO.load of A2C's zip: {type(ppo).__name__}, gamma {ppo.gamma}, n_steps {ppo.n_steps}, {optimizer}")
assert (type(ppo), ppo.gamma, ppo.n_steps) == (PPO, 0.9, 8)
assert "RMSprop" in optimizer
ppo.learn(16)

TD3("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"net_arch": [8]}, device="cpu").save("td3.zip")
ddpg = DDPG.load("td3.zip", device="cpu")
print(f"DDPG.load of TD3's zip: {type(ddpg).__name__}, policy_delay {ddpg.policy_delay}, noise {ddpg.target_policy_noise}")
assert (type(ddpg), ddpg.policy_delay, ddpg.target_policy_noise) == (DDPG, 2, 0.2)
PYTHON
