"""Fresh processes to measure in: one thread, nothing loaded but what serves the policy."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilliput import child_process
from lilliput.errors import LilliputError

TIMEOUT_S = 600.0


def run_script(
    script: str,
    folders: Sequence[Path],
    observations: np.ndarray,
    settings: dict[str, Any],
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """What a script of this package says about the artifacts, from a process of its own.

    Raises:
        LilliputError: it failed; its last line is in the message.
    """
    if len(observations) == 0:
        raise LilliputError("there are no observations to measure on; collect some")
    with tempfile.TemporaryDirectory() as folder:
        inputs, answer = Path(folder, "observations.npy"), Path(folder, "answer.json")
        np.save(inputs, observations)
        request = {"folders": [str(f.resolve()) for f in folders], "observations": str(inputs), "answer": str(answer)}
        run([str(Path(__file__).with_name(script)), json.dumps(request | settings)], timeout_s)
        return json.loads(answer.read_text())


def run(arguments: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """What a fresh interpreter prints, run with these arguments.

    Raises:
        LilliputError: it failed or took too long.
    """
    # -P: the script's own folder, with its module names, stays out of the import path.
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | child_process.ONE_THREAD,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LilliputError(f"the measuring process did not end within {timeout_s:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise LilliputError(f"the measuring process failed: {lines[-1].removeprefix('lilliput.errors.')[:300]}")
    return done.stdout
