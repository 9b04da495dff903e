#!/usr/bin/env bash
# gymnasium 1.4.0: `registration.namespace(...)`, in which a package's registration stands, restores the namespace only
# where nothing is raised inside. After a package whose import fails there, and whose error is caught, every later
# `gymnasium.register` goes into that package's namespace: Mine-v0 is Boards/Mine-v0, of which nothing tells.
# Expected before: as of any context manager, that what stood before stands again.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 gymnasium==1.4.0
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import warnings

import gymnasium
from gymnasium.envs import registration

warnings.simplefilter("error")
CART = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"

with registration.namespace("Whole"):
    gymnasium.register("Pole-v0", CART)
gymnasium.register("Before-v0", CART)
assert {"Whole/Pole-v0", "Before-v0"} <= gymnasium.registry.keys()

with contextlib.suppress(ImportError), registration.namespace("Boards"):
    raise ImportError("a package that is not installed")
gymnasium.register("Mine-v0", CART)
found = sorted(name for name in gymnasium.registry if name.endswith("Mine-v0"))
print("gymnasium", gymnasium.__version__, "registered", found, "in the namespace", registration.current_namespace)
assert found == ["Boards/Mine-v0"]
PYTHON
