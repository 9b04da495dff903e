#!/usr/bin/env bash
# MuJoCo's Python module makes the simulator read the clock around every stage of a step, and cannot be asked not to.
#
# In C no clock is read unless `mjcb_time` is set. Expected: the same from Python, or `mujoco.set_mjcb_time(None)` to
# switch it off, since `mujoco.get_mjcb_time()` is None. Seen (MuJoCo 4.0.0, x86-64): the import sets it to a function of
# its own, which stays there after `set_mjcb_time(None)`; without it a small model's step takes a fifth less, and its
# numbers are the same to the last bit. Fails if the clock is gone or can be switched off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mujoco==4.0.0 numpy==2.4.6 gymnasium==1.4.0
"$work/venv/bin/python" - <<'PY'
import ctypes
import time
from importlib.util import find_spec
from pathlib import Path

import mujoco

folder = Path(mujoco.__file__).parent
clock = ctypes.c_void_p.in_dll(ctypes.CDLL(str(folder / "libmujoco.so.4.0.0")), "mjcb_time")
assert mujoco.get_mjcb_time() is None
before = clock.value
assert before
mujoco.set_mjcb_time(None)
assert clock.value == before
print("the clock is there, though get_mjcb_time() is None, and stays after set_mjcb_time(None)")
spec = find_spec("gymnasium")
assert spec is not None and spec.origin is not None
model = mujoco.MjModel.from_xml_path(str(Path(spec.origin).parent / "envs/mujoco/assets/hopper.xml"))


def run() -> tuple[float, bytes]:
    data, best = mujoco.MjData(model), float("inf")
    data.qvel[:] = 0.1
    for _ in range(40):
        start = time.process_time()
        mujoco.mj_step(model, data, nstep=50)
        best = min(best, time.process_time() - start)
    return best, data.qpos.tobytes()


found = {}
for name, value in (("with the clock", before), ("without", None)) * 3:
    clock.value = value
    seconds, positions = run()
    found[name] = min(seconds, found.get(name, (1.0, b""))[0]), positions
clock.value = before
print(f"a step without the clock takes {found['without'][0] / found['with the clock'][0]:.2f} of one with it")
assert found["without"][1] == found["with the clock"][1]
PY
