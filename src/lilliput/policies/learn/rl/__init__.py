"""Reinforcement learning with compression inside, on Stable-Baselines3 and sb3-contrib: needs the extra `train`."""
