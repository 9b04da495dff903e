#!/usr/bin/env bash
# canmatrix 1.3.3: Frame.encode takes a number as the raw one and cuts its fraction off, though decode gives physical values and a DBC file says
# how both are related: a torque of 3.7 Nm at a factor of 0.1 goes onto the bus as 3, 0.3 Nm, and a position of 0.9 rad as 0.
# A value that does not fit wraps around: 40,000 becomes -25,536. Nothing is raised. cantools 45.1.0 encodes physical values from the same
# file, rounds to the nearest and refuses what does not fit. With canmatrix give signal.phys2raw(value).
# Expected before: what is encoded and decoded is what it was, to half a step, by both, or an error.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet cantools==45.1.0 canmatrix==1.3.3
"$folder/venv/bin/python" - <<'PYTHON'
import io

import canmatrix.formats
import cantools

DBC = """VERSION ""
NS_ :
BS_:
BU_: Motor
BO_ 256 Command: 8 Motor
 SG_ torque : 0|16@1- (0.1,0) [-3000|3000] "Nm" Motor
 SG_ position : 16|16@1- (0.001,0) [-30|30] "rad" Motor
"""
command = {"torque": 3.7, "position": 0.9}
theirs = cantools.database.load_string(DBC, "dbc").get_message_by_name("Command")
frame = next(iter(canmatrix.formats.load(io.BytesIO(DBC.encode()), "dbc").values())).frame_by_name("Command")

back = theirs.decode(theirs.encode(command))
print("cantools:", back)
assert all(abs(back[name] - value) < 1e-9 for name, value in command.items())


def sent(values):
    return {name: float(signal.phys_value) for name, signal in frame.decode(frame.encode(values)).items()}


print("canmatrix:", sent(command))
assert sent(command) == {"torque": 0.3, "position": 0.0}
raw = {signal.name: signal.phys2raw(command[signal.name]) for signal in frame.signals}
print("canmatrix, phys2raw first:", raw, sent(raw))
assert all(abs(sent(raw)[name] - value) < 1e-9 for name, value in command.items())

too_large = sent({"torque": 40000, "position": 0})["torque"]
print("canmatrix, raw 40000 in 16 bits:", too_large, "Nm")
assert abs(too_large + 2553.6) < 1e-9
try:
    theirs.encode({"torque": 4000.0, "position": 0.0})
except cantools.database.EncodeError:
    pass
else:
    raise AssertionError("cantools encoded what does not fit")
PYTHON
