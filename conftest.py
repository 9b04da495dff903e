"""What is not collected for doctests: what stands on torch, where torch is not installed."""

import importlib.util

collect_ignore_glob = ["tests/fixtures/load/training/*", "tests/models/fixtures/*"]
if importlib.util.find_spec("torch") is None or importlib.util.find_spec("stable_baselines3") is None:
    collect_ignore_glob.append("src/lilliput/policies/learn/rl/*")
