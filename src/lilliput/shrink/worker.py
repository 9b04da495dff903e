"""A worker process of the search: one core, ended with its parent."""

import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lilliput.record import Cell, Record


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to 1 for the workers: matrices here are too small to share between cores."""


def start() -> None:
    """Nothing; sets the process up."""
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def measure(cell: "Cell", folder: "Path") -> "Record":
    """The record of a cell, taken up or measured now."""
    from lilliput.study.run import record_of, run

    found = record_of(folder, cell)
    return found if found is not None and found.status == "done" else run(cell, folder, _silent)


def _silent(_what: str, _done: int, _total: int) -> None:
    pass
