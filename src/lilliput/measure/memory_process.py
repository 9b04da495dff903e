"""Serves one artifact and says how much memory that took; run as a script by `memory`."""

import json
import sys
from pathlib import Path

import numpy as np

from lilliput.policies.runtime import open_artifact


def peak_resident_bytes() -> int:
    """The most memory that this process has held."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    act = open_artifact(asked["folders"][0])
    for observation in np.load(asked["observations"]):
        act(observation)
    Path(asked["answer"]).write_text(json.dumps(peak_resident_bytes()))
