#!/usr/bin/env bash
# mujoco-mjx 3.17.0 (its JAX implementation, the default): what MuJoCo 3.17.0 has lately learned to say of a motor and a spring is left out
# without a word: an actuator's delay, damping and armature, the higher coefficients of a joint's stiffness and damping, and the delay and
# interval of a sensor. put_model refuses what it does not know of older parts (NotImplementedError); here a model made to be like
# a real robot moves as if the attribute were not there, to the last bits. What it has in common with MuJoCo's own simulator is exact.
# Expected before: MuJoCo's motion, or a refusal.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 jax==0.10.2 mujoco==3.17.0 mujoco-mjx==3.17.0
JAX_ENABLE_X64=1 XLA_FLAGS=--xla_backend_optimization_level=0 "$folder/venv/bin/python" -W error::UserWarning - <<'PYTHON'
import jax
import mujoco
import numpy as np
from mujoco import mjx

ARM = """<mujoco><option timestep="0.005"/><worldbody><body><joint name="j" axis="0 1 0" {joint}/>
<geom type="capsule" fromto="0 0 0 .3 0 0" size=".04"/></body></worldbody>
<actuator><motor joint="j" gear="2" {motor}/></actuator><sensor><jointpos joint="j" {sensor}/></sensor></mujoco>"""
rng = np.random.default_rng(0)
controls = np.repeat(rng.uniform(-1, 1, 6), 10)
step = jax.jit(mjx.step)


def play(joint="", motor="", sensor=""):
    """Angles and readings of 60 steps: of MuJoCo, and of MJX."""
    model = mujoco.MjModel.from_xml_string(ARM.format(joint=joint, motor=motor, sensor=sensor))
    data = mujoco.MjData(model)
    there, there_data = mjx.put_model(model), mjx.put_data(model, data)
    seen = []
    for control in controls:
        data.ctrl[:] = control
        there_data = step(there, there_data.replace(ctrl=jax.numpy.full(1, control)))
        mujoco.mj_step(model, data)
        seen.append([data.qpos[0], there_data.qpos[0], data.sensordata[0], there_data.sensordata[0]])
    return np.array(seen, float).T


plain = play()
print(f"nothing of the kind: angle after 60 steps {plain[0, -1]:.4f}, in MJX {plain[1, -1]:.4f}")
assert np.abs(plain[0] - plain[1]).max() < 1e-12

for where, what in [
    ("motor", 'delay="0.02" nsample="5"'),
    ("motor", 'damping="0.5"'),
    ("motor", 'armature="0.1"'),
    ("joint", 'stiffness="0 0 3"'),
    ("joint", 'damping="0 0.5"'),
]:
    angle, theirs, _, _ = play(**{where: what})
    print(f"{where} {what}: {angle[-1]:.4f}, in MJX {theirs[-1]:.4f}")
    assert np.abs(theirs - plain[1]).max() < 1e-12 and np.abs(angle - theirs).max() > 5e-3

for what in ['delay="0.05" nsample="12"', 'interval="0.05" nsample="3"']:
    angle, theirs, reading, their_reading = play(sensor=what)
    print(f"sensor {what}: reads {reading[-1]:.4f}, in MJX {their_reading[-1]:.4f}")
    assert np.abs(angle - theirs).max() < 1e-12
    assert np.abs(their_reading - plain[3]).max() < 1e-12 and np.abs(reading - their_reading).max() > 0.05
PYTHON
